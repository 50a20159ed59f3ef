/// The state of one signing authority.
package enum AuthorityStatus: String, Sendable {
    /// In the bundle, not signing yet.
    case prepared
    /// Signs.
    case active
    /// Has signed; stays in the bundle until everything it signed has ended.
    case old
    /// Revoked, or replaced before it ever signed: goes out of the bundle, and its key is deleted. The last status,
    /// kept until both are done.
    case withdrawn
}

/// What the journal keeps of one authority, so that a restart resumes it.
package struct JournalEntry: Sendable, Hashable {
    package enum Kind: String, Sendable, CaseIterable {
        case x509
        case jwt
        case wit

        /// As in messages: `X.509`, `JWT`, `WIT`.
        package var title: String {
            switch self {
            case .x509: "X.509"
            case .jwt: "JWT"
            case .wit: "WIT"
            }
        }
    }

    package let kind: Kind
    /// `A`, `B` and so on; names the key in the key manager.
    package let slot: String
    /// X.509: subject key ID in lower-case hex. JWT and WIT: the key ID.
    package let authorityID: String
    package var status: AuthorityStatus
    /// Unix seconds.
    package let issuedAt: Int64
    package let notAfter: Int64
    /// The certificate (X.509) or the SubjectPublicKeyInfo (JWT, WIT), DER.
    package let der: [UInt8]

    package init(
        kind: Kind, slot: String, authorityID: String, status: AuthorityStatus, issuedAt: Int64,
        notAfter: Int64, der: [UInt8]
    ) {
        self.kind = kind
        self.slot = slot
        self.authorityID = authorityID
        self.status = status
        self.issuedAt = issuedAt
        self.notAfter = notAfter
        self.der = der
    }

    /// The name of the authority's key in the key manager.
    package var keyID: String { Self.keyID(self.kind, slot: self.slot) }

    /// Whether a key of that name can only be an authority's.
    static func isKeyID(_ id: String) -> Bool {
        Kind.allCases.contains { kind in
            let prefix = Self.keyID(kind, slot: "")
            return id.hasPrefix(prefix) && Self.slots.contains(String(id.dropFirst(prefix.count)))
        }
    }

    /// Places for authorities of one kind. Two are enough when nobody asks for more.
    static let slots = "ABCDEFGHIJKLMNOPQRSTUVWXYZ".map(String.init)

    package static func keyID(_ kind: Kind, slot: String) -> String {
        switch kind {
        case .x509: "x509-CA-\(slot)"
        case .jwt: "JWT-Signer-\(slot)"
        case .wit: "WIT-Signer-\(slot)"
        }
    }
}
