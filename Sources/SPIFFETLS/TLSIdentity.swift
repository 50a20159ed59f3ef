import NIOConcurrencyHelpers
import NIOCore
import NIOSSL
import SPIFFE

/// The X509-SVID of a source in the form that NIOSSL takes, made once per X509-SVID.
///
/// The source is asked each time, so a rotated X509-SVID counts from the next connection on.
final class TLSIdentity: Sendable {
    private struct Prepared {
        let svid: X509SVID
        let chain: [NIOSSLCertificateSource]
        let key: NIOSSLPrivateKeySource
    }

    private let source: any X509SVIDSource
    private let prepared = NIOLockedValueBox<Prepared?>(nil)

    init(_ source: any X509SVIDSource) { self.source = source }

    /// The chain and key to present now.
    func current() throws -> (chain: [NIOSSLCertificateSource], key: NIOSSLPrivateKeySource) {
        let svid = try self.source.x509SVID()
        let prepared = try self.prepared.withLockedValue { prepared -> Prepared in
            if let prepared, prepared.svid == svid { return prepared }
            let fresh = Prepared(
                svid: svid,
                chain: try svid.certificateChainDER.map {
                    .certificate(try NIOSSLCertificate(bytes: $0, format: .der))
                },
                key: .privateKey(try NIOSSLPrivateKey(bytes: svid.privateKeyDER, format: .der)))
            prepared = fresh
            return fresh
        }
        return (prepared.chain, prepared.key)
    }
}

extension TLSConfiguration {
    /// What both sides share: TLS 1.3, no trust store, no name of the host, every signature algorithm that
    /// the key of an X509-SVID may have.
    mutating func setSPIFFEDefaults(_ applicationProtocols: [String]) {
        self.minimumTLSVersion = .tlsv13
        self.trustRoots = .certificates([])
        self.certificateVerification = .noHostnameVerification
        self.applicationProtocols = applicationProtocols
        // How long a peer may take to say goodbye; an idle one would hold up the end of a server.
        self.shutdownTimeout = .seconds(1)
        self.verifySignatureAlgorithms = [
            .ecdsaSecp256R1Sha256, .ed25519, .rsaPssRsaeSha256, .ecdsaSecp384R1Sha384,
            .rsaPssRsaeSha384, .ecdsaSecp521R1Sha512, .rsaPssRsaeSha512,
        ]
    }
}
