public import SPIFFE
public import SPIFFETLS

extension SPIFFEServerTransport {
    /// A transport that listens on TCP and knows its callers by mutual TLS.
    ///
    /// - Parameters:
    ///   - host: The IP address or name to bind, such as `0.0.0.0`.
    ///   - port: Zero takes a free one, which ``boundPort`` tells.
    ///   - svid: Who this server is; asked at each connection.
    ///   - bundles: Whose clients are believed; asked at each connection.
    ///   - authorizer: Which clients may connect; has no default on purpose.
    ///   - clientCertificate: `optional` for services whose callers show JWT-SVIDs: a client without X509-SVID
    ///     connects, and `peerSPIFFEID` is nil in its calls.
    ///   - settings: Limits; a connection is asked to close after about an hour unless they say otherwise.
    ///   - revocation: What is done about clients whose SVIDs were taken back.
    ///   - onRefused: Told why a client was refused in the handshake, for a log. Must not block.
    public convenience init(
        host: String, port: Int, svid: any X509SVIDSource, bundles: any X509BundleSource,
        authorizer: Authorizer,
        clientCertificate: MTLSServerConfiguration.ClientCertificate = .required,
        settings: Settings = Settings(maxConnectionAge: .seconds(3600)),
        revocation: RevocationPolicy = .standard,
        onRefused: (@Sendable (any Error) -> Void)? = nil
    ) {
        let tls = MTLSServerConfiguration(
            svid: svid, bundles: bundles, authorizer: authorizer, applicationProtocols: ["h2"],
            clientCertificate: clientCertificate, revocation: revocation)
        self.init(
            listener: .tls(
                host: host, port: port,
                makeHandler: {
                    try tls.makeHandler(for: $0, onVerified: $1, onRefused: onRefused)
                }),
            settings: settings)
    }
}
