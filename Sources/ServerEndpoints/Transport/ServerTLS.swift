import NIOConcurrencyHelpers
import NIOCore
package import NIOSSL
package import SPIFFE
import ServerCore

/// The TLS side of the server's TCP listener.
///
/// TLS 1.3 only, ALPN `h2`, the current server SVID, a client certificate asked for but not required. A presented
/// one must verify against the live bundle of its trust domain; its ID must be in our own trust domain or be
/// listed as an admin. Each connection gets a fresh context: with a shared one a client could resume a session,
/// and a resumed handshake is not verified.
package final class ServerTLS: Sendable {
    private struct Parsed {
        var leaf: [UInt8]
        var chain: [NIOSSLCertificateSource]
        var key: NIOSSLPrivateKey
    }

    private let identity: any X509SVIDSource
    private let verifier: X509SVIDVerifier
    private let trustDomain: TrustDomain
    private let foreignAdmins: Set<SPIFFEID>
    private let parsed = NIOLockedValueBox<Parsed?>(nil)

    package init(
        identity: any X509SVIDSource, bundles: any X509BundleSource, trustDomain: TrustDomain,
        adminIDs: Set<SPIFFEID>
    ) {
        self.identity = identity
        self.verifier = X509SVIDVerifier(bundles: bundles)
        self.trustDomain = trustDomain
        self.foreignAdmins = adminIDs
    }

    /// The handler of one connection.
    ///
    /// - Parameter onVerified: called once, before any call of the connection, if the client proved an identity.
    /// - Throws: when there is no server SVID.
    package func makeHandler(
        onVerified: @escaping @Sendable (VerifiedX509SVID) -> Void
    ) throws -> NIOSSLServerHandler {
        let parsed = try self.currentSVID()
        var configuration = TLSConfiguration.makeServerConfiguration(
            certificateChain: parsed.chain, privateKey: .privateKey(parsed.key))
        configuration.minimumTLSVersion = .tlsv13
        configuration.applicationProtocols = ["h2"]
        configuration.certificateVerification = .optionalVerification
        configuration.trustRoots = .certificates([])
        let context = try NIOSSLContext(configuration: configuration)
        return NIOSSLServerHandler(
            context: context,
            customVerificationCallback: { certificates, promise in
                // Owned by the handshake: it ends with the promise, whose failure ends the connection.
                promise.completeWithTask {
                    guard let verified = await self.verify(certificates) else { return .failed }
                    onVerified(verified)
                    return .certificateVerified
                }
            })
    }

    private func verify(_ certificates: [NIOSSLCertificate]) async -> VerifiedX509SVID? {
        guard certificates.count <= 10, let chain = try? certificates.map({ try $0.toDERBytes() }),
            let verified = try? await self.verifier.verify(chainDER: chain)
        else { return nil }
        guard verified.id.isMember(of: self.trustDomain) || self.foreignAdmins.contains(verified.id)
        else { return nil }
        return verified
    }

    private func currentSVID() throws -> Parsed {
        let svid = try self.identity.x509SVID()
        guard let leaf = svid.certificateChainDER.first else {
            throw ServerError(.unavailable, "server SVID is empty")
        }
        if let parsed = self.parsed.withLockedValue({ $0 }), parsed.leaf == leaf { return parsed }
        let parsed = Parsed(
            leaf: leaf,
            chain: try svid.certificateChainDER.map {
                .certificate(try NIOSSLCertificate(bytes: $0, format: .der))
            },
            key: try NIOSSLPrivateKey(bytes: svid.privateKeyDER, format: .der))
        self.parsed.withLockedValue { $0 = parsed }
        return parsed
    }
}
