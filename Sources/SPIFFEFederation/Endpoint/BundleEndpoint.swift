public import SPIFFE

/// How a bundle endpoint proves that it is the right one (SPIFFE Federation §5.2).
public enum BundleEndpointProfile: Sendable, Hashable, CustomStringConvertible {
    /// `https_web`: a certificate of a public authority for the host of the URL.
    case httpsWeb
    /// `https_spiffe`: an X509-SVID with exactly this SPIFFE ID, verified with the newest bundle of the ID's trust
    /// domain. The ID's trust domain may be another one than the bundle's.
    case httpsSPIFFE(endpointSPIFFEID: SPIFFEID)

    /// The name of the profile in configurations: `https_web` or `https_spiffe`.
    public var name: String {
        switch self {
        case .httpsWeb: "https_web"
        case .httpsSPIFFE: "https_spiffe"
        }
    }

    public var description: String {
        switch self {
        case .httpsWeb: self.name
        case .httpsSPIFFE(let id): "\(self.name) (\(id))"
        }
    }
}

/// Where the bundle of a trust domain is published, and how that place is recognised.
///
/// All three parts come from configuration and none follows from another (SPIFFE Federation §5.1, §7.2).
public struct BundleEndpoint: Sendable, Hashable {
    /// The trust domain whose bundle it serves.
    public let trustDomain: TrustDomain
    /// Where each refresh begins.
    public let url: BundleEndpointURL
    /// How the endpoint proves that it is the right one; never another way instead.
    public let profile: BundleEndpointProfile

    /// - Parameters:
    ///   - trustDomain: Whose bundle is served there.
    ///   - url: Such as `https://example.org/bundle.json`.
    ///   - profile: How the endpoint is recognised.
    /// - Throws: ``BundleEndpointError`` `invalidURL`.
    public init(
        trustDomain: TrustDomain, url: String, profile: BundleEndpointProfile
    ) throws(BundleEndpointError) {
        self.trustDomain = trustDomain
        self.url = try BundleEndpointURL(url)
        self.profile = profile
    }

    /// The SPIFFE ID that the endpoint must have; nil for `https_web`.
    public var endpointSPIFFEID: SPIFFEID? {
        switch self.profile {
        case .httpsWeb: nil
        case .httpsSPIFFE(let id): id
        }
    }

    /// Whether the endpoint is authenticated with the bundle that it serves (§5.2.2.2): then the first contact
    /// needs a bundle from elsewhere.
    public var isSelfServing: Bool { self.endpointSPIFFEID?.trustDomain == self.trustDomain }
}
