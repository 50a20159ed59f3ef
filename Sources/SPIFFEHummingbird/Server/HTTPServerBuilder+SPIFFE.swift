public import HummingbirdCore
import NIOCore
public import SPIFFE
public import SPIFFETLS

extension HTTPServerBuilder {
    /// An HTTP/1.1 server over mutual TLS between SPIFFE identities.
    ///
    /// ```swift
    /// let app = Application(
    ///     router: router,
    ///     server: .spiffe(
    ///         svid: source, bundles: source, authorizer: .member(of: trustDomain)),
    ///     configuration: ApplicationConfiguration(address: .hostname("0.0.0.0", port: 8443)))
    /// ```
    ///
    /// The sources are asked at each connection, with a TLS context of its own, so rotation needs no restart and no
    /// session is resumed. With a ``SPIFFERequestContext`` handlers know who sent a request.
    ///
    /// - Parameters:
    ///   - svid: Who this server is.
    ///   - bundles: Whose clients are believed.
    ///   - authorizer: Which clients may connect; has no default on purpose.
    ///   - clientCertificate: `optional` for services whose callers show JWT-SVIDs.
    ///   - configuration: Settings of HTTP/1.1. Its `idleTimeout` comes before the one of this function.
    ///   - idleTimeout: How long a client may keep a connection open without saying or hearing anything; nil is as long
    ///     as it likes.
    ///   - handshakeTimeout: How long a client may take to show who it is.
    ///   - revocation: What is done about clients whose SVIDs were taken back.
    ///   - onRefused: Told why a client was refused in the handshake, for a log. Must not block.
    public static func spiffe(
        svid: any X509SVIDSource, bundles: any X509BundleSource, authorizer: Authorizer,
        clientCertificate: MTLSServerConfiguration.ClientCertificate = .required,
        configuration: HTTP1Channel.Configuration = .init(),
        idleTimeout: Duration? = .seconds(60),
        handshakeTimeout: Duration = .seconds(10),
        revocation: RevocationPolicy = .standard,
        onRefused: (@Sendable (any Error) -> Void)? = nil
    ) -> HTTPServerBuilder {
        let tls = MTLSServerConfiguration(
            svid: svid, bundles: bundles, authorizer: authorizer,
            applicationProtocols: ["http/1.1"], clientCertificate: clientCertificate,
            revocation: revocation)
        let configuration = configuration.withIdleTimeout(idleTimeout)
        return HTTPServerBuilder { responder in
            SPIFFEChannel(
                HTTP1Channel(responder: responder, configuration: configuration), tls: tls,
                handshakeTimeout: handshakeTimeout, onRefused: onRefused)
        }
    }
}

extension HTTP1Channel.Configuration {
    /// The same with an idle timeout, unless there is one already.
    func withIdleTimeout(_ timeout: Duration?) -> Self {
        var configuration = self
        if configuration.idleTimeout == nil {
            configuration.idleTimeout = timeout.map { TimeAmount($0) }
        }
        return configuration
    }
}
