package import SPIFFE

/// `node.attested`, `node.renewed`, `node.banned`, `node.evicted`: what became of an agent.
package struct NodeLeaf: Hashable, Sendable {
    /// What happened.
    package enum Action: String, Hashable, Sendable, CaseIterable {
        /// It proved which node it runs on.
        case attested
        /// Its SVID was renewed.
        case renewed
        /// It may never come back.
        case banned
        /// It must attest again.
        case evicted
    }

    /// What happened.
    package var action: Action
    /// The agent.
    package var node: SPIFFEID
    /// The attestor's type, for instance `join_token`.
    package var attestationType: String?
    /// The serial number of the agent's X509-SVID in lower-case hex.
    package var serial: String?
    /// When that expires.
    package var notAfter: LeafTime?
    /// SHA-256 of the node's selectors, as docs/ledger.md says.
    package var selectorsDigest: [UInt8]?
    /// SHA-256 of the attestation's payload.
    package var evidenceDigest: [UInt8]?
    /// Who did it: the agent itself, or who banned or evicted it.
    package var caller: String
    /// Its number in the change feed, where it has one.
    package var seq: Int64?

    package init(
        action: Action, node: SPIFFEID, attestationType: String? = nil, serial: String? = nil,
        notAfter: LeafTime? = nil, selectorsDigest: [UInt8]? = nil, evidenceDigest: [UInt8]? = nil,
        caller: String, seq: Int64? = nil
    ) {
        self.action = action
        self.node = node
        self.attestationType = attestationType
        self.serial = serial
        self.notAfter = notAfter
        self.selectorsDigest = selectorsDigest
        self.evidenceDigest = evidenceDigest
        self.caller = caller
        self.seq = seq
    }

    var fields: LeafFields {
        var fields = LeafFields()
        fields.add("node", self.node.string)
        fields.add("attestation_type", self.attestationType)
        fields.add("serial", self.serial)
        fields.add("not_after", self.notAfter)
        fields.add("selectors_digest", hex: self.selectorsDigest)
        fields.add("evidence_digest", hex: self.evidenceDigest)
        fields.add("caller", self.caller)
        fields.add("seq", self.seq)
        return fields
    }

    init(_ action: Action, _ reader: LeafReader) throws(LeafReader.Missing) {
        self.action = action
        self.node = try reader.need(reader.id("node"))
        self.attestationType = try reader.string("attestation_type")
        self.serial = try reader.string("serial")
        self.notAfter = try reader.time("not_after")
        self.selectorsDigest = try reader.hex("selectors_digest")
        self.evidenceDigest = try reader.hex("evidence_digest")
        self.caller = try reader.need(reader.string("caller"))
        self.seq = try reader.number("seq")
    }
}
