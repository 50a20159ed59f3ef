import Crypto

/// Hashes and identifiers as proofs carry them.
enum ProofHash {
    /// Base64url of the SHA-256 of a token's text.
    static func of(_ token: String) -> String {
        Base64URL.encode(Array(SHA256.hash(data: Array(token.utf8))))
    }

    /// 128 random bits.
    static func identifier() -> String {
        var generator = SystemRandomNumberGenerator()
        return Base64URL.encode((0..<16).map { _ in UInt8.random(in: 0...255, using: &generator) })
    }

    /// The most bytes that an identifier of a peer may have.
    static let maximumIdentifierLength = 256
}
