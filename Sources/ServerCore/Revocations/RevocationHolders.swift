package import SPIFFE

/// The agents that are connected, and how far they are with revocations.
package protocol RevocationHolders: Sendable {
    /// Waits until every agent that is connected now has confirmed the state with that number or a later one, or is
    /// gone; or until the time is over.
    ///
    /// - Parameter number: as given to ``RevocationAudience/publish(_:number:)``.
    func wait(number: UInt64, timeout: Duration) async -> RevocationConfirmations
}

/// Who has confirmed a state of revocations.
package struct RevocationConfirmations: Sendable, Hashable {
    /// How many sessions of agents were asked.
    package var agents: Int
    /// How many of them have confirmed.
    package var confirmed: Int
    /// When the last one confirmed, from the call on; nil when nobody did.
    package var lastConfirmation: Duration?
    /// Agents that are connected and have not confirmed, ordered by ID.
    package var waitingFor: [SPIFFEID]

    package init(
        agents: Int, confirmed: Int, lastConfirmation: Duration?, waitingFor: [SPIFFEID]
    ) {
        self.agents = agents
        self.confirmed = confirmed
        self.lastConfirmation = lastConfirmation
        self.waitingFor = waitingFor
    }
}
