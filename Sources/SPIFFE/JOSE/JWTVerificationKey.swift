import Crypto
import CryptoExtras
import Foundation
import SwiftASN1
package import X509

/// A public key that checks JWT-SVID signatures: P-256, P-384, P-521, or RSA of 2048 to 8192 bits.
///
/// Two keys are equal when their PKIX encodings are.
public struct JWTVerificationKey: Sendable, Hashable {
    enum Kind: Sendable {
        case p256(P256.Signing.PublicKey)
        case p384(P384.Signing.PublicKey)
        case p521(P521.Signing.PublicKey)
        case rsa(_RSA.Signing.PublicKey)
    }

    let kind: Kind
    /// The key as a DER SubjectPublicKeyInfo ("PKIX").
    public let publicKeyDER: [UInt8]

    /// Parses a DER SubjectPublicKeyInfo.
    ///
    /// - Throws: ``JOSEError`` `malformedKey` when it is not one, `unsupportedKeyType` when no JWT-SVID
    ///   algorithm fits (Ed25519 is one such), `keySize` for RSA outside 2048 to 8192 bits.
    public init(publicKeyDER: [UInt8]) throws(JOSEError) {
        let key: Certificate.PublicKey
        do {
            key = try Certificate.PublicKey(derEncoded: publicKeyDER)
        } catch {
            throw JOSEError(
                .malformedKey,
                "public key of \(publicKeyDER.count) bytes cannot be read; expected a DER "
                    + "SubjectPublicKeyInfo of P-256, P-384, P-521 or RSA with at least 2048 bits")
        }
        try self.init(key)
    }

    /// Takes the public key of a certificate or private key.
    package init(_ key: Certificate.PublicKey) throws(JOSEError) {
        if let key = P256.Signing.PublicKey(key) {
            self.init(.p256(key))
        } else if let key = P384.Signing.PublicKey(key) {
            self.init(.p384(key))
        } else if let key = P521.Signing.PublicKey(key) {
            self.init(.p521(key))
        } else if let key = _RSA.Signing.PublicKey(key) {
            try self.init(rsa: key)
        } else {
            throw JOSEError(
                .unsupportedKeyType,
                "\(key) fits no algorithm of JWT-SVIDs; expected P-256, P-384, P-521 or RSA")
        }
    }

    init(rsa key: _RSA.Signing.PublicKey) throws(JOSEError) {
        guard (2048...8192).contains(key.keySizeInBits) else {
            throw JOSEError(
                .keySize, "RSA key of \(key.keySizeInBits) bits; allowed are 2048 to 8192")
        }
        self.init(.rsa(key))
    }

    init(_ kind: Kind) {
        self.kind = kind
        self.publicKeyDER =
            switch kind {
            case .p256(let key): Array(key.derRepresentation)
            case .p384(let key): Array(key.derRepresentation)
            case .p521(let key): Array(key.derRepresentation)
            case .rsa(let key): Array(key.derRepresentation)
            }
    }

    /// The algorithms whose signatures this key can check.
    public var algorithms: [JWSAlgorithm] {
        switch self.kind {
        case .p256: [.es256]
        case .p384: [.es384]
        case .p521: [.es512]
        case .rsa: [.rs256, .rs384, .rs512, .ps256, .ps384, .ps512]
        }
    }

    /// Whether the signature over the bytes is this key's, in the form that JWS has it: for ECDSA both
    /// numbers at full width, one after the other.
    ///
    /// False also when the algorithm does not fit the key (JWT-SVID §4).
    package func isValidSignature(
        _ signature: [UInt8], for bytes: [UInt8], algorithm: JWSAlgorithm
    ) -> Bool {
        switch (self.kind, algorithm) {
        case (.p256(let key), .es256):
            guard let signature = try? P256.Signing.ECDSASignature(rawRepresentation: signature)
            else {
                return false
            }
            return key.isValidSignature(signature, for: SHA256.hash(data: bytes))
        case (.p384(let key), .es384):
            guard let signature = try? P384.Signing.ECDSASignature(rawRepresentation: signature)
            else {
                return false
            }
            return key.isValidSignature(signature, for: SHA384.hash(data: bytes))
        case (.p521(let key), .es512):
            guard let signature = try? P521.Signing.ECDSASignature(rawRepresentation: signature)
            else {
                return false
            }
            return key.isValidSignature(signature, for: SHA512.hash(data: bytes))
        case (.rsa(let key), .rs256):
            return JWTVerificationKey.check(
                key, signature, SHA256.hash(data: bytes), .insecurePKCS1v1_5)
        case (.rsa(let key), .rs384):
            return JWTVerificationKey.check(
                key, signature, SHA384.hash(data: bytes), .insecurePKCS1v1_5)
        case (.rsa(let key), .rs512):
            return JWTVerificationKey.check(
                key, signature, SHA512.hash(data: bytes), .insecurePKCS1v1_5)
        case (.rsa(let key), .ps256):
            return JWTVerificationKey.check(key, signature, SHA256.hash(data: bytes), .PSS)
        case (.rsa(let key), .ps384):
            return JWTVerificationKey.check(key, signature, SHA384.hash(data: bytes), .PSS)
        case (.rsa(let key), .ps512):
            return JWTVerificationKey.check(key, signature, SHA512.hash(data: bytes), .PSS)
        default:
            return false
        }
    }

    private static func check(
        _ key: _RSA.Signing.PublicKey, _ signature: [UInt8], _ digest: some Digest,
        _ padding: _RSA.Signing.Padding
    ) -> Bool {
        key.isValidSignature(
            _RSA.Signing.RSASignature(rawRepresentation: signature), for: digest, padding: padding)
    }

    public static func == (left: JWTVerificationKey, right: JWTVerificationKey) -> Bool {
        left.publicKeyDER == right.publicKeyDER
    }

    public func hash(into hasher: inout Hasher) { hasher.combine(self.publicKeyDER) }
}
