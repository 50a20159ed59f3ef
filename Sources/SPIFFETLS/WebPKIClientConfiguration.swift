import NIOConcurrencyHelpers
import NIOCore
package import NIOSSL

/// The client's side of TLS with a server that is known by its host name: a certificate of an authority that the
/// system, or a setting, trusts for names.
///
/// Not for servers of workloads, which are known by their SPIFFE IDs. It is for what the SPIFFE standards leave to the
/// Web PKI: bundle endpoints with the profile `https_web`.
package final class WebPKIClientConfiguration: Sendable {
    /// The trust roots of public authorities fill a context with hundreds of certificates, so it is kept for a while. A
    /// client resumes a session only when told to, and nobody tells it.
    private struct Prepared {
        let context: NIOSSLContext
        let madeAt: NIODeadline
    }

    private let usesSystemTrustRoots: Bool
    private let additionalTrustRoots: [[UInt8]]
    private let lifetime: TimeAmount
    private let prepared = NIOLockedValueBox<Prepared?>(nil)

    /// - Parameters:
    ///   - usesSystemTrustRoots: Whether authorities count that the system trusts.
    ///   - additionalTrustRoots: More authorities, as DER certificates.
    ///   - lifetime: How long trust roots are kept before they are read again.
    package init(
        usesSystemTrustRoots: Bool, additionalTrustRoots: [[UInt8]], lifetime: Duration
    ) {
        self.usesSystemTrustRoots = usesSystemTrustRoots
        self.additionalTrustRoots = additionalTrustRoots
        self.lifetime = TimeAmount(lifetime)
    }

    /// Reads the trust roots, if they have not been read yet.
    ///
    /// - Throws: NIOSSL's reason why they cannot be read.
    package func prepare() throws { _ = try self.context() }

    /// The handler for one connection to be made.
    ///
    /// - Parameter host: The name, or the IP address without brackets, that the certificate must be for (RFC 9525).
    /// - Throws: NIOSSL's reason why the trust roots cannot be read.
    package func makeHandler(host: String) throws -> NIOSSLClientHandler {
        try ServerName(host: host).makeHandler(context: try self.context())
    }

    private func context() throws -> NIOSSLContext {
        let now = NIODeadline.now()
        let kept = self.prepared.withLockedValue { $0 }
        if let kept, now - kept.madeAt < self.lifetime { return kept.context }
        // Outside of the lock: it reads files. Two at once do no harm.
        var configuration = TLSConfiguration.makeClientConfiguration()
        configuration.setBundleEndpointDefaults()
        configuration.trustRoots = self.usesSystemTrustRoots ? .default : .certificates([])
        configuration.additionalTrustRoots = [
            .certificates(
                try self.additionalTrustRoots.map { try NIOSSLCertificate(bytes: $0, format: .der) }
            )
        ]
        configuration.applicationProtocols = ["http/1.1"]
        configuration.shutdownTimeout = .seconds(1)
        let context = try NIOSSLContext(configuration: configuration)
        self.prepared.withLockedValue { $0 = Prepared(context: context, madeAt: now) }
        return context
    }

    /// Why the certificate was not accepted, when an error of a handshake says so; else nil.
    package static func refusal(_ error: any Error, host: String) -> String? {
        let text = String(describing: error)
        if text.contains("CERTIFICATE_VERIFY_FAILED") {
            return "its certificate is not valid: it has expired, or leads to no trusted authority"
        }
        if let error = error as? NIOSSLExtraError,
            error == .failedToValidateHostname || error == .serverHostnameImpossibleToMatch
        {
            return "its certificate is not for \(host)"
        }
        if error is WrongServerName { return "its certificate is not for \(host)" }
        return nil
    }
}

extension TLSConfiguration {
    /// What SPIFFE Federation §5 asks of bundle endpoints, and what is asked of other servers of the Web PKI: TLS 1.3, or 1.2 with forward secrecy and authenticated
    /// encryption.
    package mutating func setBundleEndpointDefaults() {
        self.minimumTLSVersion = .tlsv12
        self.cipherSuites = "ECDH+AESGCM:ECDH+CHACHA20:!aNULL:!eNULL"
    }
}
