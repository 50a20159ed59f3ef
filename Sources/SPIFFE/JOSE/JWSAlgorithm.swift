package import X509

/// The nine signature algorithms that a JWT-SVID may use; the set is closed by JWT-SVID §2.1.
public enum JWSAlgorithm: String, CaseIterable, Sendable {
    /// RSASSA-PKCS1-v1_5 with SHA-256, SHA-384 and SHA-512.
    case RS256, RS384, RS512
    /// ECDSA on P-256 with SHA-256, on P-384 with SHA-384 and on P-521 with SHA-512.
    case ES256, ES384, ES512
    /// RSASSA-PSS with SHA-256, SHA-384 and SHA-512, MGF1 and a salt of the digest's length.
    case PS256, PS384, PS512

    /// The algorithm that ``JWSSigner`` uses for a key of this kind, and how X.509 names it.
    package static func forSigning(
        with publicKey: Certificate.PublicKey
    ) throws(JOSEError) -> (jws: JWSAlgorithm, x509: Certificate.SignatureAlgorithm) {
        switch try JWTVerificationKey(publicKey).kind {
        case .p256: (.ES256, .ecdsaWithSHA256)
        case .p384: (.ES384, .ecdsaWithSHA384)
        case .p521: (.ES512, .ecdsaWithSHA512)
        case .rsa: (.RS256, .sha256WithRSAEncryption)
        }
    }

    /// The width of one ECDSA coordinate in bytes; nil for RSA.
    var coordinateWidth: Int? {
        switch self {
        case .ES256: 32
        case .ES384: 48
        case .ES512: 66
        default: nil
        }
    }
}
