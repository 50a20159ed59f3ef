package import SPIFFE

/// The agents that are connected, and how far they are with revocations.
package protocol RevocationHolders: Sendable {
    /// Waits until every agent that is connected now has confirmed the state with that number or a later one, or
    /// is gone; or until the time is over.
    func wait(number: UInt64, timeout: Duration) async -> RevocationConfirmations
}

/// Who has confirmed a state of the revocations.
package struct RevocationConfirmations: Sendable, Hashable {
    /// Agents that were asked.
    package var agents: Int
    /// How many of them have confirmed.
    package var confirmed: Int
    /// When the last one did, from the beginning of the call.
    package var lastConfirmation: Duration?
    /// Who has not, in order.
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
