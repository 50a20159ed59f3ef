import Crypto

/// Names one version of a document for HTTP (RFC 9110 §8.8.3).
package enum EntityTag {
    /// A strong tag, in its quotes: half of the SHA-256 of the bytes.
    package static func of(_ bytes: [UInt8]) -> String {
        let digest = SHA256.hash(data: bytes).prefix(16)
        let digits = digest.map { byte in (byte < 16 ? "0" : "") + String(byte, radix: 16) }
        return "\"" + digits.joined() + "\""
    }
}
