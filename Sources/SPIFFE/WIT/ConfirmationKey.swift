/// The public key that a WIT-SVID is bound to (`cnf.jwk`), with the one algorithm its proofs may use.
///
/// Valid by construction: the algorithm is one of the nine and fits the key.
/// - SeeAlso: WIT-SVID §3.2; RFC 7800 §3.2.
public struct ConfirmationKey: Sendable, Hashable {
    /// The key that checks proofs.
    public let publicKey: JWTVerificationKey
    /// The algorithm of every proof (`cnf.jwk.alg`).
    public let algorithm: JWSAlgorithm

    /// - Throws: ``JOSEError`` `unsupportedAlgorithm` when the algorithm does not fit the key.
    public init(publicKey: JWTVerificationKey, algorithm: JWSAlgorithm) throws(JOSEError) {
        guard publicKey.algorithms.contains(algorithm) else {
            let fitting = publicKey.algorithms.map(\.rawValue).joined(separator: ", ")
            throw JOSEError(
                .unsupportedAlgorithm,
                "alg \(algorithm.rawValue) does not fit the key; it can do \(fitting)")
        }
        self.publicKey = publicKey
        self.algorithm = algorithm
    }

    /// Reads a JWK that must be public and must have `alg`.
    ///
    /// - Throws: ``JOSEError`` `malformedKey` when a member is missing or a private one is there,
    ///   `unsupportedAlgorithm`, or what is wrong with the key.
    init(jwk members: [String: JSONValue]) throws(JOSEError) {
        // Symmetric and private keys have no place in a token that everybody reads.
        for name in ["d", "p", "q", "dp", "dq", "qi", "oth", "k"] where members[name] != nil {
            throw JOSEError(.malformedKey, "JWK has the private member \(name)")
        }
        guard let name = members["alg"]?.stringValue else {
            throw JOSEError(.unsupportedAlgorithm, "JWK has no alg")
        }
        guard let algorithm = JWSAlgorithm(rawValue: name) else {
            throw JOSEError(
                .unsupportedAlgorithm,
                "JWK has alg \(SPIFFEIDError.quoted(name)), none of the nine allowed")
        }
        try self.init(
            publicKey: try JSONWebKey.verificationKey(from: members), algorithm: algorithm)
    }

    /// The members of the public JWK, `alg` among them.
    package var jwk: [String: JSONValue] {
        var members = JSONWebKey.members(of: self.publicKey)
        members["alg"] = .string(self.algorithm.rawValue)
        return members
    }
}
