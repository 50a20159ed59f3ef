/// Why a request could not be given a proof, or why its proof was refused.
///
/// `code` is stable and meant for comparison; `message` is for people and never carries tokens.
public struct WorkloadProofError: Error, Hashable, Sendable, CustomStringConvertible {
    /// The rule that was broken.
    public struct Code: Hashable, Sendable, CustomStringConvertible {
        private enum Value: String, Hashable, Sendable {
            case request, channel, configuration, token, svid, bearer, noProof, malformed, algorithm
            case type, criticalHeader, signature, audience, expired, notYetValid, lifetime, binding
            case identifier, coverage, parameter, digest, signedResponse, replayed, full, signing
        }
        private let value: Value
        private init(_ value: Value) { self.value = value }

        /// The description of the request is no HTTP request.
        public static let request = Code(.request)
        /// The request travels in plain text.
        public static let channel = Code(.channel)
        /// The signer or verifier itself is set up in a way that could not be safe.
        public static let configuration = Code(.configuration)
        /// The request has no `Workload-Identity-Token`, or several.
        public static let token = Code(.token)
        /// The WIT-SVID is invalid or has expired.
        public static let svid = Code(.svid)
        /// The WIT-SVID stands in another field, as if it were a bearer token.
        public static let bearer = Code(.bearer)
        /// There is no proof of a kind that is accepted.
        public static let noProof = Code(.noProof)
        /// The proof has not the form of one, or is there twice.
        public static let malformed = Code(.malformed)
        /// `alg` of the proof is not that of the key which the WIT-SVID is bound to.
        public static let algorithm = Code(.algorithm)
        /// `typ` of the proof is not `wpt+jwt`.
        public static let type = Code(.type)
        /// The proof's header lists parameters that must be understood.
        public static let criticalHeader = Code(.criticalHeader)
        /// The proof was not made with the key that the WIT-SVID is bound to, or was altered.
        public static let signature = Code(.signature)
        /// The proof is for another recipient.
        public static let audience = Code(.audience)
        /// The proof's time is over.
        public static let expired = Code(.expired)
        /// The proof's time has not come.
        public static let notYetValid = Code(.notYetValid)
        /// The proof lives longer than is allowed, or has no end.
        public static let lifetime = Code(.lifetime)
        /// The proof is for another WIT-SVID, or does not name the other tokens of the request.
        public static let binding = Code(.binding)
        /// The proof has no identifier (`jti`, `nonce`) of reasonable length.
        public static let identifier = Code(.identifier)
        /// The signature does not cover what it must, or covers what is not understood.
        public static let coverage = Code(.coverage)
        /// A parameter of the signature is missing, must not be there, or has the wrong form.
        public static let parameter = Code(.parameter)
        /// `Content-Digest` is missing or is not that of the body.
        public static let digest = Code(.digest)
        /// The client asks for a signed response, which is not offered.
        public static let signedResponse = Code(.signedResponse)
        /// The proof has been used before.
        public static let replayed = Code(.replayed)
        /// So many proofs have been seen that a repeated one could not be told; try again later.
        public static let full = Code(.full)
        /// The key could not sign.
        public static let signing = Code(.signing)

        public var description: String { self.value.rawValue }
    }

    /// The rule that was broken; compare this.
    public let code: Code
    /// What was refused and what would have been accepted, for people.
    public let message: String

    init(_ code: Code, _ reason: String) {
        self.code = code
        self.message = "workload proof rejected: \(reason)"
    }

    /// What an HTTP server answers. Never 401: it would ask for credentials in `Authorization`, where a
    /// WIT-SVID has no place.
    public var httpStatus: Int {
        switch self.code {
        case .signedResponse: 501
        case .full: 503
        default: 400
        }
    }

    public var description: String { self.message }
}
