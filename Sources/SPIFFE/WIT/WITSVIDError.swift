/// Why a token is no WIT-SVID, or not one for this validator.
///
/// `code` is stable and meant for comparison; `message` is for people and never carries the token.
public struct WITSVIDError: Error, Hashable, Sendable, CustomStringConvertible {
    /// The rule that was broken.
    public struct Code: Hashable, Sendable, CustomStringConvertible {
        private enum Value: String, Hashable, Sendable {
            case malformed, algorithm, type, criticalHeader, keyID, subject, audience, confirmation
            case claim, noBundle, unknownKey, signature, expired, notYetValid, lifespan, proofKey
            case revoked, revocationUnknown, outsideLimits, limitsUnknown
        }
        private let value: Value
        private init(_ value: Value) { self.value = value }

        /// The token is not in JWS compact form with JSON objects in it, or is too long.
        public static let malformed = Code(.malformed)
        /// `alg` is none of the nine algorithms.
        public static let algorithm = Code(.algorithm)
        /// `typ` is not `wit+jwt`.
        public static let type = Code(.type)
        /// The header lists parameters that must be understood.
        public static let criticalHeader = Code(.criticalHeader)
        /// `kid` is missing, empty or no string.
        public static let keyID = Code(.keyID)
        /// `sub` is missing or no SPIFFE ID.
        public static let subject = Code(.subject)
        /// There is an `aud`, whatever its value.
        public static let audience = Code(.audience)
        /// `cnf.jwk` is missing, private, or no key with a fitting algorithm.
        public static let confirmation = Code(.confirmation)
        /// Another claim is missing or has the wrong form.
        public static let claim = Code(.claim)
        /// There is no WIT bundle for the subject's trust domain.
        public static let noBundle = Code(.noBundle)
        /// The subject's trust domain has no WIT authority of that key ID.
        public static let unknownKey = Code(.unknownKey)
        /// The signature is wrong, or the key does not fit the algorithm.
        public static let signature = Code(.signature)
        /// `exp` is over.
        public static let expired = Code(.expired)
        /// `nbf` has not come.
        public static let notYetValid = Code(.notYetValid)
        /// The token lives longer than the validator allows.
        public static let lifespan = Code(.lifespan)
        /// The private key that came with the token is not the one it is bound to.
        public static let proofKey = Code(.proofKey)
        /// The token was taken back by its issuer.
        public static let revoked = Code(.revoked)
        /// The list that would say whether it was taken back is too old or missing, see ``RevocationPolicy``.
        public static let revocationUnknown = Code(.revocationUnknown)
        /// The trust domain is not trusted with this kind of SVID or with this path, see ``TrustDomainLimits``.
        public static let outsideLimits = Code(.outsideLimits)
        /// What the trust domain is trusted with has not been told yet, see ``TrustDomainLimits/unknown(of:)``.
        public static let limitsUnknown = Code(.limitsUnknown)

        public var description: String { self.value.rawValue }
    }

    /// The rule that was broken; compare this.
    public let code: Code
    /// What was refused and what would have been accepted, for people.
    public let message: String

    init(_ code: Code, _ reason: String) {
        self.code = code
        self.message = "WIT-SVID rejected: \(reason)"
    }

    public var description: String { self.message }
}
