import SPIFFE

/// Which agents something is still waited for from: a table that each change of a session is entered into.
///
/// An agent is done when it has an open session that is done and none that is not. Agents that are not among the required
/// ones are done without any session too.
struct SessionTally {
    /// What is known of a session.
    enum Standing { case pending, done, ended }

    private struct Sessions {
        var pending: Set<ObjectIdentifier> = []
        var done: Set<ObjectIdentifier> = []
    }

    private let required: Set<SPIFFEID>
    private var agents: [SPIFFEID: Sessions] = [:]
    private(set) var pending: Set<SPIFFEID>

    /// - Parameter required: agents that must come back when their sessions end.
    init(required: Set<SPIFFEID>) {
        self.required = required
        self.pending = required
    }

    /// Notes what is known of a session now; any number of times, each in the place of what was noted before.
    mutating func note(_ session: ObjectIdentifier, of agent: SPIFFEID, _ standing: Standing) {
        var sessions = self.agents[agent] ?? Sessions()
        sessions.pending.remove(session)
        sessions.done.remove(session)
        switch standing {
        case .pending: sessions.pending.insert(session)
        case .done: sessions.done.insert(session)
        case .ended: break
        }
        self.agents[agent] = sessions.pending.isEmpty && sessions.done.isEmpty ? nil : sessions
        let isMissing = sessions.done.isEmpty && self.required.contains(agent)
        if !sessions.pending.isEmpty || isMissing {
            self.pending.insert(agent)
        } else {
            self.pending.remove(agent)
        }
    }
}
