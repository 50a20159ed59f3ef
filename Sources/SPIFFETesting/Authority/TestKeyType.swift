import Crypto
import CryptoExtras
import Foundation
import SwiftASN1
import X509

/// The kind of a key that a ``TestAuthority`` makes.
public enum TestKeyType: String, CaseIterable, Sendable {
    /// ECDSA on P-256.
    case ecP256 = "P-256"
    /// ECDSA on P-384.
    case ecP384 = "P-384"
    /// ECDSA on P-521.
    case ecP521 = "P-521"
    /// RSA with 2048 bits; takes a noticeable time to make.
    case rsa2048 = "RSA"
    /// Ed25519; for X509-SVIDs only.
    case ed25519 = "Ed25519"

    /// A new key, and the same as unencrypted PKCS#8 in DER.
    func makeKey() throws -> (key: Certificate.PrivateKey, pkcs8: [UInt8]) {
        let key: Certificate.PrivateKey
        switch self {
        case .ecP256: key = .init(P256.Signing.PrivateKey())
        case .ecP384: key = .init(P384.Signing.PrivateKey())
        case .ecP521: key = .init(P521.Signing.PrivateKey())
        case .ed25519: key = .init(Curve25519.Signing.PrivateKey())
        case .rsa2048:
            let rsa = try _RSA.Signing.PrivateKey(keySize: .bits2048)
            return (.init(rsa), Array(rsa.pkcs8DERRepresentation))
        }
        return (key, try key.serializeAsPEM().derBytes)
    }
}
