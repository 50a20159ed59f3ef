/// `entry.created` and its like: something in the server's store was changed.
package struct ChangeLeaf: Hashable, Sendable {
    /// What was changed; the first half of the leaf's type.
    package enum Kind: String, Hashable, Sendable, CaseIterable {
        /// A registration entry; the subject is its ID.
        case entry
        /// A bundle; the subject is its trust domain.
        case bundle
        /// An authority; the subject is its ID.
        case authority
        /// A federation relationship; the subject is its trust domain.
        case federation
    }

    /// What was done; the second half of the leaf's type.
    package enum Action: String, Hashable, Sendable, CaseIterable {
        case created
        case updated
        case deleted
        /// Authorities only, as the next four.
        case prepared
        case activated
        /// It no longer signs, and what it signed is still trusted.
        case retired
        case tainted
        case revoked
    }

    /// What was changed.
    package var kind: Kind
    /// What was done.
    package var action: Action
    /// Which one; see ``Kind``.
    package var subject: String
    /// Its number in the change feed. An authority has none: what is done with it is recorded before it is done, and the
    /// change of the bundle that it makes has the number.
    package var seq: Int64?
    /// The entry's revision number after the change.
    package var revision: Int64?
    /// For an authority: `x509`, `jwt` or `wit`.
    package var authorityType: LeafSVIDType?
    /// SHA-256 of what it is now, as docs/ledger.md says.
    package var contentDigest: [UInt8]?
    /// Who did it; `self` for the server.
    package var caller: String

    package init(
        kind: Kind, action: Action, subject: String, seq: Int64? = nil, revision: Int64? = nil,
        authorityType: LeafSVIDType? = nil, contentDigest: [UInt8]? = nil, caller: String
    ) {
        self.kind = kind
        self.action = action
        self.subject = subject
        self.seq = seq
        self.revision = revision
        self.authorityType = authorityType
        self.contentDigest = contentDigest
        self.caller = caller
    }

    var fields: LeafFields {
        var fields = LeafFields()
        fields.add("subject", self.subject)
        fields.add("seq", self.seq)
        fields.add("revision", self.revision)
        fields.add("authority_type", self.authorityType?.rawValue)
        fields.add("content_digest", hex: self.contentDigest)
        fields.add("caller", self.caller)
        return fields
    }

    init(_ kind: Kind, _ action: Action, _ reader: LeafReader) throws(LeafReader.Missing) {
        self.kind = kind
        self.action = action
        self.subject = try reader.need(reader.string("subject"))
        self.seq = try reader.number("seq")
        self.revision = try reader.number("revision")
        if let type = try reader.string("authority_type") {
            self.authorityType = try reader.need(LeafSVIDType(rawValue: type))
        }
        self.contentDigest = try reader.hex("content_digest")
        self.caller = try reader.need(reader.string("caller"))
    }
}

/// `admin.call`: somebody used a right that only admins have.
package struct AdminCallLeaf: Hashable, Sendable {
    /// The full name of the method, for instance `spire.api.server.entry.v1.Entry/BatchCreateEntry`.
    package var method: String
    /// Who: a SPIFFE ID or `uid:<n>`.
    package var caller: String
    /// What came of it: the name of a gRPC status, for instance `OK`.
    package var status: String
    /// SHA-256 of the request. The request itself may have secrets and is not kept.
    package var requestDigest: [UInt8]?

    package init(method: String, caller: String, status: String, requestDigest: [UInt8]? = nil) {
        self.method = method
        self.caller = caller
        self.status = status
        self.requestDigest = requestDigest
    }

    var fields: LeafFields {
        var fields = LeafFields()
        fields.add("caller", self.caller)
        fields.add("method", self.method)
        fields.add("request_digest", hex: self.requestDigest)
        fields.add("status", self.status)
        return fields
    }

    init(_ reader: LeafReader) throws(LeafReader.Missing) {
        self.method = try reader.need(reader.string("method"))
        self.caller = try reader.need(reader.string("caller"))
        self.status = try reader.need(reader.string("status"))
        self.requestDigest = try reader.hex("request_digest")
    }
}
