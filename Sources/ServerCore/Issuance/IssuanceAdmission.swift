package import SPIFFE
package import Transparency

/// What somebody wants an SVID for, as far as the server knows it before it signs.
package struct IssuanceSubject: Sendable, Hashable {
    package var svidType: LeafSVIDType
    package var spiffeID: SPIFFEID
    /// The registration entry; nil for what is minted, and for agents and servers.
    package var entryID: String?
    /// The entry's selectors; empty without an entry.
    package var selectors: [Selector]
    /// The agent that asks, or that attests; nil for what is minted, and for servers.
    package var node: SPIFFEID?
    /// The authority that is about to sign.
    package var authorityID: String

    package init(
        svidType: LeafSVIDType, spiffeID: SPIFFEID, entryID: String? = nil,
        selectors: [Selector] = [],
        node: SPIFFEID? = nil, authorityID: String
    ) {
        self.svidType = svidType
        self.spiffeID = spiffeID
        self.entryID = entryID
        self.selectors = selectors
        self.node = node
        self.authorityID = authorityID
    }
}

/// An SVID that was signed and recorded, and is not released yet.
package struct SignedSVID: Sendable, Hashable {
    package var subject: IssuanceSubject
    /// As it was recorded.
    package var leaf: SVIDIssuedLeaf
    /// SHA-256 of a token's signing input (`header.payload`); nil for X509-SVIDs. Unlike a digest of the whole token it
    /// stays the same when somebody rewrites the signature.
    package var signingInputDigest: [UInt8]?
    /// What ``IssuanceAdmission/begin(_:)`` gave.
    package var ticket: IssuanceTicket
    /// Its place in a status list, if it has one.
    package var status: StatusReference? { self.ticket.status }

    package init(
        subject: IssuanceSubject, leaf: SVIDIssuedLeaf, signingInputDigest: [UInt8]? = nil,
        ticket: IssuanceTicket = IssuanceTicket()
    ) {
        self.subject = subject
        self.leaf = leaf
        self.signingInputDigest = signingInputDigest
        self.ticket = ticket
    }
}

/// Leave to sign one SVID.
package struct IssuanceTicket: Sendable, Hashable {
    /// The token's place in a status list; nil for X509-SVIDs, and when tokens carry no status.
    package var status: StatusReference?
    /// How many replacements had been made when it was given: what is signed on it is older than later ones.
    package var epoch: UInt64
    /// Whether a token must differ from every earlier one. Two for the same audience within a second say the same, and a
    /// verifier that is told of the first by its signing input would refuse the second with it.
    package var isToBeUnique: Bool

    /// - Parameters:
    ///   - status: The token's place; nil when it gets none.
    ///   - epoch: Counts replacements from the start of the server; 0 before the first.
    ///   - isToBeUnique: Whether the token must differ from every earlier one.
    package init(
        status: StatusReference? = nil, epoch: UInt64 = 0, isToBeUnique: Bool = false
    ) {
        self.status = status
        self.epoch = epoch
        self.isToBeUnique = isToBeUnique
    }
}

/// A place in a status list, for the `status` claim of a token.
package struct StatusReference: Sendable, Hashable {
    /// The list's URI.
    package var uri: String
    /// The place in it, from 0.
    package var index: Int64

    package init(uri: String, index: Int64) {
        self.uri = uri
        self.index = index
    }
}

/// Says whether an SVID may be issued, and knows those that were: asked before the signature and again between the
/// record and the release, so that nothing gets out that was taken back meanwhile.
package protocol IssuanceAdmission: Sendable {
    /// Before the signature.
    ///
    /// - Returns: to be shown again to ``admit(_:)``.
    /// - Throws: ``ServerError`` `failedPrecondition` that names the revocation; `resourceExhausted` when the agent has
    ///   as many live SVIDs as it may have.
    func begin(_ subject: IssuanceSubject) throws(ServerError) -> IssuanceTicket

    /// Between record and release: from here on the SVID is among those that a revocation finds.
    ///
    /// - Throws: ``ServerError`` as ``begin(_:)``, or `unavailable` when the SVID was signed too early or too late; it
    ///   must not be released then.
    func admit(_ svid: SignedSVID) throws(ServerError)
}
