import GRPCCore

extension FakeWorkloadAPI {
    /// A method of the Workload API.
    public struct Method: Hashable, Sendable, CustomStringConvertible {
        /// The name on the wire.
        public let description: String

        private init(_ name: String) { self.description = name }

        /// The stream of X509-SVIDs, which a source holds.
        public static let fetchX509SVID = Method("FetchX509SVID")
        /// The stream of X.509 bundles.
        public static let fetchX509Bundles = Method("FetchX509Bundles")
        /// The request for a token.
        public static let fetchJWTSVID = Method("FetchJWTSVID")
        /// The stream of JWT bundles.
        public static let fetchJWTBundles = Method("FetchJWTBundles")
        /// The check of a token.
        public static let validateJWTSVID = Method("ValidateJWTSVID")
        /// The stream of WIT-SVIDs; answered with UNIMPLEMENTED.
        public static let fetchWITSVID = Method("FetchWITSVID")
        /// The stream of WIT bundles; answered with UNIMPLEMENTED.
        public static let fetchWITBundles = Method("FetchWITBundles")
        /// The stream of SVIDs that were taken back, an extension of Cygnet's agents. To be an agent without it, let it
        /// fail with `notSupported`.
        public static let fetchRevocations = Method("FetchRevocations")
        /// The stream of what partners are trusted with, an extension of Cygnet's agents; answered with UNIMPLEMENTED
        /// until limits are served.
        public static let fetchPartnerLimits = Method("FetchPartnerLimits")
    }

    /// How a call can fail.
    public struct Failure: Hashable, Sendable, CustomStringConvertible {
        private enum Value: String, Hashable, Sendable {
            case noIdentity, unavailable, invalidRequest, notSupported, internalError
        }
        private let value: Value
        private init(_ value: Value) { self.value = value }

        /// `PERMISSION_DENIED`: no entry matches the caller; what it had is withdrawn.
        public static let noIdentity = Failure(.noIdentity)
        /// `UNAVAILABLE`: an agent that starts, stops or is overloaded.
        public static let unavailable = Failure(.unavailable)
        /// `INVALID_ARGUMENT`: clients do not try again.
        public static let invalidRequest = Failure(.invalidRequest)
        /// `UNIMPLEMENTED`: clients do not try again.
        public static let notSupported = Failure(.notSupported)
        /// `INTERNAL`: a bug in the agent.
        public static let internalError = Failure(.internalError)

        public var description: String { self.value.rawValue }

        var rpcError: RPCError {
            switch self.value {
            case .noIdentity: RPCError(code: .permissionDenied, message: "no identity issued")
            case .unavailable: RPCError(code: .unavailable, message: "not available")
            case .invalidRequest: RPCError(code: .invalidArgument, message: "invalid request")
            case .notSupported: RPCError(code: .unimplemented, message: "not supported")
            case .internalError: RPCError(code: .internalError, message: "internal error")
            }
        }
    }
}
