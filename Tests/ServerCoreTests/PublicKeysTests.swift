import Crypto
import Foundation
import ServerCore
import SwiftASN1
import Testing
import X509

@Suite struct PublicKeysTests {
    private static func der(_ key: Certificate.PublicKey) throws -> [UInt8] {
        var serializer = DER.Serializer()
        try serializer.serialize(key)
        return serializer.serializedBytes
    }

    private static func request(_ key: Certificate.PrivateKey) throws -> [UInt8] {
        let request = try CertificateSigningRequest(
            version: .v1, subject: try DistinguishedName { CommonName("test") }, privateKey: key,
            attributes: CertificateSigningRequest.Attributes())
        var serializer = DER.Serializer()
        try serializer.serialize(request)
        return serializer.serializedBytes
    }

    struct Case: Sendable, CustomTestStringConvertible {
        let name: String
        let base64: String
        var testDescription: String { self.name }
    }

    @Test(arguments: [
        Case(name: "RSA 2048", base64: PublicKeyVectors.rsa2048),
        Case(name: "RSA 4096", base64: PublicKeyVectors.rsa4096),
    ])
    func `accepts RSA keys of 2048 to 4096 bits`(row: Case) throws {
        let der = [UInt8](try #require(Data(base64Encoded: row.base64)))
        let key = try PublicKeys.parse(der)
        #expect(try Self.der(key) == der)
    }

    @Test func `accepts P-256 and P-384`() throws {
        for key in [
            Certificate.PublicKey(P256.Signing.PrivateKey().publicKey),
            Certificate.PublicKey(P384.Signing.PrivateKey().publicKey),
        ] {
            #expect(try PublicKeys.parse(try Self.der(key)) == key)
        }
    }

    @Test(arguments: [
        Case(name: "RSA 1024", base64: PublicKeyVectors.rsa1024),
        Case(name: "RSA 2040", base64: PublicKeyVectors.rsa2040),
        Case(name: "RSA 4104", base64: PublicKeyVectors.rsa4104),
        Case(name: "Ed448", base64: PublicKeyVectors.ed448),
        Case(name: "secp256k1", base64: PublicKeyVectors.secp256k1),
        Case(name: "empty", base64: ""),
        Case(name: "text", base64: "aGVsbG8="),
        Case(name: "a sequence of nothing", base64: "MAA="),
    ])
    func `refuses other keys`(row: Case) throws {
        let der = [UInt8](try #require(Data(base64Encoded: row.base64)))
        let error = #expect(throws: ServerError.self) { try PublicKeys.parse(der) }
        #expect(error?.code == .invalidArgument)
    }

    @Test func `refuses P-521 and Ed25519`() throws {
        for key in [
            Certificate.PublicKey(P521.Signing.PrivateKey().publicKey),
            Certificate.PublicKey(Curve25519.Signing.PrivateKey().publicKey),
        ] {
            let der = try Self.der(key)
            let error = #expect(throws: ServerError.self) { try PublicKeys.parse(der) }
            #expect(error?.code == .invalidArgument)
        }
    }

    @Test func `refuses a key cut off or changed at any byte without a crash`() throws {
        let der = try Self.der(Certificate.PublicKey(P256.Signing.PrivateKey().publicKey))
        for length in 0..<der.count {
            #expect(throws: ServerError.self) { try PublicKeys.parse(Array(der.prefix(length))) }
        }
        for index in der.indices {
            var changed = der
            changed[index] ^= 0x80
            _ = try? PublicKeys.parse(changed)
        }
        #expect(throws: ServerError.self) { try PublicKeys.parse(der + [0]) }
    }

    @Test func `refuses what is huge before it looks at it`() {
        let error = #expect(throws: ServerError.self) {
            try PublicKeys.parse([UInt8](repeating: 0x30, count: 4_097))
        }
        #expect(error?.message.contains("4096") == true)
        let request = #expect(throws: ServerError.self) {
            try PublicKeys.parseRequest([UInt8](repeating: 0x30, count: 64 * 1024 + 1))
        }
        #expect(request?.message.contains("65536") == true)
    }

    @Test func `takes the key of a request whose signature verifies`() throws {
        let key = Certificate.PrivateKey(P256.Signing.PrivateKey())
        let request = try PublicKeys.parseRequest(try Self.request(key))
        #expect(request.publicKey == key.publicKey)
    }

    @Test func `refuses a request whose signature does not verify, unless told not to look`() throws
    {
        var der = try Self.request(Certificate.PrivateKey(P256.Signing.PrivateKey()))
        // The subject: what is signed changes, the form stays.
        let index = try #require(der.firstRange(of: Array("test".utf8))).lowerBound
        der[index] ^= 1
        let changed = der
        let error = #expect(throws: ServerError.self) { try PublicKeys.parseRequest(changed) }
        #expect(error?.code == .invalidArgument)
        #expect(error?.message.contains("signature") == true)
        _ = try PublicKeys.parseRequest(changed, verifySignature: false)
    }

    @Test func `refuses a request for a weak key even without looking at the signature`() throws {
        for key in [
            Certificate.PrivateKey(P521.Signing.PrivateKey()),
            Certificate.PrivateKey(Curve25519.Signing.PrivateKey()),
        ] {
            let der = try Self.request(key)
            #expect(throws: ServerError.self) { try PublicKeys.parseRequest(der) }
            #expect(throws: ServerError.self) {
                try PublicKeys.parseRequest(der, verifySignature: false)
            }
        }
    }

    @Test func `refuses a request that is cut off or garbage`() throws {
        let der = try Self.request(Certificate.PrivateKey(P256.Signing.PrivateKey()))
        for length in 0..<der.count {
            #expect(throws: ServerError.self) {
                try PublicKeys.parseRequest(Array(der.prefix(length)), verifySignature: false)
            }
        }
        #expect(throws: ServerError.self) { try PublicKeys.parseRequest(Array("hello".utf8)) }
    }
}
