import Crypto
import CryptoExtras
import Foundation
import PluginAPI
import SPIFFE
import ServerCore
import ServerTestSupport
import SwiftASN1
import Testing
import X509

@Suite("leaf template") struct LeafTemplateTests {
    private static let keyTypes: [KeyType] = [.ecP256, .ecP384, .rsa2048]

    /// The same certificate by way of swift-certificates.
    ///
    /// - Parameter crlDistributionPoints: The value of the extension, if there is one.
    private static func reference(
        _ leaf: X509Builder.Leaf, subject: DistinguishedName, by authority: X509Authority,
        crlDistributionPoints: [UInt8]? = nil
    ) throws -> Certificate {
        let names =
            [GeneralName.uniformResourceIdentifier(leaf.spiffeID.string)]
            + leaf.dnsNames.map { .dnsName($0) }
        let points = crlDistributionPoints.map {
            Certificate.Extension(oid: [2, 5, 29, 31], critical: false, value: $0[...])
        }
        return try Certificate(
            version: .v3, serialNumber: .init(bytes: leaf.serial), publicKey: leaf.publicKey,
            notValidBefore: Date(timeIntervalSince1970: TimeInterval(leaf.notBefore)),
            notValidAfter: Date(timeIntervalSince1970: TimeInterval(leaf.notAfter)),
            issuer: authority.certificate.subject, subject: subject,
            signatureAlgorithm: authority.signatureAlgorithm,
            extensions: try Certificate.Extensions(
                [
                    try .init(
                        KeyUsage(digitalSignature: true, keyEncipherment: true, keyAgreement: true),
                        critical: true),
                    try .init(ExtendedKeyUsage([.serverAuth, .clientAuth]), critical: false),
                    try .init(BasicConstraints.notCertificateAuthority, critical: true),
                    try .init(SubjectKeyIdentifier(hash: leaf.publicKey), critical: false),
                    try .init(
                        AuthorityKeyIdentifier(keyIdentifier: authority.subjectKeyIdentifier),
                        critical: false),
                    try .init(SubjectAlternativeNames(names), critical: false),
                ] + [points].compactMap { $0 }), issuerPrivateKey: authority.key.privateKey)
    }

    /// The part of a certificate that is signed, and the algorithm after it.
    private static func signedPart(_ der: [UInt8]) throws -> [[UInt8]] {
        guard case .constructed(let parts) = try DER.parse(der).content else { return [] }
        return parts.prefix(2).map { Array($0.encodedBytes) }
    }

    private static func check(
        _ leaf: X509Builder.Leaf, subject: DistinguishedName? = nil, by authority: X509Authority,
        crlDistributionPoints: [UInt8]? = nil
    ) throws {
        let der = try X509Builder().sign(leaf, by: authority)
        let mine = try Certificate(derEncoded: der)
        let wanted = try reference(
            leaf, subject: subject ?? mine.subject, by: authority,
            crlDistributionPoints: crlDistributionPoints)
        var serializer = DER.Serializer()
        try serializer.serialize(wanted)
        #expect(try signedPart(der) == signedPart(serializer.serializedBytes))
        #expect(authority.certificate.publicKey.isValidSignature(mine.signature, for: mine))
    }

    @Test(
        "byte for byte what swift-certificates makes, for every kind of authority and key",
        arguments: keyTypes)
    func sameBytes(type: KeyType) async throws {
        let plane = try await TestPlane(authority: .init(x509KeyType: type))
        let authority = try plane.authorities.x509Authority()
        let keys = [
            Certificate.PublicKey(P256.Signing.PrivateKey().publicKey),
            Certificate.PublicKey(P384.Signing.PrivateKey().publicKey),
            Certificate.PublicKey(try _RSA.Signing.PrivateKey(keySize: .bits2048).publicKey),
        ]
        let now = Int64(Date().timeIntervalSince1970)
        for key in keys {
            for dnsNames in [
                [], ["a.example"], ["a.example", String(repeating: "b", count: 63) + ".example"],
            ] {
                try Self.check(
                    X509Builder.Leaf(
                        spiffeID: try plane.id("/w/" + String(repeating: "p", count: 150)),
                        publicKey: key, dnsNames: dnsNames, notBefore: now - 10,
                        notAfter: now + 3_600, serial: SerialNumbers.random()),
                    by: authority)
            }
        }
    }

    @Test(
        "serial numbers with leading zeros and high bits",
        arguments: [
            [0x01], [0x7F], [0x80], [0xFF, 0x00], [0x00, 0x01], [0x00, 0x80, 0x01],
            [UInt8](repeating: 0xFF, count: 20),
        ])
    func serials(serial: [UInt8]) async throws {
        let plane = try await TestPlane()
        let now = Int64(Date().timeIntervalSince1970)
        try Self.check(
            X509Builder.Leaf(
                spiffeID: try plane.id("/w"),
                publicKey: .init(P256.Signing.PrivateKey().publicKey), notBefore: now,
                notAfter: now + 60, serial: serial),
            by: try plane.authorities.x509Authority())
    }

    /// 2024-02-29, 1999-12-31, 1970-01-01, 2000-02-29, 2049-12-31 23:59:59 and the second after it, 2100-03-01.
    @Test(
        "dates: leap days, and the change of form in 2050",
        arguments: [
            1_709_208_000, 946_684_799, 0, 951_868_799, 2_524_607_999, 2_524_608_000, 4_107_542_400,
        ] as [Int64])
    func dates(moment: Int64) async throws {
        let plane = try await TestPlane()
        try Self.check(
            X509Builder.Leaf(
                spiffeID: try plane.id("/w"),
                publicKey: .init(P256.Signing.PrivateKey().publicKey), notBefore: moment,
                notAfter: moment + 1, serial: [7]),
            by: try plane.authorities.x509Authority())
    }

    @Test("a subject of its own stands in the certificate; a DNS name becomes its common name")
    func subjects() async throws {
        let plane = try await TestPlane()
        let authority = try plane.authorities.x509Authority()
        let wanted = try DistinguishedName {
            CountryName("NZ")
            OrganizationName("Größe")
        }
        let now = Int64(Date().timeIntervalSince1970)
        var leaf = X509Builder.Leaf(
            spiffeID: try plane.id("/w"), publicKey: .init(P256.Signing.PrivateKey().publicKey),
            notBefore: now, notAfter: now + 60, serial: [7], subject: wanted)
        try Self.check(leaf, subject: wanted, by: authority)
        leaf.dnsNames = ["a.example"]
        let named = try DistinguishedName {
            CountryName("NZ")
            OrganizationName("Größe")
            CommonName("a.example")
        }
        try Self.check(leaf, subject: named, by: authority)
    }

    /// The values of the extension are those that PyPI's `cryptography` makes of the two addresses.
    @Test("where the CRL is stands last, not critical, when the authority says so")
    func crlDistributionPoints() async throws {
        let plane = try await TestPlane()
        var authority = try plane.authorities.x509Authority()
        let leaf = X509Builder.Leaf(
            spiffeID: try plane.id("/w"), publicKey: .init(P256.Signing.PrivateKey().publicKey),
            notBefore: 0, notAfter: 60, serial: [7])
        let short = "http://crl.example.org/crl/a.crl"
        authority.crlDistributionPoint = short
        try Self.check(
            leaf, by: authority,
            crlDistributionPoints: [
                0x30, 0x28, 0x30, 0x26, 0xA0, 0x24, 0xA0, 0x22, 0x86, 0x20,
            ] + Array(short.utf8))
        let long = "http://crl.example.org/" + String(repeating: "p", count: 200) + "/a.crl"
        authority.crlDistributionPoint = long
        try Self.check(
            leaf, by: authority,
            crlDistributionPoints: [
                0x30, 0x81, 0xF1, 0x30, 0x81, 0xEE, 0xA0, 0x81, 0xEB, 0xA0, 0x81, 0xE8, 0x86, 0x81,
                0xE5,
            ] + Array(long.utf8))
    }

    @Test("one builder, an authority whose address has changed: the new one counts")
    func changedDistributionPoint() async throws {
        let builder = try X509Builder()
        let plane = try await TestPlane()
        var authority = try plane.authorities.x509Authority()
        let leaf = X509Builder.Leaf(
            spiffeID: try plane.id("/w"), publicKey: .init(P256.Signing.PrivateKey().publicKey),
            notBefore: 0, notAfter: 60, serial: [7])
        for point in [nil, "http://a.test/1.crl", "http://a.test/2.crl", nil] {
            authority.crlDistributionPoint = point
            let der = try builder.sign(leaf, by: authority)
            let text = String(decoding: der, as: UTF8.self)
            #expect(text.contains("http://a.test/") == (point != nil))
            if let point { #expect(text.contains(point)) }
        }
    }

    @Test("the configured prefix and the authority's ID make the address")
    func configuredDistributionPoint() async throws {
        let plane = try await TestPlane(
            authority: .init(crlDistributionURL: "http://crl.example.org/crl"))
        let authority = try plane.authorities.x509Authority()
        #expect(
            authority.crlDistributionPoint == "http://crl.example.org/crl/\(authority.id).crl")
        let none = try await TestPlane().authorities.x509Authority()
        #expect(none.crlDistributionPoint == nil)
    }

    @Test("a builder that serves two authorities in turn mixes nothing up")
    func twoAuthorities() async throws {
        let builder = try X509Builder()
        let authorities = [
            try await TestPlane().authorities.x509Authority(),
            try await TestPlane(authority: .init(x509KeyType: .ecP384)).authorities.x509Authority(),
        ]
        let plane = try await TestPlane()
        for authority in authorities + authorities {
            let der = try builder.sign(
                X509Builder.Leaf(
                    spiffeID: try plane.id("/w"),
                    publicKey: .init(P256.Signing.PrivateKey().publicKey), notBefore: 0,
                    notAfter: 60, serial: [7]),
                by: authority)
            let leaf = try Certificate(derEncoded: der)
            #expect(leaf.issuer == authority.certificate.subject)
            #expect(authority.certificate.publicKey.isValidSignature(leaf.signature, for: leaf))
        }
    }
}
