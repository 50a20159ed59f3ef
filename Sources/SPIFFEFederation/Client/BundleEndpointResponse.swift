public import SPIFFE

/// What a bundle endpoint has answered.
public struct BundleEndpointResponse: Sendable {
    /// The answer itself.
    public enum Content: Sendable {
        /// The newest bundle, under the trust domain that the endpoint is configured for.
        case bundle(SPIFFEBundle)
        /// The bundle is the one that the entity tag belongs to.
        case notModified
    }

    /// A bundle, or that there is no other one.
    public let content: Content
    /// To be sent with the next request; nil when the endpoint gave none.
    public let entityTag: String?
    /// How long caches may keep the answer (`Cache-Control: max-age`). For information: refreshes follow the hint
    /// in the bundle.
    public let maxAge: Duration?
    /// For how long the endpoint would have held the answer back until its bundle is another one, or has
    /// (`Preference-Applied: wait`, RFC 7240 §3); nil when it was not asked to, or does not do that.
    public let appliedWait: Duration?
    /// Where the answer came from: the configured URL, or where that has redirected to. Never to be kept, because each
    /// refresh begins at the configured URL.
    public let url: BundleEndpointURL
    /// Why keys of the bundle were left out, for a log; at most ``maximumWarnings``.
    public let warnings: [String]

    /// The bundle, if one came.
    public var bundle: SPIFFEBundle? {
        if case .bundle(let bundle) = self.content { bundle } else { nil }
    }

    /// The most warnings that are kept.
    public static let maximumWarnings = 16

    /// Takes the parts as they are; for those who stand in for a client.
    public init(
        content: Content, entityTag: String? = nil, maxAge: Duration? = nil,
        appliedWait: Duration? = nil, url: BundleEndpointURL, warnings: [String] = []
    ) {
        self.content = content
        self.entityTag = entityTag
        self.maxAge = maxAge
        self.appliedWait = appliedWait
        self.url = url
        self.warnings = Array(warnings.prefix(Self.maximumWarnings))
    }
}
