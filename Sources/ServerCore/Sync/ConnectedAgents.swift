package import Logging
import NIOConcurrencyHelpers
import SPIFFE

/// The connected agents as holders of the own bundle: what they have confirmed, and the end of those that do not.
///
/// Only agents with a sync session are waited for. Who polls, as stock agents do, confirms nothing.
package struct ConnectedAgents: BundleHolders {
    let directory: Directory
    private let bound: Duration
    private let logger: Logger

    /// - Parameter bound: how long agents may take to confirm.
    package init(directory: Directory, bound: Duration = .seconds(10), logger: Logger) {
        self.directory = directory
        self.bound = bound
        self.logger = logger
    }

    package func awaitBundle(_ sequenceNumber: UInt64) async {
        await self.wait { $0.holds(bundle: sequenceNumber) }
        for session in self.directory.sessions where !session.holds(bundle: sequenceNumber) {
            self.logger.warning(
                "agent has not confirmed the bundle in time; it is disconnected",
                metadata: [LogKeys.agentID: "\(session.agent)"])
            session.finish(
                ServerError(
                    .unavailable,
                    "bundle \(sequenceNumber) was not confirmed within \(self.bound); connect again"
                ))
        }
    }

    package func awaitReplacement(_ sequenceNumber: UInt64, x509AuthorityID: String?) async {
        // An agent that renews its own SVID comes back in a new session, which must be done too.
        let agents = Set(self.directory.sessions.map(\.agent))
        let pending = await self.wait(for: agents) { session in
            session.hasReplaced(bundle: sequenceNumber)
                && (x509AuthorityID == nil || session.x509AuthorityID != x509AuthorityID)
        }
        for agent in pending {
            self.logger.warning(
                "agent has not replaced what rests on the tainted authority in time",
                metadata: [LogKeys.agentID: "\(agent)"])
        }
    }

    package func disconnect(x509AuthorityID: String) {
        for session in self.directory.sessions where session.x509AuthorityID == x509AuthorityID {
            self.logger.warning(
                "agent's SVID is of a revoked authority; it is disconnected",
                metadata: [LogKeys.agentID: "\(session.agent)"])
            session.finish(
                ServerError(.unavailable, "the authority of the agent's SVID was revoked"))
        }
    }

    /// Waits until all connected agents are done, also those that connect meanwhile, or the time is over.
    ///
    /// - Parameter required: agents that must come back when their sessions end.
    /// - Returns: agents that are not done.
    @discardableResult
    private func wait(
        for required: Set<SPIFFEID> = [], until isDone: @escaping @Sendable (SyncSession) -> Bool
    ) async -> Set<SPIFFEID> {
        let tally = NIOLockedValueBox((sessions: SessionTally(required: required), isWhole: false))
        let (events, continuation) = AsyncStream.makeStream(of: Void.self)
        @Sendable func note(_ session: SyncSession) {
            let isOver = tally.withLockedValue { tally in
                // Asked within the lock, so that of two who tell of one session the later one counts.
                let standing: SessionTally.Standing =
                    session.hasEnded ? .ended : isDone(session) ? .done : .pending
                tally.sessions.note(ObjectIdentifier(session), of: session.agent, standing)
                return tally.isWhole && tally.sessions.pending.isEmpty
            }
            if isOver { continuation.finish() }
        }
        let id = self.directory.sessionEvents.add(note)
        defer { self.directory.sessionEvents.remove(id) }
        for session in self.directory.sessions { note(session) }
        let isOver = tally.withLockedValue { tally in
            tally.isWhole = true
            return tally.sessions.pending.isEmpty
        }
        guard !isOver else { return [] }
        // Ends with the wait.
        let timer = Task {
            try await Task.sleep(for: self.bound)
            continuation.finish()
        }
        defer { timer.cancel() }
        for await _ in events {}
        return tally.withLockedValue { $0.sessions.pending }
    }
}
