import NIOCore
package import NIOSSL

/// What an HTTPS listener shows its clients; asked at each connection, so a new certificate needs no restart.
package protocol ServingCertificate: Sendable {
    /// A context with the certificate of now. The same one may come again as long as the certificate does: nobody
    /// authenticates to these listeners, so a resumed session skips no check of ours.
    ///
    /// - Throws: When there is no certificate yet.
    func context() throws -> NIOSSLContext
}

extension ServingCertificate {
    /// The handler for one connection.
    package func makeHandler() throws -> NIOSSLServerHandler {
        NIOSSLServerHandler(context: try self.context())
    }
}

/// TLS of HTTPS listeners.
enum ServingTLS {
    /// Mozilla's "intermediate" set as far as BoringSSL has it, for TLS 1.2; those of TLS 1.3 are all on
    /// (SPIFFE Federation §5).
    private static let cipherSuites = [
        "ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-RSA-AES128-GCM-SHA256",
        "ECDHE-ECDSA-AES256-GCM-SHA384", "ECDHE-RSA-AES256-GCM-SHA384",
        "ECDHE-ECDSA-CHACHA20-POLY1305", "ECDHE-RSA-CHACHA20-POLY1305",
    ].joined(separator: ":")

    /// TLS 1.2 or 1.3, no certificate asked of clients, HTTP/1.1.
    static func context(
        chain: [NIOSSLCertificateSource], key: NIOSSLPrivateKeySource
    ) throws -> NIOSSLContext {
        var configuration = TLSConfiguration.makeServerConfiguration(
            certificateChain: chain, privateKey: key)
        configuration.minimumTLSVersion = .tlsv12
        configuration.cipherSuites = Self.cipherSuites
        configuration.certificateVerification = .none
        configuration.applicationProtocols = ["http/1.1"]
        // How long a client may take to say goodbye; an idle one would hold up the end of the listener.
        configuration.shutdownTimeout = .seconds(1)
        return try NIOSSLContext(configuration: configuration)
    }
}
