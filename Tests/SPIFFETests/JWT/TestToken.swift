import Crypto
import CryptoExtras
import Foundation
import SPIFFE

/// A key that makes tokens of any shape, also wrong ones.
enum TestTokenKey: Sendable {
    case p256(P256.Signing.PrivateKey)
    case p384(P384.Signing.PrivateKey)
    case p521(P521.Signing.PrivateKey)
    case rsa(_RSA.Signing.PrivateKey)

    var publicKeyDER: [UInt8] {
        switch self {
        case .p256(let key): Array(key.publicKey.derRepresentation)
        case .p384(let key): Array(key.publicKey.derRepresentation)
        case .p521(let key): Array(key.publicKey.derRepresentation)
        case .rsa(let key): Array(key.publicKey.derRepresentation)
        }
    }

    /// Signs by the algorithm's name; an RSA key knows six of them.
    func sign(_ input: [UInt8], _ algorithm: String) throws -> [UInt8] {
        switch self {
        case .p256(let key): return Array(try key.signature(for: input).rawRepresentation)
        case .p384(let key): return Array(try key.signature(for: input).rawRepresentation)
        case .p521(let key): return Array(try key.signature(for: input).rawRepresentation)
        case .rsa(let key):
            let padding: _RSA.Signing.Padding =
                algorithm.hasPrefix("PS") ? .PSS : .insecurePKCS1v1_5
            let signature =
                switch algorithm.suffix(3) {
                case "384": try key.signature(for: SHA384.hash(data: input), padding: padding)
                case "512": try key.signature(for: SHA512.hash(data: input), padding: padding)
                default: try key.signature(for: SHA256.hash(data: input), padding: padding)
                }
            return Array(signature.rawRepresentation)
        }
    }
}

/// A token to be, with good values everywhere.
struct TestToken {
    var header: [String: JSONValue] = ["alg": "ES256", "kid": "k1", "typ": "JWT"]
    var claims: [String: JSONValue]
    /// Written in place of the claims when set.
    var rawPayload: [UInt8]?

    init(now: Date = Date()) {
        let seconds = Int64(now.timeIntervalSince1970)
        self.claims = [
            "sub": "spiffe://acme.test/x", "aud": ["svc"], "exp": .int(seconds + 300),
            "iat": .int(seconds),
        ]
    }

    func signed(by key: TestTokenKey) throws -> String {
        let header = Base64URL.encode(JSONValue.object(self.header).serialized())
        let payload = Base64URL.encode(
            self.rawPayload ?? JSONValue.object(self.claims).serialized())
        let input = header + "." + payload
        let signature = try key.sign(Array(input.utf8), self.header["alg"]?.stringValue ?? "")
        return input + "." + Base64URL.encode(signature)
    }
}
