import NIOConcurrencyHelpers
package import SPIFFE

// The streams of connected agents.
extension Directory {
    /// Opens the sync session of an agent: from now on it gets every change that concerns it.
    ///
    /// - Parameters:
    ///   - knownDigest: digest of the set the agent holds; the snapshot is left out when it is equal.
    ///   - x509AuthorityID: of the authority that signed the agent's SVID.
    ///   - serial: of the agent's SVID, lower-case hex.
    package func openSession(
        agent: SPIFFEID, knownDigest: [UInt8], x509AuthorityID: String? = nil, serial: String? = nil
    ) -> SyncSession {
        let now = self.unixNow
        let session = SyncSession(
            agent: agent, x509AuthorityID: x509AuthorityID, serial: serial,
            events: self.sessionEvents)
        self.state.withLockedValue { state in
            let selectors = Set(state.nodes[agent]?.selectors ?? [])
            state.hub.add(
                session, nodeSelectors: selectors, knownDigest: knownDigest, entries: state.entries,
                bundles: state.bundles, seq: state.seq)
            let revocation = state.revocations.blocking(agent: agent, serial: serial, now: now)
            if let revocation { session.finish(revocation.refusal(ofAgent: agent)) }
        }
        self.sessionEvents.tell(of: session)
        return session
    }

    /// Ends the session: it gets no change any more, and whoever waits for its next one is told that it is over.
    package func closeSession(_ session: SyncSession) {
        self.state.withLockedValue { $0.hub.remove(session) }
        session.finish(nil)
    }

    /// Gives the agent a fresh snapshot.
    package func resync(_ session: SyncSession) {
        self.state.withLockedValue { state in
            state.hub.reset(session, entries: state.entries)
            state.hub.flush(seq: state.seq, entries: state.entries)
        }
    }

    /// The sessions that have not ended.
    var sessions: [SyncSession] { self.state.withLockedValue { $0.hub.sessions } }

    /// How many agents hold a session.
    package var sessionCount: Int { self.state.withLockedValue { $0.hub.count } }
}
