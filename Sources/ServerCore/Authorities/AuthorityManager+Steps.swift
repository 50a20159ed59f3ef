import Logging
import NIOConcurrencyHelpers
import PluginAPI
import Transparency

// What rotation and operators do, in steps of which each may be the last before a crash. Only in one's turn.
extension AuthorityManager {
    /// Makes an authority: its key is kept, it is recorded, it is in the journal, and then in the bundle.
    ///
    /// A crash before the journal leaves a key that nobody uses, which the next start deletes; a crash after it an
    /// authority that the next start publishes.
    func prepare(_ kind: JournalEntry.Kind, slot: String, requestedBy: String) async throws {
        self.state.withLockedValue { $0.hasUnusedKeys = true }
        let (entry, authority) = try await self.maker.make(kind, slot: slot, at: self.unixNow)
        try await self.record(entry, .prepared, requestedBy: requestedBy)
        try await self.commit(kind, adding: (entry.authorityID, authority)) {
            $0.prepared(entry, isPublished: false)
        }
        try await self.publish(kind)
        self.logger.info("prepared authority", metadata: Self.metadata(entry))
    }

    func publish(_ kind: JournalEntry.Kind) async throws {
        guard let entry = self.state.withLockedValue({ $0[kind].prepared }) else { return }
        _ = try await self.bundles.updateBundle(self.trustDomain) { $0.add(entry) }
        self.state.withLockedValue { $0[kind].published() }
    }

    /// Lets the prepared authority sign, once those who are connected can verify what it signs.
    func activate(_ kind: JournalEntry.Kind, requestedBy: String) async throws {
        guard let entry = self.state.withLockedValue({ $0[kind].prepared }) else { return }
        // In the bundle in any case: what it signs must never be unverifiable.
        let bundle = try await self.bundles.updateBundle(self.trustDomain) { $0.add(entry) }
        await self.holders?.awaitBundle(bundle.sequenceNumber)
        // A server that stops has not waited.
        try Task.checkCancellation()
        try await self.record(entry, .activated, requestedBy: requestedBy)
        try await self.commit(kind) { $0.activated() }
        self.logger.info("activated authority", metadata: Self.metadata(entry))
    }

    /// Takes withdrawn authorities out of the bundle, and then out of the journal.
    func finishWithdrawals(_ kind: JournalEntry.Kind) async throws {
        for entry in self.state.withLockedValue({ $0[kind].withdrawn }) {
            _ = try await self.bundles.updateBundle(self.trustDomain) {
                $0.remove(kind, entry.authorityID)
            }
            try await self.commit(kind) { $0.forget(entry.authorityID) }
            self.state.withLockedValue { $0.hasUnusedKeys = true }
            self.logger.info("withdrew authority", metadata: Self.metadata(entry))
        }
    }

    /// Deletes the keys that no authority of the journal has. A failure is logged; it is tried again later.
    func deleteUnusedKeys() async {
        let (isDue, used) = self.state.withLockedValue {
            ($0.hasUnusedKeys, Set($0.entries.map(\.keyID)))
        }
        guard isDue else { return }
        do {
            for id in try await self.keyManager.keyIDs()
            where JournalEntry.isKeyID(id) && !used.contains(id) {
                try await self.keyManager.deleteKey(id: id)
                self.logger.info("deleted unused key", metadata: [LogKeys.keyID: "\(id)"])
            }
            self.state.withLockedValue { $0.hasUnusedKeys = false }
        } catch {
            self.logger.warning(
                "cannot delete unused keys", metadata: [LogKeys.error: "\(error)"])
        }
    }

    /// Changes the lifecycle in the journal first, then in memory.
    func commit(
        _ kind: JournalEntry.Kind, adding new: (id: String, authority: SigningAuthority)? = nil,
        _ change: (inout AuthorityLifecycle) -> Void
    ) async throws {
        var changed = self.state.withLockedValue { $0 }
        change(&changed[kind])
        try await self.journal.saveJournal(changed.entries)
        let lifecycle = changed[kind]
        self.state.withLockedValue { state in
            state[kind] = lifecycle
            if let new { state.authorities[new.id] = new.authority }
            let signing = Set(
                state.entries.filter { $0.status == .active || $0.status == .prepared }
                    .map(\.authorityID))
            state.authorities = state.authorities.filter { signing.contains($0.key) }
        }
        for observer in self.observers.withLockedValue({ $0 }) { observer() }
    }

    /// Makes a step durable in the ledger before it happens. When an authority is activated, the one that signed until
    /// then retires.
    func record(
        _ entry: JournalEntry, _ action: ChangeLeaf.Action, requestedBy: String
    ) async throws {
        var events = [Self.event(entry, action, requestedBy: requestedBy)]
        if action == .activated, let last = self.state.withLockedValue({ $0[entry.kind].current }) {
            events.append(Self.event(last, .retired, requestedBy: requestedBy))
        }
        try await self.recorder.append(events)
    }

    private static func event(
        _ entry: JournalEntry, _ action: ChangeLeaf.Action, requestedBy: String
    ) -> LeafEvent {
        .change(
            ChangeLeaf(
                kind: .authority, action: action, subject: entry.authorityID,
                authorityType: entry.kind.leafType,
                contentDigest: LeafDigests.content(entry), caller: requestedBy))
    }
}

extension JournalEntry.Kind {
    /// As leaves name it.
    var leafType: LeafSVIDType {
        switch self {
        case .x509: .x509
        case .jwt: .jwt
        case .wit: .wit
        }
    }
}
