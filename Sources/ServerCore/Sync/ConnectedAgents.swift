package import Logging
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
        await self.wait {
            self.directory.sessions.allSatisfy { $0.holds(bundle: sequenceNumber) }
        }
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
        func isDone(_ session: SyncSession) -> Bool {
            session.hasReplaced(bundle: sequenceNumber)
                && (x509AuthorityID == nil || session.x509AuthorityID != x509AuthorityID)
        }
        // An agent that renews its own SVID comes back in a new session, which must be done too.
        let agents = Set(self.directory.sessions.map(\.agent))
        func pending() -> Set<SPIFFEID> {
            let sessions = self.directory.sessions
            return agents.subtracting(sessions.lazy.filter(isDone).map(\.agent)).union(
                sessions.lazy.filter { !isDone($0) }.map(\.agent))
        }
        await self.wait { pending().isEmpty }
        for agent in pending() {
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

    /// Looks now and then until it is done or the time is over. Nobody waits here but an operator, or rotation once
    /// in an authority's life, which is not worth a notification for each of thousands of sessions.
    private func wait(until isDone: () -> Bool) async {
        let deadline = ContinuousClock.now + self.bound
        while !isDone(), ContinuousClock.now < deadline {
            do { try await Task.sleep(for: .milliseconds(20)) } catch { return }
        }
    }
}
