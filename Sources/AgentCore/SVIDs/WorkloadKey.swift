import Crypto
import CryptoExtras
package import PluginAPI
import SwiftASN1
package import X509

/// A private key made for one X509-SVID and handed to the workload with it.
package struct WorkloadKey: Sendable {
    package let privateKey: Certificate.PrivateKey
    /// Unencrypted PKCS#8, DER.
    package let pkcs8DER: [UInt8]
    /// SubjectPublicKeyInfo, DER.
    package let publicKeyDER: [UInt8]

    /// Makes a new key.
    ///
    /// - Throws: when the system's random numbers or the RSA generator fail.
    package init(type: KeyType) throws {
        switch type {
        case .ecP256:
            let key = P256.Signing.PrivateKey()
            self.privateKey = Certificate.PrivateKey(key)
            self.pkcs8DER = Array(key.derRepresentation)
            self.publicKeyDER = Array(key.publicKey.derRepresentation)
        case .ecP384:
            let key = P384.Signing.PrivateKey()
            self.privateKey = Certificate.PrivateKey(key)
            self.pkcs8DER = Array(key.derRepresentation)
            self.publicKeyDER = Array(key.publicKey.derRepresentation)
        case .rsa2048, .rsa4096:
            let key = try _RSA.Signing.PrivateKey(keySize: type == .rsa2048 ? .bits2048 : .bits4096)
            self.privateKey = Certificate.PrivateKey(key)
            self.pkcs8DER = Array(key.pkcs8DERRepresentation)
            self.publicKeyDER = Array(key.publicKey.derRepresentation)
        case .ed25519:
            let key = Certificate.PrivateKey(Curve25519.Signing.PrivateKey())
            var serializer = DER.Serializer()
            try serializer.serialize(key.publicKey)
            self.privateKey = key
            self.pkcs8DER = try key.serializeAsPEM().derBytes
            self.publicKeyDER = serializer.serializedBytes
        }
    }
}
