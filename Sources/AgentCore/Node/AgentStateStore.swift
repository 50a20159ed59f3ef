/// What an agent keeps on disk about itself, the private key apart.
package struct AgentState: Hashable, Sendable {
    /// The agent's SVID in DER, leaf first; empty when it has none.
    package var chain: [[UInt8]]
    /// X.509 authorities of the trust domain in DER; empty before the first contact.
    package var bundle: [[UInt8]]
    /// Whether the node attestor lets the agent attest again.
    package var canReattest: Bool

    package init(chain: [[UInt8]] = [], bundle: [[UInt8]] = [], canReattest: Bool = false) {
        self.chain = chain
        self.bundle = bundle
        self.canReattest = canReattest
    }
}

/// Keeps the agent's state across restarts.
///
/// Implementers replace the whole state atomically and durably: after a crash the earlier or the
/// new state is there, never a mixture.
package protocol AgentStateStore: Sendable {
    /// Nil when nothing was ever stored.
    ///
    /// - Throws: ``AgentError`` `state`.
    func load() throws -> AgentState?
    /// - Throws: ``AgentError`` `state`; the earlier state is still there.
    func save(_ state: AgentState) throws
}
