public import NIOCore
public import NIOSSL
public import SPIFFE

/// The server's side of mutual TLS between SPIFFE identities.
///
/// Call ``makeHandler(for:onVerified:onRefused:)`` for each accepted connection and put the handler first into
/// its pipeline. Each has a context of its own: with a shared one a client could resume an earlier
/// session, and a resumed handshake verifies nobody.
public struct MTLSServerConfiguration: Sendable {
    /// Whether a client has to present an X509-SVID.
    public enum ClientCertificate: Sendable {
        /// A client without one is refused.
        case required
        /// A client without one connects, unauthenticated; one that is presented must verify. For endpoints that
        /// know their callers in another way, such as by JWT-SVIDs.
        case optional
    }

    private let identity: TLSIdentity
    private let verifier: TLSPeerVerifier
    private let applicationProtocols: [String]
    private let clientCertificate: ClientCertificate

    /// - Parameters:
    ///   - svid: Who this server is; asked at each connection.
    ///   - bundles: Whose clients are believed; asked at each connection.
    ///   - authorizer: Which clients may connect.
    ///   - applicationProtocols: For ALPN, such as `h2`, the most wanted first.
    ///   - clientCertificate: What becomes of clients without X509-SVID.
    ///   - revocation: What is done about clients whose SVIDs were taken back.
    public init(
        svid: any X509SVIDSource, bundles: any X509BundleSource, authorizer: Authorizer,
        applicationProtocols: [String] = [], clientCertificate: ClientCertificate = .required,
        revocation: RevocationPolicy = .standard
    ) {
        self.identity = TLSIdentity(svid)
        self.verifier = TLSPeerVerifier(
            bundles: bundles, authorizer: authorizer, revocation: revocation)
        self.applicationProtocols = applicationProtocols
        self.clientCertificate = clientCertificate
    }

    /// The handler for one accepted connection.
    ///
    /// - Parameters:
    ///   - channel: The connection, to be closed when the client's SVID is taken back and the policy says so. Without it
    ///     the connection lives on.
    ///   - onVerified: Told who the client is; see ``TLSPeerVerifier/callback(for:onVerified:onRefused:)`` for
    ///     when to rely on it. Not called for a client without X509-SVID.
    ///   - onRefused: Told why a client was refused, or why its connection is closed later.
    /// - Throws: What the source throws when it has no X509-SVID.
    public func makeHandler(
        for channel: (any Channel)? = nil,
        onVerified: (@Sendable (VerifiedX509SVID) -> Void)? = nil,
        onRefused: (@Sendable (any Error) -> Void)? = nil
    ) throws -> NIOSSLServerHandler {
        NIOSSLServerHandler(
            context: try self.makeContext(),
            customVerificationCallback: self.verifier.callback(
                for: channel, onVerified: onVerified, onRefused: onRefused))
    }

    /// A context for one connection; do not keep it for a second one.
    package func makeContext() throws -> NIOSSLContext {
        let (chain, key) = try self.identity.current()
        var configuration = TLSConfiguration.makeServerConfiguration(
            certificateChain: chain, privateKey: key)
        configuration.setSPIFFEDefaults(self.applicationProtocols)
        if self.clientCertificate == .optional {
            configuration.certificateVerification = .optionalVerification
        }
        return try NIOSSLContext(configuration: configuration)
    }
}
