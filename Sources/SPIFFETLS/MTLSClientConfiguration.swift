public import NIOCore
public import NIOSSL
public import SPIFFE

/// The client's side of mutual TLS between SPIFFE identities.
///
/// The server is known by its SPIFFE ID alone: host names are not compared and none is sent.
public struct MTLSClientConfiguration: Sendable {
    private let identity: TLSIdentity?
    private let verifier: TLSPeerVerifier
    private let applicationProtocols: [String]
    private let acceptsBundleEndpoints: Bool

    /// - Parameters:
    ///   - svid: Who this client is; asked at each connection.
    ///   - bundles: Whose servers are believed; asked at each connection.
    ///   - authorizer: Which servers this client means to talk to.
    ///   - applicationProtocols: For ALPN, such as `h2`, the most wanted first.
    ///   - revocation: What is done about servers whose SVIDs were taken back.
    public init(
        svid: any X509SVIDSource, bundles: any X509BundleSource, authorizer: Authorizer,
        applicationProtocols: [String] = [], revocation: RevocationPolicy = .standard
    ) {
        self.identity = TLSIdentity(svid)
        self.verifier = TLSPeerVerifier(
            bundles: bundles, authorizer: authorizer, revocation: revocation)
        self.applicationProtocols = applicationProtocols
        self.acceptsBundleEndpoints = false
    }

    /// A client that presents no certificate and verifies the server only: it has no identity yet, or shows it in
    /// another way, such as by JWT-SVIDs.
    ///
    /// - Parameters:
    ///   - bundles: Whose servers are believed; asked at each connection.
    ///   - authorizer: Which servers this client means to talk to.
    ///   - applicationProtocols: For ALPN, such as `h2`, the most wanted first.
    ///   - revocation: What is done about servers whose SVIDs were taken back.
    public init(
        unauthenticatedWith bundles: any X509BundleSource, authorizer: Authorizer,
        applicationProtocols: [String] = [], revocation: RevocationPolicy = .standard
    ) {
        self.identity = nil
        self.verifier = TLSPeerVerifier(
            bundles: bundles, authorizer: authorizer, revocation: revocation)
        self.applicationProtocols = applicationProtocols
        self.acceptsBundleEndpoints = false
    }

    /// A client of one bundle endpoint with the profile `https_spiffe`: presents no certificate, and accepts TLS 1.2
    /// as well, which SPIFFE Federation §5 lets such servers speak.
    ///
    /// - Parameters:
    ///   - endpointSPIFFEID: Who the server must be.
    ///   - bundles: Has the newest bundle of that ID's trust domain; asked at each connection.
    package init(bundleEndpoint endpointSPIFFEID: SPIFFEID, bundles: any X509BundleSource) {
        self.identity = nil
        self.verifier = TLSPeerVerifier(bundles: bundles, authorizer: .exactly(endpointSPIFFEID))
        self.applicationProtocols = ["http/1.1"]
        self.acceptsBundleEndpoints = true
    }

    /// The handler for one connection to be made.
    ///
    /// - Parameters:
    ///   - channel: The connection, to be closed when the server's SVID is taken back and the policy says so. Without it
    ///     the connection lives on.
    ///   - onVerified: Told who the server is; see ``TLSPeerVerifier/callback(for:onVerified:onRefused:)`` for
    ///     when to rely on it.
    ///   - onRefused: Told why a server was refused, or why its connection is closed later.
    /// - Throws: What the source throws when it has no X509-SVID.
    public func makeHandler(
        for channel: (any Channel)? = nil,
        onVerified: (@Sendable (VerifiedX509SVID) -> Void)? = nil,
        onRefused: (@Sendable (any Error) -> Void)? = nil
    ) throws -> NIOSSLClientHandler {
        try NIOSSLClientHandler(
            context: try self.makeContext(), serverHostname: nil,
            customVerificationCallback: self.verifier.callback(
                for: channel, onVerified: onVerified, onRefused: onRefused))
    }

    /// A context for one connection.
    package func makeContext() throws -> NIOSSLContext {
        var configuration = TLSConfiguration.makeClientConfiguration()
        configuration.setSPIFFEDefaults(self.applicationProtocols)
        if self.acceptsBundleEndpoints {
            configuration.setBundleEndpointDefaults()
            configuration.verifySignatureAlgorithms?.append(contentsOf: [
                .rsaPkcs1Sha256, .rsaPkcs1Sha384, .rsaPkcs1Sha512,
            ])
        }
        if let (chain, key) = try self.identity?.current() {
            configuration.certificateChain = chain
            configuration.privateKey = key
        }
        return try NIOSSLContext(configuration: configuration)
    }
}
