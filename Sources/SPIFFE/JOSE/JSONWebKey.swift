import Crypto
import CryptoExtras
import Foundation
import X509

/// Public keys as members of a JWK (RFC 7517, RFC 7518 §6, RFC 8037).
enum JSONWebKey {
    /// The members `kty` and what belongs to it, for any key that a certificate may have.
    ///
    /// Coordinates have their full width and RSA numbers no leading zero, as strict readers demand.
    static func members(of key: Certificate.PublicKey) throws(JOSEError) -> [String: JSONValue] {
        if let key = Curve25519.Signing.PublicKey(key) {
            return [
                "kty": "OKP", "crv": "Ed25519",
                "x": .string(Base64URL.encode(Array(key.rawRepresentation))),
            ]
        }
        return self.members(of: try JWTVerificationKey(key))
    }

    /// The members `kty` and what belongs to it.
    static func members(of key: JWTVerificationKey) -> [String: JSONValue] {
        switch key.kind {
        case .p256(let key): return self.members(curve: "P-256", Array(key.rawRepresentation))
        case .p384(let key): return self.members(curve: "P-384", Array(key.rawRepresentation))
        case .p521(let key): return self.members(curve: "P-521", Array(key.rawRepresentation))
        case .rsa(let key):
            // The primitives of a key that was parsed are always there; an entry without them would
            // be ignored by every reader.
            guard let primitives = try? key.getKeyPrimitives() else { return ["kty": "RSA"] }
            return [
                "kty": "RSA",
                "n": .string(Base64URL.encode(Array(primitives.modulus.drop { $0 == 0 }))),
                "e": .string(Base64URL.encode(Array(primitives.publicExponent.drop { $0 == 0 }))),
            ]
        }
    }

    private static func members(curve: String, _ point: [UInt8]) -> [String: JSONValue] {
        let half = point.count / 2
        return [
            "kty": "EC", "crv": .string(curve),
            "x": .string(Base64URL.encode(Array(point[..<half]))),
            "y": .string(Base64URL.encode(Array(point[half...]))),
        ]
    }

    /// Reads the key of a JWK; private members are never looked at.
    ///
    /// - Throws: ``JOSEError`` `unsupportedKeyType`, `malformedKey`, `keySize` or `base64`.
    static func verificationKey(from members: [String: JSONValue]) throws(JOSEError)
        -> JWTVerificationKey
    {
        guard let type = members["kty"]?.stringValue else {
            throw JOSEError(.malformedKey, "JWK has no kty")
        }
        switch type {
        case "EC":
            return try self.ellipticKey(members)
        case "RSA":
            let modulus = try self.bytes("n", members)
            let exponent = try self.bytes("e", members)
            guard modulus.count <= 1024 + 1, exponent.count <= 8 else {
                throw JOSEError(.keySize, "RSA key above 8192 bits, or with an exponent above 64")
            }
            let key: _RSA.Signing.PublicKey
            do {
                key = try _RSA.Signing.PublicKey(n: modulus, e: exponent)
            } catch {
                throw JOSEError(.malformedKey, "n and e form no RSA key of at least 2048 bits")
            }
            return try JWTVerificationKey(rsa: key)
        default:
            throw JOSEError(
                .unsupportedKeyType,
                "JWK has kty \(SPIFFEIDError.quoted(type)); known are EC and RSA")
        }
    }

    private static func ellipticKey(_ members: [String: JSONValue]) throws(JOSEError)
        -> JWTVerificationKey
    {
        let curve = members["crv"]?.stringValue ?? ""
        let x = try self.bytes("x", members)
        let y = try self.bytes("y", members)
        do {
            switch curve {
            case "P-256" where x.count == 32 && y.count == 32:
                return JWTVerificationKey(
                    .p256(try P256.Signing.PublicKey(rawRepresentation: x + y)))
            case "P-384" where x.count == 48 && y.count == 48:
                return JWTVerificationKey(
                    .p384(try P384.Signing.PublicKey(rawRepresentation: x + y)))
            case "P-521" where x.count == 66 && y.count == 66:
                return JWTVerificationKey(
                    .p521(try P521.Signing.PublicKey(rawRepresentation: x + y)))
            default:
                break
            }
        } catch {
            throw JOSEError(.malformedKey, "x and y are no point of \(curve)")
        }
        guard ["P-256", "P-384", "P-521"].contains(curve) else {
            throw JOSEError(
                .unsupportedKeyType,
                "JWK has crv \(SPIFFEIDError.quoted(curve)); known are P-256, P-384 and P-521")
        }
        throw JOSEError(.malformedKey, "x and y do not have the full width of \(curve)")
    }

    private static func bytes(_ name: String, _ members: [String: JSONValue]) throws(JOSEError)
        -> [UInt8]
    {
        guard let text = members[name]?.stringValue else {
            throw JOSEError(.malformedKey, "JWK has no \(name)")
        }
        return try Base64URL.decode(text)
    }
}
