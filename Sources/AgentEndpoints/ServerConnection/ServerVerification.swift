import AgentCore
import NIOConcurrencyHelpers
import NIOCore
import NIOSSL
import SPIFFE
import SwiftASN1
import X509

/// Decides during the TLS handshake whether the other end is our server.
final class ServerVerification: Sendable {
    private let serverID: SPIFFEID?
    private let trustDomain: TrustDomain
    private let trust: ServerTrust
    private let refused = NIOLockedValueBox<String?>(nil)

    init(trustDomain: TrustDomain, trust: ServerTrust) {
        self.trustDomain = trustDomain
        self.trust = trust
        self.serverID = try? SPIFFEID(trustDomain: trustDomain, path: "/spire/server")
    }

    /// Why the other end was refused, if it was.
    var refusal: String? { self.refused.withLockedValue { $0 } }

    /// For the TLS library, called once per handshake.
    var callback:
        @Sendable ([NIOSSLCertificate], EventLoopPromise<NIOSSLVerificationResultWithMetadata>) ->
            Void
    {
        { certificates, promise in
            // Ends with the verification; the handshake waits for the promise, errors become a
            // refusal.
            promise.completeWithTask {
                do {
                    try await self.verify(certificates.map { try $0.toDERBytes() })
                    return .certificateVerified(VerificationMetadata(nil))
                } catch {
                    let reason = "the server's certificate was refused: \(error)"
                    self.refused.withLockedValue { $0 = reason }
                    return .failed
                }
            }
        }
    }

    private func verify(_ chain: [[UInt8]]) async throws {
        guard let serverID = self.serverID, let first = chain.first else {
            throw ServerFailure(.untrusted, "it sent none")
        }
        switch self.trust {
        case .insecureNameOnly:
            let names = IssuedX509SVID.uriNames(of: try Certificate(derEncoded: first))
            guard names == [serverID.string] else {
                throw ServerFailure(
                    .untrusted, "its names are \(names.prefix(4)), expected only \(serverID)")
            }
        case .authorities(let authorities):
            let bundle = try X509Bundle(
                trustDomain: self.trustDomain, authoritiesDER: authorities())
            let verified = try await X509SVIDVerifier(bundles: bundle).verify(chainDER: chain)
            guard verified.id == serverID else {
                throw ServerFailure(.untrusted, "it is \(verified.id), expected \(serverID)")
            }
        }
    }
}

/// A certificate signing request: nothing but a public key and the proof that we hold its private
/// half.
enum SigningRequest {
    static func der(for key: Certificate.PrivateKey) throws -> [UInt8] {
        let request = try CertificateSigningRequest(
            version: .v1, subject: DistinguishedName(), privateKey: key,
            attributes: CertificateSigningRequest.Attributes())
        var serializer = DER.Serializer()
        try serializer.serialize(request)
        return serializer.serializedBytes
    }
}
