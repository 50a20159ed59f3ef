package import Foundation

/// What is known about SVIDs of one trust domain that were taken back.
public struct TrustDomainRevocations: Sendable {
    /// The trust domain whose SVIDs this is about.
    public let trustDomain: TrustDomain
    /// The lists of its X.509 authorities, and of authorities below those. One counts only for certificates of the
    /// authority that has signed it; of several by one authority the newest counts.
    public let certificateLists: [CertificateRevocationList]
    /// The status lists of its tokens, by their names.
    public let statusLists: [String: StatusList]
    /// The SHA-256 of the signing input (`header.payload`) of each JWT- and WIT-SVID that was taken back. There is no
    /// signature on it: whoever fills it in is believed, such as the agent of this host.
    public let revokedTokens: Set<[UInt8]>
    /// Since when a list that was sent could not be used while nothing stands in for it; nil when none is missing. From
    /// then on news of certificates whose issuer has no list counts as overdue.
    package var missingSince: Date?

    /// - Parameters:
    ///   - trustDomain: The trust domain whose SVIDs this is about.
    ///   - certificateLists: In any order.
    ///   - statusLists: Of two with one name the last counts.
    ///   - revokedTokens: 32 bytes each.
    public init(
        trustDomain: TrustDomain, certificateLists: [CertificateRevocationList] = [],
        statusLists: [StatusList] = [], revokedTokens: Set<[UInt8]> = []
    ) {
        self.trustDomain = trustDomain
        self.certificateLists = certificateLists
        self.statusLists = Dictionary(statusLists.map { ($0.uri, $0) }) { _, last in last }
        self.revokedTokens = revokedTokens
    }
}
