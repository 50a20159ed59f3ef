package import SPIFFE
import Transparency

/// What an SVID is issued for: what admission asks, and what the ledger keeps of it.
package enum IssuanceOrigin: Sendable, Hashable {
    /// A workload's registration entry.
    case entry(EntryOrigin)
    /// An operator, who vouches for the ID.
    case mint
    /// An agent: the SVID is its own.
    case agent(NodeOrigin)
    /// The server: the SVID is its own.
    case server

    /// The registration entry, if there is one.
    var entryID: String? {
        if case .entry(let entry) = self { entry.id } else { nil }
    }

    /// The agent that asks, or that attests.
    ///
    /// - Parameter id: whom the SVID is for.
    func node(_ id: SPIFFEID) -> SPIFFEID? {
        switch self {
        case .entry(let entry): entry.agent
        case .agent: id
        case .mint, .server: nil
        }
    }

    /// What admission is asked about.
    func subject(
        _ type: LeafSVIDType, _ id: SPIFFEID, authorityID: String
    ) -> IssuanceSubject {
        var subject = IssuanceSubject(
            svidType: type, spiffeID: id, node: self.node(id), authorityID: authorityID)
        if case .entry(let entry) = self {
            subject.entryID = entry.id
            subject.selectors = entry.selectors
        }
        return subject
    }

    /// The leaf of an SVID, without what only one kind of SVID has.
    ///
    /// - Parameters:
    ///   - digest: SHA-256 of the SVID.
    ///   - notAfter: Unix seconds.
    func leaf(
        _ subject: IssuanceSubject, digest: [UInt8], notAfter: Int64, caller: String
    ) -> SVIDIssuedLeaf {
        var leaf = SVIDIssuedLeaf(
            svidType: subject.svidType, spiffeID: subject.spiffeID, svidDigest: digest,
            notAfter: LeafTime(seconds: notAfter), authorityID: subject.authorityID,
            entryID: subject.entryID, node: subject.node, caller: caller)
        switch self {
        case .entry(let entry):
            leaf.entryRevision = entry.revision
            leaf.selectorsDigest = LeafDigests.selectors(entry.selectors)
        case .agent(let node):
            if !node.selectors.isEmpty {
                leaf.selectorsDigest = LeafDigests.selectors(node.selectors)
            }
            leaf.evidenceDigest = node.evidenceDigest
        case .mint, .server: break
        }
        return leaf
    }
}

/// The entry that an SVID is issued for, as it was when that was decided.
package struct EntryOrigin: Sendable, Hashable {
    package let id: String
    package let revision: Int64
    package let selectors: [Selector]
    /// The agent that asks.
    package let agent: SPIFFEID

    package init(_ entry: Entry, agent: SPIFFEID) {
        self.id = entry.id
        self.revision = entry.revision
        self.selectors = entry.selectors
        self.agent = agent
    }
}

/// What an agent's own SVID rests on.
package struct NodeOrigin: Sendable, Hashable {
    /// Node selectors.
    package let selectors: [Selector]
    /// SHA-256 of the attestation's payload; nil in a renewal.
    package let evidenceDigest: [UInt8]?

    package init(selectors: [Selector], evidenceDigest: [UInt8]? = nil) {
        self.selectors = selectors
        self.evidenceDigest = evidenceDigest
    }
}
