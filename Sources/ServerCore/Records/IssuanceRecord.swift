package import SPIFFE

/// The record of one issuance, made durable before the SVID leaves the server.
package struct IssuanceRecord: Sendable {
    package enum Kind: String, Sendable {
        case x509SVID = "x509-svid"
        case jwtSVID = "jwt-svid"
        case witSVID = "wit-svid"
        case x509Authority = "x509-authority"
        case jwtAuthority = "jwt-authority"
        case witAuthority = "wit-authority"
    }

    package let kind: Kind
    package let spiffeID: SPIFFEID
    /// Serial number in lower-case hex (X.509), `jti` or empty (JWT), empty (WIT), key ID (JWT or WIT
    /// authority).
    package let serial: String
    /// ID of the authority that signed.
    package let authorityID: String
    /// SHA-256 of the certificate's DER, of the token, or of the public key.
    package let sha256: [UInt8]
    /// Unix seconds.
    package let expiresAt: Int64
    /// What it was issued for: `entry:<id>`, `mint`, `agent`, `server`, `authority`.
    package let reason: String
    /// Who asked: a SPIFFE ID, `uid:<n>`, or `self`.
    package let requestedBy: String

    package init(
        kind: Kind, spiffeID: SPIFFEID, serial: String, authorityID: String, sha256: [UInt8],
        expiresAt: Int64, reason: String, requestedBy: String
    ) {
        self.kind = kind
        self.spiffeID = spiffeID
        self.serial = serial
        self.authorityID = authorityID
        self.sha256 = sha256
        self.expiresAt = expiresAt
        self.reason = reason
        self.requestedBy = requestedBy
    }
}

/// Where issuances are recorded.
///
/// `append` returns only when all the records are durable, in the order given and after every record of an
/// append that returned earlier. When it throws, the caller must not release what it wanted to record;
/// whether the records are there afterwards is open (a record without an SVID does no harm). Appends of
/// several callers are made durable together.
package protocol IssuanceRecorder: Sendable {
    /// - Throws: ``ServerError`` `unavailable` when the records cannot be made durable.
    func append(_ records: [IssuanceRecord]) async throws
}
