import Crypto
import Foundation
import SPIFFE
import SPIFFETLS
import SwiftASN1
import Testing
import X509

@Suite("Chains in the handshake", .timeLimit(.minutes(1)))
struct IntermediateTests {
    @Test("TRAP-09: what stands between leaf and root travels in the handshake, on both sides")
    func intermediates() async throws {
        let root = try Signer("root")
        let middle = try Signer("middle", below: root)
        let bundle = try X509Bundle(
            trustDomain: try TrustDomain("acme.test"), authoritiesDER: [root.der])
        let server = try middle.issue("spiffe://acme.test/server")
        let client = try middle.issue("spiffe://acme.test/client")
        #expect(server.certificateChainDER == [server.certificateChainDER[0], middle.der])
        let configuration = MTLSServerConfiguration(
            svid: server, bundles: bundle, authorizer: .exactly(client.id))
        try await EchoServer.with(configuration) { running in
            let seen = try await running.call(
                MTLSClientConfiguration(
                    svid: client, bundles: bundle, authorizer: .exactly(server.id)))
            #expect(seen.verified == ["spiffe://acme.test/server"])
            #expect(running.seen.verified == ["spiffe://acme.test/client"])
        }
    }
}

/// A signing certificate, of a root or below one.
private struct Signer {
    let der: [UInt8]
    private let key = Certificate.PrivateKey(P256.Signing.PrivateKey())
    private let certificate: Certificate

    init(_ name: String, below issuer: Signer? = nil) throws {
        let subject = try DistinguishedName { CommonName(name) }
        self.certificate = try Self.certificate(
            subject, self.key.publicKey, issuer: issuer?.certificate.subject ?? subject,
            signedBy: issuer?.key ?? self.key,
            try Certificate.Extensions {
                Critical(BasicConstraints.isCertificateAuthority(maxPathLength: nil))
                Critical(KeyUsage(keyCertSign: true))
            })
        self.der = try Self.der(self.certificate)
    }

    func issue(_ id: String) throws -> X509SVID {
        let key = Certificate.PrivateKey(P256.Signing.PrivateKey())
        let leaf = try Self.certificate(
            try DistinguishedName { CommonName("leaf") }, key.publicKey,
            issuer: self.certificate.subject, signedBy: self.key,
            try Certificate.Extensions {
                Critical(BasicConstraints.notCertificateAuthority)
                Critical(KeyUsage(digitalSignature: true))
                try ExtendedKeyUsage([.serverAuth, .clientAuth])
                SubjectAlternativeNames([.uniformResourceIdentifier(id)])
            })
        return try X509SVID(
            certificates: [try Self.der(leaf), self.der],
            privateKeyPKCS8DER: try key.serializeAsPEM().derBytes)
    }

    private static func certificate(
        _ subject: DistinguishedName, _ publicKey: Certificate.PublicKey,
        issuer: DistinguishedName, signedBy key: Certificate.PrivateKey,
        _ extensions: Certificate.Extensions
    ) throws -> Certificate {
        try Certificate(
            version: .v3, serialNumber: .init(), publicKey: publicKey,
            notValidBefore: Date(timeIntervalSinceNow: -60),
            notValidAfter: Date(timeIntervalSinceNow: 3600), issuer: issuer, subject: subject,
            signatureAlgorithm: .ecdsaWithSHA256, extensions: extensions, issuerPrivateKey: key)
    }

    private static func der(_ certificate: Certificate) throws -> [UInt8] {
        var serializer = DER.Serializer()
        try serializer.serialize(certificate)
        return serializer.serializedBytes
    }
}
