package import SPIFFE

/// The bundle of a trust domain as the server keeps it, with what SPIFFE's own format cannot say (taint).
package struct TrustBundle: Sendable, Hashable {
    package struct X509AuthorityCertificate: Sendable, Hashable {
        package var der: [UInt8]
        package var tainted: Bool

        package init(der: [UInt8], tainted: Bool = false) {
            self.der = der
            self.tainted = tainted
        }
    }

    package struct JWTAuthorityKey: Sendable, Hashable {
        package var keyID: String
        /// SubjectPublicKeyInfo, DER.
        package var publicKeyDER: [UInt8]
        /// Unix seconds; 0 means never.
        package var expiresAt: Int64
        package var tainted: Bool

        package init(keyID: String, publicKeyDER: [UInt8], expiresAt: Int64, tainted: Bool = false)
        {
            self.keyID = keyID
            self.publicKeyDER = publicKeyDER
            self.expiresAt = expiresAt
            self.tainted = tainted
        }
    }

    package struct WITAuthorityKey: Sendable, Hashable {
        package var keyID: String
        /// SubjectPublicKeyInfo, DER.
        package var publicKeyDER: [UInt8]
        /// Unix seconds; 0 means never.
        package var expiresAt: Int64
        package var tainted: Bool

        package init(keyID: String, publicKeyDER: [UInt8], expiresAt: Int64, tainted: Bool = false)
        {
            self.keyID = keyID
            self.publicKeyDER = publicKeyDER
            self.expiresAt = expiresAt
            self.tainted = tainted
        }
    }

    package let trustDomain: TrustDomain
    package var x509Authorities: [X509AuthorityCertificate] = []
    package var jwtAuthorities: [JWTAuthorityKey] = []
    /// Key IDs differ from those of the JWT authorities too.
    package var witAuthorities: [WITAuthorityKey] = []
    /// Seconds; 0 means none.
    package var refreshHint: Int64 = 0
    /// One more with every change; the store's own count.
    package var sequenceNumber: UInt64 = 0
    /// The number that a partner gave its bundle; nil for our own bundle, and when the partner gave none.
    package var foreignSequence: UInt64?
    /// Whether it came from the partner's endpoint, and not from an operator's hand.
    package var isFetched = false

    package init(trustDomain: TrustDomain) { self.trustDomain = trustDomain }
}
