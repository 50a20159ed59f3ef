package import SPIFFE

/// What the server knows of an agent that has attested.
package struct AttestedNode: Sendable, Hashable {
    /// The agent's ID, below `/spire/agent/`.
    package var id: SPIFFEID
    /// Name of the node attestor, such as `join_token`.
    package var attestationType: String
    /// Serial number of the current agent SVID, lower-case hex; empty means banned.
    package var serial: String
    /// Unix seconds at which the current agent SVID ends.
    package var expiresAt: Int64
    /// Serial of a renewed SVID that the agent has not used yet; becomes current on first use.
    package var preparedSerial = ""
    package var preparedExpiresAt: Int64 = 0
    /// Node selectors, sorted.
    package var selectors: [Selector] = []
    package var canReattest = false
    package var agentVersion = ""

    package init(
        id: SPIFFEID, attestationType: String, serial: String, expiresAt: Int64
    ) {
        self.id = id
        self.attestationType = attestationType
        self.serial = serial
        self.expiresAt = expiresAt
    }

    /// A banned agent has no current serial; only eviction lifts it.
    package var isBanned: Bool { self.serial.isEmpty }

    /// Blanks both serials.
    package mutating func ban() {
        self.serial = ""
        self.preparedSerial = ""
        self.preparedExpiresAt = 0
    }
}

/// A token that lets one node attest once.
package struct JoinToken: Sendable, Hashable {
    /// The secret; becomes part of the agent's ID and must be a valid path segment.
    package let value: String
    /// Unix seconds.
    package let expiresAt: Int64

    package init(value: String, expiresAt: Int64) {
        self.value = value
        self.expiresAt = expiresAt
    }
}
