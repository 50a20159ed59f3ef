/// Decides who sent a request, by the JWT-SVID in its `authorization` header.
///
/// The rule behind the interceptors and middleware of the other modules, for any framework: give it the
/// header's values, get the identity or the reason why the request must be refused.
///
/// ```swift
/// let authenticator = JWTSVIDAuthenticator(
///     audience: "reports", bundles: source, authorizer: .member(of: trustDomain))
/// let caller = try authenticator.authenticate(authorization: ["Bearer \(token)"])
/// print(caller.id)
/// ```
///
/// - SeeAlso: JWT-SVID §5.1 (transport), RFC 6750 §2.1.
public struct JWTSVIDAuthenticator: Sendable {
    private let audience: String
    private let bundles: any JWTBundleSource
    private let authorizer: Authorizer
    private let leeway: Duration
    private let revocation: RevocationPolicy

    /// - Parameters:
    ///   - audience: The name that this service goes by in tokens; compared byte by byte.
    ///   - bundles: Whose tokens are believed; asked at each request.
    ///   - authorizer: Who may pass; has no default on purpose.
    ///   - leeway: How far clocks may differ.
    ///   - revocation: What is done about tokens that were taken back.
    public init(
        audience: String, bundles: any JWTBundleSource, authorizer: Authorizer,
        leeway: Duration = .seconds(60), revocation: RevocationPolicy = .standard
    ) {
        self.audience = audience
        self.bundles = bundles
        self.authorizer = authorizer
        self.leeway = leeway
        self.revocation = revocation
    }

    /// Says whose request this is.
    ///
    /// - Parameter values: Every value of the request's `authorization` header, in any order.
    /// - Throws: ``JWTAuthenticationError`` `missing`, `malformed`, `invalid` or `denied`.
    public func authenticate(
        authorization values: [String]
    ) throws(JWTAuthenticationError) -> JWTSVID {
        let token = try Self.bearerToken(values)
        let svid: JWTSVID
        do throws(JWTSVIDError) {
            svid = try JWTSVID.validate(
                token, audience: self.audience, bundles: self.bundles, leeway: self.leeway,
                revocation: self.revocation)
        } catch {
            throw JWTAuthenticationError(.invalid, error.message, error)
        }
        do throws(AuthorizationError) {
            try self.authorizer.authorize(svid.id)
        } catch {
            throw JWTAuthenticationError(.denied, error.message, error)
        }
        return svid
    }

    /// The token of `Bearer <token>`; the scheme in any case, as RFC 9110 §11.1 has it.
    private static func bearerToken(_ values: [String]) throws(JWTAuthenticationError) -> String {
        guard let value = values.first else {
            throw JWTAuthenticationError(
                .missing,
                "the request has no authorization header; expected \"Bearer\" and a JWT-SVID")
        }
        // Two of them could be read in two ways by two programs.
        guard values.count == 1 else {
            throw JWTAuthenticationError(
                .malformed, "the request has \(values.count) authorization headers; expected one")
        }
        let parts = value.split(separator: " ", omittingEmptySubsequences: true)
        guard let scheme = parts.first, scheme.lowercased() == "bearer" else {
            throw JWTAuthenticationError(
                .missing, "the request is authorized in another way than by a bearer token")
        }
        guard parts.count == 2 else {
            throw JWTAuthenticationError(
                .malformed, "the authorization header is not \"Bearer\" and one token")
        }
        return String(parts[1])
    }
}

/// Why a request is not let in by its JWT-SVID.
///
/// `message` and `cause` are for the log of this side. The caller gets the status and nothing else.
public struct JWTAuthenticationError: Error, Sendable, CustomStringConvertible {
    /// What was wrong.
    public struct Code: Hashable, Sendable, CustomStringConvertible {
        private enum Value: String, Hashable, Sendable { case missing, malformed, invalid, denied }
        private let value: Value
        private init(_ value: Value) { self.value = value }

        /// There is no bearer token: 401 in HTTP, `UNAUTHENTICATED` in gRPC.
        public static let missing = Code(.missing)
        /// The header cannot be read: 400 in HTTP, `UNAUTHENTICATED` in gRPC.
        public static let malformed = Code(.malformed)
        /// The token is not valid here: 401 in HTTP, `UNAUTHENTICATED` in gRPC.
        public static let invalid = Code(.invalid)
        /// The caller is known and may not pass: 403 in HTTP, `PERMISSION_DENIED` in gRPC.
        public static let denied = Code(.denied)

        public var description: String { self.value.rawValue }
    }

    /// What was wrong; compare this.
    public let code: Code
    /// What was refused and why, for people on this side. Never carries the token.
    public let message: String
    /// The ``JWTSVIDError`` or ``AuthorizationError`` behind it, if any.
    public let cause: (any Error)?

    init(_ code: Code, _ message: String, _ cause: (any Error)? = nil) {
        self.code = code
        self.message = message
        self.cause = cause
    }

    public var description: String { self.message }

    /// The status of the HTTP response that refuses the request.
    public var httpStatus: Int {
        switch self.code {
        case .malformed: 400
        case .denied: 403
        default: 401
        }
    }

    /// The `www-authenticate` header of that response (RFC 6750 §3).
    public var wwwAuthenticate: String {
        switch self.code {
        case .malformed: "Bearer error=\"invalid_request\""
        case .invalid: "Bearer error=\"invalid_token\""
        case .denied: "Bearer error=\"insufficient_scope\""
        default: "Bearer"
        }
    }
}
