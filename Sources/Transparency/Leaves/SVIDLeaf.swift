package import SPIFFE

/// The three kinds of SVIDs, as leaves name them.
package enum LeafSVIDType: String, Hashable, Sendable, CaseIterable {
    case x509
    case jwt
    case wit
}

/// `svid.issued`: an SVID was signed, and is about to be released.
package struct SVIDIssuedLeaf: Hashable, Sendable {
    /// The value of the member `type`.
    package static let type = "svid.issued"

    /// Which kind.
    package var svidType: LeafSVIDType
    /// Whose it is.
    package var spiffeID: SPIFFEID
    /// The certificate's serial number in lower-case hex, without leading zeros; X.509 only.
    package var serial: String?
    /// The token's `jti`, where it has one.
    package var jti: String?
    /// SHA-256 of the SVID: of the certificate's DER, or of the token.
    package var svidDigest: [UInt8]
    /// SHA-256 of the DER of the SubjectPublicKeyInfo that the SVID is bound to; nil for JWT-SVIDs.
    package var keyThumbprint: [UInt8]?
    /// When it expires.
    package var notAfter: LeafTime
    /// The ID of the authority that signed.
    package var authorityID: String
    /// The registration entry; nil for one that was minted, and for agents and servers.
    package var entryID: String?
    /// The entry's revision number at that time.
    package var entryRevision: Int64?
    /// The agent that asked for it.
    package var node: SPIFFEID?
    /// Who asked: a SPIFFE ID, `uid:<n>`, or `self` for the server.
    package var caller: String
    /// SHA-256 of the selectors that the entry was matched with, as docs/ledger.md says.
    package var selectorsDigest: [UInt8]?
    /// SHA-256 of what the node's or workload's attestation brought forward.
    package var evidenceDigest: [UInt8]?
    /// The token's place in the status list, from 0; nil when it has none.
    package var statusIndex: Int64?
    /// SHA-256 of a token's signing input (`header.payload`), which stays the same when somebody rewrites the
    /// signature; nil for X509-SVIDs.
    package var signingInputDigest: [UInt8]?

    package init(
        svidType: LeafSVIDType, spiffeID: SPIFFEID, serial: String? = nil, jti: String? = nil,
        svidDigest: [UInt8], keyThumbprint: [UInt8]? = nil, notAfter: LeafTime, authorityID: String,
        entryID: String? = nil, entryRevision: Int64? = nil, node: SPIFFEID? = nil, caller: String,
        selectorsDigest: [UInt8]? = nil, evidenceDigest: [UInt8]? = nil, statusIndex: Int64? = nil,
        signingInputDigest: [UInt8]? = nil
    ) {
        self.svidType = svidType
        self.spiffeID = spiffeID
        self.serial = serial
        self.jti = jti
        self.svidDigest = svidDigest
        self.keyThumbprint = keyThumbprint
        self.notAfter = notAfter
        self.authorityID = authorityID
        self.entryID = entryID
        self.entryRevision = entryRevision
        self.node = node
        self.caller = caller
        self.selectorsDigest = selectorsDigest
        self.evidenceDigest = evidenceDigest
        self.statusIndex = statusIndex
        self.signingInputDigest = signingInputDigest
    }

    var fields: LeafFields {
        // In the order of the bytes, so that there is nothing to sort.
        var fields = LeafFields()
        fields.add("authority_id", self.authorityID)
        fields.add("caller", self.caller)
        fields.add("entry_id", self.entryID)
        fields.add("entry_revision", self.entryRevision)
        fields.add("evidence_digest", hex: self.evidenceDigest)
        fields.add("jti", self.jti)
        fields.add("key_thumbprint", hex: self.keyThumbprint)
        fields.add("node", self.node?.string)
        fields.add("not_after", self.notAfter)
        fields.add("selectors_digest", hex: self.selectorsDigest)
        fields.add("serial", self.serial)
        fields.add("signing_input_digest", hex: self.signingInputDigest)
        fields.add("spiffe_id", self.spiffeID.string)
        fields.add("status_index", self.statusIndex)
        fields.add("svid_digest", hex: self.svidDigest)
        fields.add("svid_type", self.svidType.rawValue)
        return fields
    }

    init(_ reader: LeafReader) throws(LeafReader.Missing) {
        self.svidType = try reader.need(
            LeafSVIDType(rawValue: reader.need(reader.string("svid_type"))))
        self.spiffeID = try reader.need(reader.id("spiffe_id"))
        self.serial = try reader.string("serial")
        self.jti = try reader.string("jti")
        self.svidDigest = try reader.need(reader.hex("svid_digest"))
        self.keyThumbprint = try reader.hex("key_thumbprint")
        self.notAfter = try reader.need(reader.time("not_after"))
        self.authorityID = try reader.need(reader.string("authority_id"))
        self.entryID = try reader.string("entry_id")
        self.entryRevision = try reader.number("entry_revision")
        self.node = try reader.id("node")
        self.caller = try reader.need(reader.string("caller"))
        self.selectorsDigest = try reader.hex("selectors_digest")
        self.evidenceDigest = try reader.hex("evidence_digest")
        self.statusIndex = try reader.number("status_index")
        self.signingInputDigest = try reader.hex("signing_input_digest")
    }
}

/// `svid.refused`: somebody asked for an SVID and did not get it.
package struct SVIDRefusedLeaf: Hashable, Sendable {
    /// Why, as a class: `revoked`, `unauthorized`, `banned`, `rate_limited`, `policy`, `invalid_request`,
    /// `not_enabled`, `unavailable` or `internal`.
    package var reason: String
    /// Which kind was asked for.
    package var svidType: LeafSVIDType
    /// For which ID, as far as it is known.
    package var spiffeID: SPIFFEID?
    /// The registration entry, as far as it is known.
    package var entryID: String?
    /// The agent that asked.
    package var node: SPIFFEID?
    /// Who asked.
    package var caller: String
    /// The revocation that stood in the way.
    package var revocationID: String?

    package init(
        reason: String, svidType: LeafSVIDType, spiffeID: SPIFFEID? = nil, entryID: String? = nil,
        node: SPIFFEID? = nil, caller: String, revocationID: String? = nil
    ) {
        self.reason = reason
        self.svidType = svidType
        self.spiffeID = spiffeID
        self.entryID = entryID
        self.node = node
        self.caller = caller
        self.revocationID = revocationID
    }

    var fields: LeafFields {
        var fields = LeafFields()
        fields.add("reason", self.reason)
        fields.add("svid_type", self.svidType.rawValue)
        fields.add("spiffe_id", self.spiffeID?.string)
        fields.add("entry_id", self.entryID)
        fields.add("node", self.node?.string)
        fields.add("caller", self.caller)
        fields.add("revocation_id", self.revocationID)
        return fields
    }

    init(_ reader: LeafReader) throws(LeafReader.Missing) {
        self.reason = try reader.need(reader.string("reason"))
        self.svidType = try reader.need(
            LeafSVIDType(rawValue: reader.need(reader.string("svid_type"))))
        self.spiffeID = try reader.id("spiffe_id")
        self.entryID = try reader.string("entry_id")
        self.node = try reader.id("node")
        self.caller = try reader.need(reader.string("caller"))
        self.revocationID = try reader.string("revocation_id")
    }
}
