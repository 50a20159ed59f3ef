public import SPIFFE

/// What a client of bundle endpoints may use, how long it waits and whom it believes.
public struct BundleEndpointClientConfiguration: Sendable {
    /// How long connecting may take, and again the handshake.
    public var connectTimeout: Duration = .seconds(10)
    /// How long a response may take, from sending the request to its last byte; again for each redirection.
    public var responseTimeout: Duration = .seconds(30)
    /// The longest body, in bytes; a bundle of a hundred authorities has about 200 KiB.
    public var maximumBodyBytes = 1024 * 1024
    /// The most redirections of one fetch; zero follows none.
    public var maximumRedirects = 5
    /// Whether `https_web` believes the authorities that the system believes.
    public var usesSystemTrustRoots = true
    /// More authorities for `https_web`, as DER certificates; for endpoints behind an authority of one's own.
    public var additionalTrustRoots: [[UInt8]] = []
    /// How long the system's trust roots are kept before they are read again.
    public var trustRootsLifetime: Duration = .seconds(3600)
    /// The value of the `user-agent` header.
    public var userAgent = "cygnet-federation"

    /// In whose name bundles are kept: sent as `Cygnet-Trust-Domain` with requests that may be held back, and with no
    /// others. A Cygnet server then waits a few seconds for whoever keeps its bundle before a new authority signs. It
    /// proves nothing and opens nothing.
    public var announcedTrustDomain: TrustDomain?

    /// The defaults.
    public init() {}
}
