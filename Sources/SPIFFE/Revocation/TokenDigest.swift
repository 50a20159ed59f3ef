import Crypto

/// How a token that was taken back is named: by what its issuer has signed, so that no other spelling of the signature
/// makes another token of it.
package enum TokenDigest {
    /// The SHA-256 of header, dot and payload of a token in JWS compact form.
    package static func sha256(ofSigningInput token: String) -> [UInt8] {
        let bytes = Array(token.utf8)
        let end = bytes.lastIndex(of: UInt8(ascii: ".")) ?? bytes.endIndex
        return Array(SHA256.hash(data: bytes[..<end]))
    }
}
