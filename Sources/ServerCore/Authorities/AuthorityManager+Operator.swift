import Logging
import NIOConcurrencyHelpers
import Transparency

/// An authority as operators see it.
package struct AuthorityDescription: Sendable, Hashable {
    /// X.509: subject key ID in lower-case hex. JWT and WIT: the key ID.
    package let id: String
    /// Unix seconds.
    package let expiresAt: Int64

    init(_ entry: JournalEntry) {
        self.id = entry.authorityID
        self.expiresAt = entry.notAfter
    }
}

/// The authorities of one kind.
package struct AuthorityOverview: Sendable, Hashable {
    package let active: AuthorityDescription
    package let prepared: AuthorityDescription?
    /// The one that signed last before the active one.
    package let old: AuthorityDescription?
}

// What operators ask for: the same steps as in rotation, when they say so.
extension AuthorityManager {
    /// Old authorities that an operator may gather; the rest of the slots is for rotation.
    private static let maximumOld = 8

    /// - Throws: ``ServerError`` `unimplemented` when SVIDs of that kind are not issued, `unavailable` before the
    ///   first authority signs.
    package func overview(_ kind: JournalEntry.Kind) throws(ServerError) -> AuthorityOverview {
        try self.require(kind)
        let lifecycle = self.state.withLockedValue { $0[kind] }
        guard let active = lifecycle.current else { throw Self.none(kind) }
        return AuthorityOverview(
            active: AuthorityDescription(active),
            prepared: lifecycle.prepared.map(AuthorityDescription.init),
            old: lifecycle.old.last.map(AuthorityDescription.init))
    }

    /// Makes a new authority and publishes it. A prepared one is replaced and leaves the bundle, because it has
    /// signed nothing; old ones stay.
    ///
    /// - Throws: ``ServerError``: as ``overview(_:)``; `failedPrecondition` when too many old ones are kept.
    package func prepare(
        _ kind: JournalEntry.Kind, requestedBy: String
    ) async throws -> AuthorityDescription {
        try await self.turn.taken {
            _ = try self.overview(kind)
            let now = self.unixNow
            let lifecycle = self.state.withLockedValue { $0[kind] }
            guard lifecycle.old.count(where: { $0.notAfter > now }) < Self.maximumOld,
                let slot = lifecycle.freeSlot(at: now)
            else {
                throw ServerError(
                    .failedPrecondition,
                    "cannot prepare another \(kind.title) authority: \(lifecycle.old.count) old ones are in the bundle; "
                        + "taint and revoke those that are not needed")
            }
            try await self.prepare(kind, slot: slot, requestedBy: requestedBy)
            try await self.finishWithdrawals(kind)
            await self.deleteUnusedKeys()
            guard let prepared = self.state.withLockedValue({ $0[kind].prepared }) else {
                throw ServerError(.internal, "prepared authority is not there")
            }
            return AuthorityDescription(prepared)
        }
    }

    /// Lets the prepared authority sign; the active one becomes old. Waits until the connected agents have it in
    /// their bundles.
    ///
    /// - Throws: ``ServerError``: as ``overview(_:)``; `invalidArgument` when the ID is not the prepared one's,
    ///   `failedPrecondition` when that one is old already or has expired.
    package func activate(
        _ kind: JournalEntry.Kind, authorityID: String, requestedBy: String
    ) async throws -> AuthorityDescription {
        try await self.turn.taken {
            _ = try self.overview(kind)
            try Self.requireID(authorityID)
            let lifecycle = self.state.withLockedValue { $0[kind] }
            guard let prepared = lifecycle.prepared, prepared.authorityID == authorityID else {
                let isOld = lifecycle.old.contains { $0.authorityID == authorityID }
                throw ServerError(
                    isOld ? .failedPrecondition : .invalidArgument,
                    "cannot activate \(kind.title) authority \(quoted(authorityID)): "
                        + (lifecycle.prepared.map { "prepared is \($0.authorityID)" }
                            ?? "none is prepared; prepare one first"))
            }
            guard prepared.notAfter > self.unixNow else {
                throw ServerError(
                    .failedPrecondition,
                    "cannot activate \(kind.title) authority \(quoted(authorityID)): it has expired; prepare another one"
                )
            }
            try await self.activate(kind, requestedBy: requestedBy)
            return AuthorityDescription(prepared)
        }
    }

    /// Marks an old authority in the bundle, so that everything under it is replaced: the server's own SVID before
    /// this returns, those of agents and workloads by the agents. Tainting it again does that again.
    ///
    /// - Throws: ``ServerError``: as ``overview(_:)``; `invalidArgument` when the ID is not that of an old one.
    package func taint(
        _ kind: JournalEntry.Kind, authorityID: String, requestedBy: String
    ) async throws -> AuthorityDescription {
        try await self.turn.taken {
            let (entry, isTainted) = try await self.old(kind, authorityID, to: "taint")
            if !isTainted {
                try await self.record(entry, .tainted, requestedBy: requestedBy)
                _ = try await self.bundles.updateBundle(self.trustDomain) {
                    $0.taint(kind, authorityID)
                }
                self.logger.warning("tainted authority", metadata: Self.metadata(entry))
            }
            try await self.replaceOwnSVIDs(kind, authorityID)
            return AuthorityDescription(entry)
        }
    }

    /// Takes an old, tainted authority out of the bundle, after what rests on it has been replaced as far as the
    /// server is connected to those who hold it.
    ///
    /// - Throws: ``ServerError``: as ``taint(_:authorityID:requestedBy:)``; `failedPrecondition` when it is not
    ///   tainted.
    package func revoke(
        _ kind: JournalEntry.Kind, authorityID: String, requestedBy: String
    ) async throws -> AuthorityDescription {
        try await self.turn.taken {
            _ = try self.overview(kind)
            let withdrawn = self.state.withLockedValue { state in
                state[kind].withdrawn.first { $0.authorityID == authorityID }
            }
            if let withdrawn {
                // Begun before, and not finished.
                try await self.finishRevocation(kind, authorityID)
                return AuthorityDescription(withdrawn)
            }
            let (entry, isTainted) = try await self.old(kind, authorityID, to: "revoke")
            guard isTainted else {
                throw ServerError(
                    .failedPrecondition,
                    "cannot revoke \(kind.title) authority \(quoted(authorityID)): taint it first, so that what rests on it is replaced"
                )
            }
            try await self.replaceOwnSVIDs(kind, authorityID)
            let bundle = try await self.bundles.updateBundle(self.trustDomain) { _ in }
            await self.holders?.awaitReplacement(
                bundle.sequenceNumber, x509AuthorityID: kind == .x509 ? authorityID : nil)
            try await self.record(entry, .revoked, requestedBy: requestedBy)
            if entry.slot.isEmpty {
                // Of before the journal's time, or from elsewhere: the bundle is all there is.
                _ = try await self.bundles.updateBundle(self.trustDomain) {
                    $0.remove(kind, authorityID)
                }
            } else {
                try await self.commit(kind) { $0.withdraw(authorityID) }
            }
            try await self.finishRevocation(kind, authorityID)
            self.logger.warning("revoked authority", metadata: Self.metadata(entry))
            return AuthorityDescription(entry)
        }
    }

    private func finishRevocation(_ kind: JournalEntry.Kind, _ authorityID: String) async throws {
        try await self.finishWithdrawals(kind)
        if kind == .x509 { self.holders?.disconnect(x509AuthorityID: authorityID) }
        await self.deleteUnusedKeys()
    }

    /// The old authority with that ID, of the journal or, failing that, of the bundle.
    private func old(
        _ kind: JournalEntry.Kind, _ authorityID: String, to verb: String
    ) async throws -> (entry: JournalEntry, isTainted: Bool) {
        _ = try self.overview(kind)
        try Self.requireID(authorityID)
        let lifecycle = self.state.withLockedValue { $0[kind] }
        func refusal(_ reason: String) -> ServerError {
            ServerError(
                .invalidArgument,
                "cannot \(verb) \(kind.title) authority \(quoted(authorityID)): \(reason)")
        }
        if lifecycle.current?.authorityID == authorityID {
            throw refusal("it is the active one; prepare and activate another one first")
        }
        if lifecycle.prepared?.authorityID == authorityID {
            throw refusal(
                "it is prepared and has signed nothing; prepare another one to replace it")
        }
        let bundle = try await self.bundles.updateBundle(self.trustDomain) { _ in }
        guard
            let published = bundle.authorities(kind).first(where: {
                $0.entry.authorityID == authorityID
            })
        else { throw refusal("there is no such authority") }
        let kept = lifecycle.old.first { $0.authorityID == authorityID }
        return (kept ?? published.entry, published.isTainted)
    }

    private func replaceOwnSVIDs(_ kind: JournalEntry.Kind, _ authorityID: String) async throws {
        guard kind == .x509 else { return }
        for dependent in self.dependents.withLockedValue({ $0 }) {
            try await dependent.replaceSVIDs(signedBy: authorityID)
        }
    }

    private static func requireID(_ authorityID: String) throws(ServerError) {
        guard authorityID.isEmpty else { return }
        throw ServerError(.invalidArgument, "no authority ID given; name one of those in the state")
    }
}
