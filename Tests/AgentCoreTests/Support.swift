import Crypto
import Foundation
import PluginAPI
import SPIFFE
import SwiftASN1
import X509

@testable import AgentCore

/// The trust domain of all tests.
let acme: TrustDomain = {
    guard let name = try? TrustDomain("acme.test") else {
        preconditionFailure("constant is invalid")
    }
    return name
}()

extension AuthorizedEntry {
    static func make(
        _ id: String, _ selectors: [String], path: String? = nil, federatesWith: [String] = [],
        isStored: Bool = false, hint: String = "", revision: Int64 = 0, createdAt: Int64 = 0
    ) throws -> AuthorizedEntry {
        AuthorizedEntry(
            id: id, spiffeID: try SPIFFEID("spiffe://acme.test" + (path ?? "/w/\(id)")),
            selectors: try selectors.map { try Selector($0) },
            federatesWith: try federatesWith.map { try TrustDomain($0) }, isStored: isStored,
            hint: hint, revision: revision, createdAt: createdAt)
    }
}

func selectors(_ texts: String...) throws -> Set<Selector> {
    Set(try texts.map { try Selector($0) })
}

/// Signs what the tests need; stands in for the server.
struct TestAuthority {
    let key = Certificate.PrivateKey(P256.Signing.PrivateKey())
    let certificate: Certificate
    let der: [UInt8]

    init(_ trustDomain: TrustDomain = acme, name: String = "root") throws {
        let key = self.key
        self.certificate = try Certificate(
            version: .v3, serialNumber: .init(), publicKey: key.publicKey,
            notValidBefore: Date().addingTimeInterval(-60),
            notValidAfter: Date().addingTimeInterval(86_400),
            issuer: DistinguishedName { CommonName(name) },
            subject: DistinguishedName { CommonName(name) },
            signatureAlgorithm: .ecdsaWithSHA256,
            extensions: Certificate.Extensions {
                Critical(BasicConstraints.isCertificateAuthority(maxPathLength: nil))
                Critical(KeyUsage(keyCertSign: true, cRLSign: true))
                SubjectKeyIdentifier(hash: key.publicKey)
                SubjectAlternativeNames([.uniformResourceIdentifier(trustDomain.id.string)])
            }, issuerPrivateKey: key)
        self.der = try Self.der(self.certificate)
    }

    /// An SVID's chain in DER.
    func sign(
        _ id: SPIFFEID, _ publicKey: Certificate.PublicKey, from: Date = Date(),
        lifetime: TimeInterval = 3600
    ) throws -> [[UInt8]] {
        let keyID = SubjectKeyIdentifier(hash: self.certificate.publicKey).keyIdentifier
        let leaf = try Certificate(
            version: .v3, serialNumber: .init(), publicKey: publicKey, notValidBefore: from,
            notValidAfter: from.addingTimeInterval(lifetime), issuer: self.certificate.subject,
            subject: DistinguishedName { CountryName("US") }, signatureAlgorithm: .ecdsaWithSHA256,
            extensions: Certificate.Extensions {
                Critical(BasicConstraints.notCertificateAuthority)
                Critical(KeyUsage(digitalSignature: true))
                AuthorityKeyIdentifier(keyIdentifier: keyID)
                SubjectAlternativeNames([.uniformResourceIdentifier(id.string)])
            }, issuerPrivateKey: self.key)
        return [try Self.der(leaf)]
    }

    func issue(
        _ id: SPIFFEID, from: Date = Date(), lifetime: TimeInterval = 3600
    ) throws -> IssuedX509SVID {
        let key = try WorkloadKey(type: .ecP256)
        return try IssuedX509SVID(
            chain: try self.sign(id, key.privateKey.publicKey, from: from, lifetime: lifetime),
            key: key, expectedID: id)
    }

    func bundle(_ trustDomain: TrustDomain = acme, isTainted: Bool = false) -> AgentBundle {
        AgentBundle(
            trustDomain: trustDomain,
            x509Authorities: [AgentBundle.X509Authority(der: self.der, isTainted: isTainted)])
    }

    static func der(_ certificate: Certificate) throws -> [UInt8] {
        var serializer = DER.Serializer()
        try serializer.serialize(certificate)
        return serializer.serializedBytes
    }
}

/// Ends a test that took a turn it should not have taken; says which.
struct Unexpected: Error {
    let what: String
    init(_ what: String) { self.what = what }
}
