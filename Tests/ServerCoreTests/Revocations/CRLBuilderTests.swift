import Crypto
import CryptoExtras
import Foundation
import PluginAPI
import SPIFFE
import ServerTestSupport
import SwiftASN1
import Testing
import X509

@testable import ServerCore

@Suite("CRL builder") struct CRLBuilderTests {
    private static func authority() throws -> X509Authority {
        let der = CRLVectors.bytes(CRLVectors.cert)
        let key = try _RSA.Signing.PrivateKey(derRepresentation: CRLVectors.bytes(CRLVectors.key))
        let certificate = try Certificate(derEncoded: der)
        let identifier = SubjectKeyIdentifier(hash: certificate.publicKey).keyIdentifier
        return X509Authority(
            id: hex(identifier), certificate: certificate, der: der,
            key: try ManagedKey(id: "x509-CA-A", type: .rsa2048, privateKey: .init(key)),
            subjectKeyIdentifier: identifier, signatureAlgorithm: .sha256WithRSAEncryption,
            notAfter: 2_600_000_000)
    }

    /// The entries of ``CRLVectors/full``, in another order and with leading zeros.
    private static let certificates = [
        RevokedCertificate(
            serial: "c0ffee00c0ffee00c0ffee00c0ffee00", revokedAt: 1_900_000_002,
            isSuspended: false),
        RevokedCertificate(serial: "1ff", revokedAt: 2_524_608_000, isSuspended: false),
        RevokedCertificate(serial: "0080", revokedAt: 1_900_000_001, isSuspended: true),
        RevokedCertificate(
            serial: "4b00000000000000000000000000007f", revokedAt: 1_899_999_999,
            isSuspended: true),
        RevokedCertificate(serial: "7f", revokedAt: 1_900_000_000, isSuspended: false),
    ].compactMap { $0 }

    // MARK: Bytes of another implementation

    @Test("a list without entries has no revokedCertificates, byte for byte")
    func empty() async throws {
        let builder = try CRLBuilder(authority: try Self.authority())
        let der = try await builder.sign(
            number: 1, thisUpdate: 1_900_000_000, nextUpdate: 1_900_000_300)
        #expect(der == CRLVectors.bytes(CRLVectors.empty))
    }

    @Test("sorted entries, reasons, both forms of time, numbers with high bits, byte for byte")
    func full() async throws {
        var builder = try CRLBuilder(authority: try Self.authority())
        #expect(builder.update(Self.certificates) && builder.count == 5)
        let der = try await builder.sign(
            number: .max, thisUpdate: 1_900_000_010, nextUpdate: 2_524_608_001)
        #expect(der == CRLVectors.bytes(CRLVectors.full))
    }

    @Test("a number of milliseconds, byte for byte")
    func number() async throws {
        var builder = try CRLBuilder(authority: try Self.authority())
        _ = builder.update([
            try #require(
                RevokedCertificate(serial: "7f", revokedAt: 1_900_000_000, isSuspended: false))
        ])
        let der = try await builder.sign(
            number: 1_900_000_000_000, thisUpdate: 1_900_000_010, nextUpdate: 1_900_000_310)
        #expect(der == CRLVectors.bytes(CRLVectors.number))
    }

    // MARK: Own authorities

    @Test(
        "issuer and key identifier are those of the authority, whose key made the signature",
        arguments: [KeyType.ecP256, .ecP384])
    func names(type: KeyType) async throws {
        let plane = try await TestPlane(authority: .init(x509KeyType: type))
        let authority = try plane.authorities.x509Authority()
        var builder = try CRLBuilder(authority: authority)
        _ = builder.update(Self.certificates)
        let der = try await builder.sign(number: 5, thisUpdate: 10, nextUpdate: 20)
        let read = try ReadCRL(der)
        var serializer = DER.Serializer()
        try serializer.serialize(authority.certificate.subject)
        #expect(read.issuer == serializer.serializedBytes)
        #expect(read.authorityKeyIdentifier == Array(authority.subjectKeyIdentifier))
        #expect(read.number == [5])
        switch type {
        case .ecP256:
            let key = try #require(P256.Signing.PublicKey(authority.certificate.publicKey))
            let signature = try P256.Signing.ECDSASignature(derRepresentation: read.signature)
            #expect(key.isValidSignature(signature, for: read.unsigned))
        default:
            let key = try #require(P384.Signing.PublicKey(authority.certificate.publicKey))
            let signature = try P384.Signing.ECDSASignature(derRepresentation: read.signature)
            #expect(key.isValidSignature(signature, for: read.unsigned))
        }
        let usage = try authority.certificate.extensions.keyUsage
        #expect(usage?.cRLSign == true)
    }

    // MARK: Changes

    @Test("after any changes the list is the one that is made at once")
    func incremental() throws {
        let authority = try Self.authority()
        var generator = Generator(state: 7)
        var kept = try CRLBuilder(authority: authority)
        var now: [String: RevokedCertificate] = [:]
        for round in 0..<60 {
            for _ in 0..<Int.random(in: 0...12, using: &generator) {
                let serial = String(UInt16.random(in: 0...400, using: &generator), radix: 16)
                if Bool.random(using: &generator) {
                    now[serial] = RevokedCertificate(
                        serial: serial, revokedAt: Int64(round),
                        isSuspended: Bool.random(using: &generator))
                } else {
                    now[serial] = nil
                }
            }
            let before = kept.unsigned(number: 1, thisUpdate: 2, nextUpdate: 3)
            let hasChanged = kept.update(Array(now.values))
            let after = kept.unsigned(number: 1, thisUpdate: 2, nextUpdate: 3)
            #expect(hasChanged == (before != after))
            var fresh = try CRLBuilder(authority: authority)
            _ = fresh.update(now.values.shuffled(using: &generator))
            #expect(after == fresh.unsigned(number: 1, thisUpdate: 2, nextUpdate: 3))
            #expect(kept.count == now.count)
        }
    }

    @Test("one serial number twice is one entry: for good before suspended, earlier before later")
    func duplicates() throws {
        func list(_ certificates: [RevokedCertificate]) throws -> [UInt8] {
            var builder = try CRLBuilder(authority: try Self.authority())
            _ = builder.update(certificates)
            return builder.unsigned(number: 1, thisUpdate: 2, nextUpdate: 3)
        }
        func certificate(_ revokedAt: Int64, isSuspended: Bool) throws -> RevokedCertificate {
            try #require(
                RevokedCertificate(serial: "aa", revokedAt: revokedAt, isSuspended: isSuspended))
        }
        let early = try certificate(1, isSuspended: false)
        let late = try certificate(9, isSuspended: false)
        let held = try certificate(0, isSuspended: true)
        #expect(try list([late, held, early]) == list([early]))
        #expect(try list([held, late]) == list([late]))
    }

    @Test("a serial number that is none is none", arguments: ["", "xyz", "0x1", "-1", " 1"])
    func unreadable(serial: String) {
        #expect(RevokedCertificate(serial: serial, revokedAt: 1, isSuspended: false) == nil)
    }
}

/// Numbers that are the same in each run.
private struct Generator: RandomNumberGenerator {
    var state: UInt64

    mutating func next() -> UInt64 {
        self.state = self.state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
        return self.state ^ self.state >> 29
    }
}
