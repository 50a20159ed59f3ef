/// Why a token is no JWT-SVID, or not one for this validator.
///
/// `code` is stable and meant for comparison; `message` is for people and never carries the token.
public struct JWTSVIDError: Error, Hashable, Sendable, CustomStringConvertible {
    /// The rule that was broken.
    public struct Code: Hashable, Sendable, CustomStringConvertible {
        private enum Value: String, Hashable, Sendable {
            case malformed, algorithm, type, criticalHeader, subject, noAudience, noExpectedAudience
            case claim, noBundle, unknownKey, signature, expired, notYetValid, audience
            case revoked, revocationUnknown, outsideLimits, limitsUnknown
        }
        private let value: Value
        private init(_ value: Value) { self.value = value }

        /// The token is not in JWS compact form with JSON objects in it, or is too long.
        public static let malformed = Code(.malformed)
        /// `alg` is none of the nine algorithms.
        public static let algorithm = Code(.algorithm)
        /// `typ` is neither `JWT` nor `JOSE`.
        public static let type = Code(.type)
        /// The header lists parameters that must be understood.
        public static let criticalHeader = Code(.criticalHeader)
        /// `sub` is missing or no SPIFFE ID.
        public static let subject = Code(.subject)
        /// `aud` is missing or empty.
        public static let noAudience = Code(.noAudience)
        /// The validator was not told its own audience.
        public static let noExpectedAudience = Code(.noExpectedAudience)
        /// Another claim is missing or has the wrong form.
        public static let claim = Code(.claim)
        /// There is no JWT bundle for the subject's trust domain.
        public static let noBundle = Code(.noBundle)
        /// The subject's trust domain has no key of that ID.
        public static let unknownKey = Code(.unknownKey)
        /// The signature is wrong, or the key does not fit the algorithm.
        public static let signature = Code(.signature)
        /// `exp` is over.
        public static let expired = Code(.expired)
        /// `nbf` has not come.
        public static let notYetValid = Code(.notYetValid)
        /// The token is for somebody else.
        public static let audience = Code(.audience)
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
        self.message = "JWT-SVID rejected: \(reason)"
    }

    public var description: String { self.message }
}
