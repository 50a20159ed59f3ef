import Crypto
import CryptoExtras
package import PluginAPI
package import X509

extension KeyType {
    /// Makes a new private key of this type in this process.
    package func generatePrivateKey() throws -> Certificate.PrivateKey {
        switch self {
        case .ecP256: Certificate.PrivateKey(P256.Signing.PrivateKey())
        case .ecP384: Certificate.PrivateKey(P384.Signing.PrivateKey())
        case .rsa2048: Certificate.PrivateKey(try _RSA.Signing.PrivateKey(keySize: .bits2048))
        case .rsa4096: Certificate.PrivateKey(try _RSA.Signing.PrivateKey(keySize: .bits4096))
        case .ed25519: Certificate.PrivateKey(Curve25519.Signing.PrivateKey())
        }
    }
}
