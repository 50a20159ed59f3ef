import NIOConcurrencyHelpers
package import SPIFFE

/// What one agent must learn next.
package struct SyncUpdate: Sendable {
    /// True: `upserted` is the whole authorised set and replaces what the agent holds.
    package var isSnapshot = false
    package var upserted: [Entry] = []
    package var removedIDs: [String] = []
    package var bundles: [TrustBundle] = []
    package var removedBundles: [TrustDomain] = []
    package var revocations: [RevocationNews] = []
    /// Trust domains whose revocations the agent is to forget.
    package var removedRevocations: [TrustDomain] = []
    /// What the agent confirms ``revocations`` with; 0 when there are none.
    package var revocationNumber: UInt64 = 0
    /// Position in the change feed after this update.
    package var seq: UInt64 = 0
    /// Digest of the agent's authorised set after this update.
    package var digest = EntryDigest()

    /// Whether the authorised set changes.
    package var changesEntries: Bool {
        self.isSnapshot || !self.upserted.isEmpty || !self.removedIDs.isEmpty
    }
}

/// The queue from the change feed to one connected agent.
///
/// Changes that the agent has not taken yet are joined per entry, the newest winning, so the queue never
/// holds more than the agent's authorised set however slow the agent is. One task reads it.
package final class SyncSession: Sendable {
    private struct State {
        var isSnapshot = false
        var upserted: [String: Entry] = [:]
        var removed: Set<String> = []
        var bundles: [TrustDomain: TrustBundle] = [:]
        var removedBundles: Set<TrustDomain> = []
        var revocations: SessionRevocations
        var seq: UInt64 = 0
        var digest = EntryDigest()
        var hasNews = false
        var end: ServerError??
        var waiting: CheckedContinuation<SyncUpdate?, any Error>?
        /// Sequence numbers of the own bundle, 0 when nothing was confirmed.
        var heldBundle: UInt64 = 0
        var replacedBundle: UInt64 = 0
    }

    package let agent: SPIFFEID
    /// ID of the X.509 authority that signed the SVID with which the agent opened the session; nil when it is not
    /// known.
    package let x509AuthorityID: String?
    /// Serial number of that SVID, lower-case hex; nil when it is not known.
    package let serial: String?
    private let state: NIOLockedValueBox<State>
    private let events: SessionEvents

    /// - Parameter events: Learn of confirmed bundles, and of the end.
    init(
        agent: SPIFFEID, x509AuthorityID: String? = nil, serial: String? = nil,
        events: SessionEvents = SessionEvents()
    ) {
        self.events = events
        self.serial = serial
        self.agent = agent
        self.x509AuthorityID = x509AuthorityID
        self.state = NIOLockedValueBox(
            State(revocations: SessionRevocations(own: agent.trustDomain)))
    }

    /// The agent says that it has the own bundle with that sequence number and has handed it on.
    ///
    /// - Parameter isReplaced: whether it has also replaced all that rested on authorities tainted in it.
    package func confirm(bundle sequenceNumber: UInt64, isReplaced: Bool) {
        self.state.withLockedValue { state in
            state.heldBundle = max(state.heldBundle, sequenceNumber)
            if isReplaced { state.replacedBundle = max(state.replacedBundle, sequenceNumber) }
        }
        self.events.tell(of: self)
    }

    /// Whether the agent has confirmed the own bundle with that sequence number or a later one.
    func holds(bundle sequenceNumber: UInt64) -> Bool {
        self.state.withLockedValue { $0.heldBundle >= sequenceNumber }
    }

    /// Whether nothing of the agent's rests on authorities tainted in that bundle.
    func hasReplaced(bundle sequenceNumber: UInt64) -> Bool {
        self.state.withLockedValue { $0.replacedBundle >= sequenceNumber }
    }

    /// The agent says that it has applied what it was told of revocations up to that number.
    package func confirm(revocations number: UInt64) {
        let done = self.state.withLockedValue { $0.revocations.confirm(number) }
        for waiter in done { waiter.body(true) }
    }

    /// Whether the agent has confirmed all that it was told of revocations up to that number.
    package func holds(revocations number: UInt64) -> Bool {
        self.state.withLockedValue { $0.revocations.holds(number) }
    }

    /// Whether the agent is likely to answer: it has confirmed something before, or has only just been asked.
    ///
    /// Agents of versions that know nothing of revocations are never heard of.
    func confirmsRevocations(within grace: Duration) -> Bool {
        self.state.withLockedValue { state in
            if state.revocations.hasConfirmed { return true }
            guard let asked = state.revocations.firstAsked else { return true }
            return asked.duration(to: .now) < grace
        }
    }

    /// Calls `body` once, on any thread: with true when the agent has confirmed all up to that number, with false
    /// when the session has ended before. It must be quick, and must not call the directory.
    ///
    /// - Returns: what ``forgetWait(_:)`` takes; nil when `body` has been called already.
    func whenHolding(
        revocations number: UInt64, _ body: @escaping @Sendable (Bool) -> Void
    ) -> UInt64? {
        let (id, answer) = self.state.withLockedValue { state -> (UInt64?, Bool) in
            if state.end != nil { return (nil, false) }
            if state.revocations.holds(number) { return (nil, true) }
            return (
                state.revocations.add(SessionRevocations.Waiter(number: number, body: body)), true
            )
        }
        if id == nil { body(answer) }
        return id
    }

    func forgetWait(_ id: UInt64) {
        self.state.withLockedValue { $0.revocations.forget(waiter: id) }
    }

    /// Whether nothing more is to be done for the agent on this stream.
    package var hasEnded: Bool { self.state.withLockedValue { $0.end != nil } }

    /// The next update; waits until there is one.
    ///
    /// - Returns: nil when the session was closed by our own side.
    /// - Throws: ``ServerError`` when the server ended it (agent banned, evicted, replaced).
    package func next() async throws -> SyncUpdate? {
        try await withTaskCancellationHandler {
            try await withCheckedThrowingContinuation { continuation in
                let outcome = self.state.withLockedValue {
                    state -> Result<SyncUpdate?, any Error>? in
                    if let end = state.end {
                        if let error = end { return .failure(error) }
                        return .success(nil)
                    }
                    if state.hasNews { return .success(Self.take(&state)) }
                    state.waiting = continuation
                    return nil
                }
                if let outcome { continuation.resume(with: outcome) }
            }
        } onCancel: {
            self.finish(nil)
        }
    }

    /// Position and digest for a heartbeat: what the agent will have once it has taken everything; nil while
    /// something is waiting to be taken.
    package var settled: (seq: UInt64, digest: EntryDigest)? {
        self.state.withLockedValue { $0.hasNews ? nil : ($0.seq, $0.digest) }
    }

    /// - Throws: why the session has ended, when it has.
    package func requireOpen() throws {
        guard let end = self.state.withLockedValue({ $0.end }) else { return }
        throw end ?? ServerError(.unavailable, "the session has ended")
    }

    /// Ends the session; with an error when the agent must learn why. The first call counts.
    package func finish(_ error: ServerError?) {
        let (waiting, waiters) = self.state.withLockedValue {
            state -> (CheckedContinuation<SyncUpdate?, any Error>?, [SessionRevocations.Waiter]) in
            guard state.end == nil else { return (nil, []) }
            state.end = .some(error)
            defer { state.waiting = nil }
            return (state.waiting, state.revocations.takeWaiters())
        }
        if let error { waiting?.resume(throwing: error) } else { waiting?.resume(returning: nil) }
        for waiter in waiters { waiter.body(false) }
        self.events.tell(of: self)
    }

    // MARK: Filled by the hub

    func upsert(_ entry: Entry) {
        self.state.withLockedValue { state in
            state.upserted[entry.id] = entry
            state.removed.remove(entry.id)
            state.hasNews = true
        }
    }

    func remove(_ id: String) {
        self.state.withLockedValue { state in
            state.upserted[id] = nil
            if !state.isSnapshot { state.removed.insert(id) }
            state.hasNews = true
        }
    }

    func replaceAll(_ entries: [Entry]) {
        self.state.withLockedValue { state in
            state.isSnapshot = true
            state.removed = []
            state.upserted = Dictionary(entries.map { ($0.id, $0) }) { first, _ in first }
            state.hasNews = true
        }
    }

    func upsert(_ bundle: TrustBundle) {
        self.state.withLockedValue { state in
            state.bundles[bundle.trustDomain] = bundle
            state.removedBundles.remove(bundle.trustDomain)
            state.hasNews = true
        }
    }

    func remove(_ trustDomain: TrustDomain) {
        self.state.withLockedValue { state in
            state.bundles[trustDomain] = nil
            state.removedBundles.insert(trustDomain)
            state.hasNews = true
        }
    }

    func upsert(_ revocations: PublishedRevocations) {
        self.state.withLockedValue { state in
            if state.revocations.upsert(revocations) { state.hasNews = true }
        }
    }

    func removeRevocations(of trustDomain: TrustDomain) {
        self.state.withLockedValue { state in
            if state.revocations.remove(trustDomain) { state.hasNews = true }
        }
    }

    /// Hands what has gathered to the reader, if it waits.
    func flush(seq: UInt64, digest: EntryDigest) {
        let ready = self.state.withLockedValue {
            state -> (CheckedContinuation<SyncUpdate?, any Error>, SyncUpdate)? in
            state.seq = seq
            state.digest = digest
            guard state.hasNews, let waiting = state.waiting else { return nil }
            state.waiting = nil
            return (waiting, Self.take(&state))
        }
        ready?.0.resume(returning: ready?.1)
    }

    private static func take(_ state: inout State) -> SyncUpdate {
        var update = SyncUpdate()
        update.isSnapshot = state.isSnapshot
        update.upserted = Array(state.upserted.values)
        update.removedIDs = Array(state.removed)
        update.bundles = Array(state.bundles.values)
        update.removedBundles = Array(state.removedBundles)
        (update.revocations, update.removedRevocations, update.revocationNumber) =
            state.revocations.take()
        update.seq = state.seq
        update.digest = state.digest
        state.isSnapshot = false
        state.upserted = [:]
        state.removed = []
        state.bundles = [:]
        state.removedBundles = []
        state.hasNews = false
        return update
    }
}
