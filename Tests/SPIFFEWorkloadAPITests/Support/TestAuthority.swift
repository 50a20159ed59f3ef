import Crypto
import Foundation
import SPIFFE
import SwiftASN1
import WorkloadAPIProto
import X509

/// Issues real X509-SVIDs and JWT-SVIDs for one trust domain and puts them into messages.
struct TestAuthority: Sendable {
    let trustDomain: TrustDomain
    let rootDER: [UInt8]
    private let name: DistinguishedName
    private let key: Certificate.PrivateKey
    private let signer: JWSSigner

    init(_ trustDomain: String) throws {
        self.trustDomain = try TrustDomain(trustDomain)
        self.name = try DistinguishedName { OrganizationName(trustDomain) }
        self.key = Certificate.PrivateKey(P256.Signing.PrivateKey())
        self.signer = try JWSSigner(privateKey: self.key, keyID: "k1")
        let root = try Self.certificate(
            subject: self.name, publicKey: self.key.publicKey, issuer: self.name,
            issuerKey: self.key,
            extensions: try Certificate.Extensions {
                Critical(BasicConstraints.isCertificateAuthority(maxPathLength: nil))
                Critical(KeyUsage(keyCertSign: true, cRLSign: true))
                SubjectAlternativeNames([.uniformResourceIdentifier("spiffe://\(trustDomain)")])
            })
        self.rootDER = try Self.der(root)
    }

    /// The key of this trust domain in a bundle map.
    var bundleKey: String { self.trustDomain.id.string }

    /// A message entry for an identity with this path.
    func entry(_ path: String, hint: String = "") throws -> WorkloadAPIProto.X509SVID {
        let key = P256.Signing.PrivateKey()
        let id = "\(self.bundleKey)\(path)"
        let leaf = try Self.certificate(
            subject: try DistinguishedName { CommonName("leaf") },
            publicKey: Certificate.PublicKey(key.publicKey), issuer: self.name, issuerKey: self.key,
            extensions: try Certificate.Extensions {
                Critical(BasicConstraints.notCertificateAuthority)
                Critical(KeyUsage(digitalSignature: true))
                try ExtendedKeyUsage([.serverAuth, .clientAuth])
                SubjectAlternativeNames([.uniformResourceIdentifier(id)])
            })
        var entry = WorkloadAPIProto.X509SVID()
        entry.spiffeID = id
        entry.x509Svid = Data(try Self.der(leaf))
        entry.x509SvidKey = key.derRepresentation
        entry.bundle = Data(self.rootDER)
        entry.hint = hint
        return entry
    }

    /// A message with one identity and the bundles of other trust domains.
    func message(_ path: String = "/web", federated: [TestAuthority] = []) throws
        -> X509SVIDResponse
    {
        var message = X509SVIDResponse()
        message.svids = [try self.entry(path)]
        for other in federated { message.federatedBundles[other.bundleKey] = Data(other.rootDER) }
        return message
    }

    /// A JWT-SVID that ends in five minutes.
    func token(_ path: String, audience: [String]) throws -> WorkloadAPIProto.JWTSVID {
        let now = Int64(Date().timeIntervalSince1970)
        let claims = JSONValue.object([
            "sub": .string("\(self.bundleKey)\(path)"),
            "aud": .array(audience.map(JSONValue.string)),
            "iat": .int(now), "exp": .int(now + 300),
        ])
        var entry = WorkloadAPIProto.JWTSVID()
        entry.spiffeID = "\(self.bundleKey)\(path)"
        entry.svid = try self.signer.sign(claims: claims.serialized())
        return entry
    }

    /// The JWK Set of this trust domain.
    func jwks() throws -> Data {
        let key = try JWTVerificationKey(
            publicKeyDER: try Self.der(self.key.publicKey))
        return Data(JWTBundle(trustDomain: self.trustDomain, authorities: ["k1": key]).jwks())
    }

    private static func certificate(
        subject: DistinguishedName, publicKey: Certificate.PublicKey, issuer: DistinguishedName,
        issuerKey: Certificate.PrivateKey, extensions: Certificate.Extensions
    ) throws -> Certificate {
        try Certificate(
            version: .v3, serialNumber: Certificate.SerialNumber(), publicKey: publicKey,
            notValidBefore: Date() - 60, notValidAfter: Date() + 3600, issuer: issuer,
            subject: subject, signatureAlgorithm: .ecdsaWithSHA256, extensions: extensions,
            issuerPrivateKey: issuerKey)
    }

    private static func der(_ value: some DERSerializable) throws -> [UInt8] {
        var serializer = DER.Serializer()
        try serializer.serialize(value)
        return serializer.serializedBytes
    }
}
