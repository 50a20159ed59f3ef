package import SPIFFE
package import X509

/// One X509-SVID to issue. The caller is authenticated and the entry resolved already.
package struct X509Issuance: Sendable {
    package let spiffeID: SPIFFEID
    package let publicKey: Certificate.PublicKey
    package var dnsNames: [String] = []
    /// Seconds; 0 means the default. Capped by the authority's own end.
    package var ttl: Int32 = 0
    /// Overrides the usual subject.
    package var subject: DistinguishedName?
    /// What it is issued for.
    package let origin: IssuanceOrigin

    package init(
        spiffeID: SPIFFEID, publicKey: Certificate.PublicKey, dnsNames: [String] = [],
        ttl: Int32 = 0,
        subject: DistinguishedName? = nil, origin: IssuanceOrigin
    ) {
        self.spiffeID = spiffeID
        self.publicKey = publicKey
        self.dnsNames = dnsNames
        self.ttl = ttl
        self.subject = subject
        self.origin = origin
    }
}

/// An issued X509-SVID, without its key.
package struct IssuedX509SVID: Sendable {
    package let spiffeID: SPIFFEID
    /// DER, leaf first, without the root.
    package let chain: [[UInt8]]
    /// Lower-case hex.
    package let serial: String
    /// Unix seconds.
    package let expiresAt: Int64
}
