package import X509

/// The nine signature algorithms that a JWT-SVID may use; the set is closed by JWT-SVID §2.1.
public enum JWSAlgorithm: String, CaseIterable, Sendable {
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    case rs256 = "RS256"
    /// RSASSA-PKCS1-v1_5 with SHA-384.
    case rs384 = "RS384"
    /// RSASSA-PKCS1-v1_5 with SHA-512.
    case rs512 = "RS512"
    /// ECDSA on P-256 with SHA-256.
    case es256 = "ES256"
    /// ECDSA on P-384 with SHA-384.
    case es384 = "ES384"
    /// ECDSA on P-521 with SHA-512.
    case es512 = "ES512"
    /// RSASSA-PSS with SHA-256, MGF1 and a salt of the digest's length.
    case ps256 = "PS256"
    /// RSASSA-PSS with SHA-384, MGF1 and a salt of the digest's length.
    case ps384 = "PS384"
    /// RSASSA-PSS with SHA-512, MGF1 and a salt of the digest's length.
    case ps512 = "PS512"

    /// The algorithm that ``JWSSigner`` uses for a key of this kind, and how X.509 names it.
    package static func forSigning(
        with publicKey: Certificate.PublicKey
    ) throws(JOSEError) -> (jws: JWSAlgorithm, x509: Certificate.SignatureAlgorithm) {
        switch try JWTVerificationKey(publicKey).kind {
        case .p256: (.es256, .ecdsaWithSHA256)
        case .p384: (.es384, .ecdsaWithSHA384)
        case .p521: (.es512, .ecdsaWithSHA512)
        case .rsa: (.rs256, .sha256WithRSAEncryption)
        }
    }

    /// The width of one ECDSA coordinate in bytes; nil for RSA.
    var coordinateWidth: Int? {
        switch self {
        case .es256: 32
        case .es384: 48
        case .es512: 66
        default: nil
        }
    }
}
