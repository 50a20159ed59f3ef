/// A signed list of what was taken back.
package struct SignedList: Sendable, Hashable {
    /// A CertificateList in DER, or a status list token as it is sent.
    package let bytes: [UInt8]
    /// ID of the authority that signed it.
    package let authorityID: String
    /// Unix seconds.
    package let signedAt: Int64
    /// Unix seconds; from then on verifiers do not take it.
    package let expiresAt: Int64

    package init(bytes: [UInt8], authorityID: String, signedAt: Int64, expiresAt: Int64) {
        self.bytes = bytes
        self.authorityID = authorityID
        self.signedAt = signedAt
        self.expiresAt = expiresAt
    }

    /// Whether it is time for a new one: half of its life is over, or the clock was set back.
    func isDue(at now: Int64) -> Bool {
        now < self.signedAt || now >= self.signedAt + (self.expiresAt - self.signedAt) / 2
    }
}

/// The signed lists of the own trust domain, as they are now.
package struct RevocationLists: Sendable, Hashable {
    /// Grows with each publication; 0 before the first.
    package var number: UInt64 = 0
    /// By the ID of the X.509 authority.
    package var crls: [String: SignedList] = [:]
    /// Nil when tokens carry no status.
    package var statusList: SignedList?

    package init() {}
}
