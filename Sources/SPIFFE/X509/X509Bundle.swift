public import X509

/// The X.509 authorities of one trust domain: the roots for its X509-SVIDs and for no others.
///
/// Two bundles are equal when trust domain and authorities are, in order.
public struct X509Bundle: Sendable, Equatable {
    /// The trust domain whose SVIDs these authorities vouch for; told by whoever hands the bundle out,
    /// never guessed from its content.
    public let trustDomain: TrustDomain
    /// The authorities; a certificate that was given twice is here once.
    public let authorities: [Certificate]
    /// The bytes that ``authorities`` were read from, in the same order.
    public let authoritiesDER: [[UInt8]]
    /// The same, prepared for verification.
    let anchors: [SigningCertificate]

    /// - Parameters:
    ///   - trustDomain: The trust domain whose SVIDs the authorities vouch for.
    ///   - authoritiesDER: One DER certificate each. None is allowed: nothing is trusted then.
    /// - Throws: ``X509SVIDError`` `malformedCertificate` when one cannot be read.
    public init(trustDomain: TrustDomain, authoritiesDER: [[UInt8]]) throws(X509SVIDError) {
        var anchors: [SigningCertificate] = []
        var seen: Set<[UInt8]> = []
        for der in authoritiesDER where seen.insert(der).inserted {
            anchors.append(SigningCertificate(try X509SVIDVerifier.parse(der), der: der))
        }
        self.trustDomain = trustDomain
        self.anchors = anchors
        self.authorities = anchors.map(\.certificate)
        self.authoritiesDER = anchors.map(\.der)
    }

    /// Reads authorities as the Workload API sends them: DER certificates one after the other.
    ///
    /// - Throws: ``X509SVIDError`` `malformedCertificate`.
    public init(trustDomain: TrustDomain, concatenatedDER: [UInt8]) throws(X509SVIDError) {
        try self.init(
            trustDomain: trustDomain, authoritiesDER: try DERChain.split(concatenatedDER))
    }

    /// The authorities as the Workload API carries them.
    public var concatenatedDER: [UInt8] { Array(self.authoritiesDER.joined()) }

    public static func == (left: X509Bundle, right: X509Bundle) -> Bool {
        left.trustDomain == right.trustDomain && left.authoritiesDER == right.authoritiesDER
    }
}
