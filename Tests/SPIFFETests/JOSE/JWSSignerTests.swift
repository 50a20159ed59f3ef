import Crypto
import CryptoExtras
import Foundation
import SPIFFE
import SwiftASN1
import Testing
import X509

@Suite("JWSSigner and JWTVerificationKey")
struct JWSSignerTests {
    private static let keys: [(String, @Sendable () throws -> Certificate.PrivateKey)] = [
        ("ES256", { .init(P256.Signing.PrivateKey()) }),
        ("ES384", { .init(P384.Signing.PrivateKey()) }),
        ("ES512", { .init(P521.Signing.PrivateKey()) }),
        ("RS256", { .init(try _RSA.Signing.PrivateKey(keySize: .bits2048)) }),
    ]

    @Test("JWT-01 JWT-07 JWT-09: compact form; the header is alg, kid and typ", arguments: 0..<4)
    func sign(_ index: Int) throws {
        let (algorithm, makeKey) = Self.keys[index]
        let key = try makeKey()
        let signer = try JWSSigner(privateKey: key, keyID: "a\"b/é")
        #expect(signer.algorithm == algorithm)
        let claims = Array(#"{"sub":"spiffe://acme.test/x","aud":["svc"],"exp":9000000000}"#.utf8)
        let bundle = JWTBundle(
            trustDomain: try TrustDomain("acme.test"), authorities: ["a\"b/é": signer.publicKey])
        // Often enough to meet signatures whose numbers begin with zero bytes.
        for _ in 0..<(algorithm == "ES256" ? 600 : 3) {
            let token = try signer.sign(claims: claims)
            let parts = token.split(separator: ".", omittingEmptySubsequences: false)
            #expect(parts.count == 3)
            #expect(!token.contains("="))
            #expect(try Base64URL.decode(parts[1]) == claims)
            let svid = try JWTSVID.validate(token, audience: "svc", bundles: bundle)
            #expect(svid.keyID == "a\"b/é")
        }
        let token = try signer.sign(claims: claims)
        let header = try JSONValue(parsing: try Base64URL.decode(token.split(separator: ".")[0]))
        #expect(header == ["alg": .string(algorithm), "kid": "a\"b/é", "typ": "JWT"])
    }

    @Test("keys that answer later sign too")
    func asynchronous() async throws {
        let signer = try JWSSigner(
            privateKey: .init(P256.Signing.PrivateKey()), keyID: "k", type: "wit+jwt")
        let token = try await signer.signAsynchronously(claims: Array("{}".utf8))
        #expect(try Base64URL.decode(token.split(separator: ".")[0]).contains(UInt8(ascii: "+")))
    }

    @Test("JWT-04: a key without one of the nine algorithms is refused, and so is an empty key ID")
    func refused() {
        #expect {
            try JWSSigner(privateKey: .init(Curve25519.Signing.PrivateKey()), keyID: "k")
        } throws: {
            ($0 as? JOSEError)?.code == .unsupportedKeyType
        }
        #expect(throws: JOSEError.self) {
            try JWSSigner(privateKey: .init(P256.Signing.PrivateKey()), keyID: "")
        }
    }

    @Test("public keys are read from PKIX, and only those that fit")
    func publicKeys() throws {
        for (algorithm, makeKey) in Self.keys {
            var serializer = DER.Serializer()
            try serializer.serialize(try makeKey().publicKey)
            let key = try JWTVerificationKey(publicKeyDER: serializer.serializedBytes)
            #expect(key.publicKeyDER == serializer.serializedBytes)
            #expect(key.algorithms.map(\.rawValue).contains(algorithm))
            #expect(throws: JOSEError.self) {
                try JWTVerificationKey(publicKeyDER: serializer.serializedBytes + [0])
            }
        }
        var serializer = DER.Serializer()
        try serializer.serialize(Certificate.PublicKey(Curve25519.Signing.PrivateKey().publicKey))
        let edwards = serializer.serializedBytes
        #expect { try JWTVerificationKey(publicKeyDER: edwards) } throws: {
            ($0 as? JOSEError)?.code == .unsupportedKeyType
        }
        let small = try _RSA.Signing.PrivateKey(unsafeKeySize: .init(bitCount: 1024)).publicKey
        #expect(throws: JOSEError.self) {
            try JWTVerificationKey(publicKeyDER: Array(small.derRepresentation))
        }
        #expect(throws: JOSEError.self) { try JWTVerificationKey(publicKeyDER: []) }
    }
}
