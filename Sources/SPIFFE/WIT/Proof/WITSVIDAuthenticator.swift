public import Foundation
import NIOConcurrencyHelpers

/// Decides who sent a request, by the WIT-SVID in it and the proof beside it.
///
/// Incubating. The rule behind the handlers and middleware of the other modules, for any framework: give it
/// the request, get the identity or the reason why the request must be refused.
///
/// ```swift
/// let authenticator = WITSVIDAuthenticator(
///     try WorkloadProofVerifier(audience: ProofAudience(origins: ["https://orders.example"])),
///     bundles: source, authorizer: .member(of: trustDomain))
/// let caller = try authenticator.authenticate(request)
/// print(caller.id)
/// ```
///
/// Holds the proofs that were used, so all requests to one audience must go to one authenticator. Servers
/// that share an audience must share what they remember as well; ask ``WorkloadProofVerifier`` directly
/// there. A restart forgets: give instances audiences of their own, or keep the lifetime short.
/// - SeeAlso: WIT-SVID §4, §7.
public final class WITSVIDAuthenticator: Sendable {
    private let verifier: WorkloadProofVerifier
    private let bundles: any WITBundleSource
    private let authorizer: Authorizer
    private let replays: NIOLockedValueBox<ProofReplayCache>

    /// - Parameters:
    ///   - verifier: Which proofs are accepted, and for whom they must be.
    ///   - bundles: Whose WIT-SVIDs are believed; asked at each request.
    ///   - authorizer: Who may pass; has no default on purpose.
    ///   - replays: How many proofs are remembered. A proof is remembered for its lifetime and twice the
    ///     leeway at most, so the capacity bounds how many requests are accepted in that time.
    public init(
        _ verifier: WorkloadProofVerifier, bundles: any WITBundleSource, authorizer: Authorizer,
        replays: ProofReplayCache = ProofReplayCache()
    ) {
        self.verifier = verifier
        self.bundles = bundles
        self.authorizer = authorizer
        self.replays = NIOLockedValueBox(replays)
    }

    /// How many proofs are remembered now.
    public var rememberedProofs: Int { self.replays.withLockedValue { $0.count } }

    /// Whether the body of a request has to be read before ``authenticate(_:now:)`` can judge it: it has an
    /// HTTP message signature, which covers the body, and such signatures are accepted. Nothing is read for who has
    /// no genuine WIT-SVID.
    public func needsBody(of fields: [ProofRequest.Field]) -> Bool {
        guard self.verifier.schemes.contains(.httpSignature),
            fields.contains(where: { $0.isNamed("signature-input") })
        else { return false }
        let tokens = fields.filter { $0.isNamed("workload-identity-token") }
        guard tokens.count == 1 else { return false }
        let svid = try? UnprovenWITSVID(
            validating: tokens[0].value, bundles: self.bundles, leeway: self.verifier.leeway,
            maximumLifespan: self.verifier.maximumSVIDLifespan,
            revocation: self.verifier.revocation)
        return svid != nil
    }

    /// Says whose request this is. A good proof is used up by it, unless its sender may not pass.
    ///
    /// - Parameters:
    ///   - request: As it came, with the digest of its body when ``needsBody(of:)`` says so.
    ///   - now: The time to check at, UTC.
    /// - Throws: ``WITAuthenticationError`` `missing`, `invalid`, `denied` or `busy`.
    public func authenticate(
        _ request: ProofRequest, now: Date = Date()
    ) throws(WITAuthenticationError) -> ProvenWITSVID {
        let svid: ProvenWITSVID
        do throws(WorkloadProofError) {
            svid = try self.verifier.verify(request, bundles: self.bundles, now: now) { use in
                // Who is refused below must not use up what is remembered of others.
                guard (try? self.authorizer.authorize(use.sender)) != nil else { return .fresh }
                return self.replays.withLockedValue { $0.record(use, now: now) }
            }
        } catch {
            throw WITAuthenticationError(error)
        }
        do throws(AuthorizationError) {
            try self.authorizer.authorize(svid.id)
        } catch {
            throw WITAuthenticationError(.denied, 403, error.message, error)
        }
        return svid
    }
}

/// Why a request is not let in by its WIT-SVID.
///
/// `message` and `cause` are for the log of this side. The caller gets the status and nothing else.
public struct WITAuthenticationError: Error, Sendable, CustomStringConvertible {
    /// What was wrong.
    public struct Code: Hashable, Sendable, CustomStringConvertible {
        private enum Value: String, Hashable, Sendable {
            case missing, invalid, denied, busy, bodyTooLarge
        }
        private let value: Value
        private init(_ value: Value) { self.value = value }

        /// There is no WIT-SVID, or no proof beside it: 400.
        public static let missing = Code(.missing)
        /// WIT-SVID or proof is not valid here: 400, or 501 when a signed response is asked for.
        public static let invalid = Code(.invalid)
        /// The caller is known and may not pass: 403.
        public static let denied = Code(.denied)
        /// As many proofs are remembered as may be: 503. The client may try again later, with a new proof.
        public static let busy = Code(.busy)
        /// The signature covers a body that is larger than is read before its sender is known: 413.
        public static let bodyTooLarge = Code(.bodyTooLarge)

        public var description: String { self.value.rawValue }
    }

    /// What was wrong; compare this.
    public let code: Code
    /// The status of the HTTP response that refuses the request.
    ///
    /// Never 401, and there is no `www-authenticate` to go with it: that would ask for credentials in
    /// `authorization`, where a WIT-SVID has no place.
    public let httpStatus: Int
    /// What was refused and why, for people on this side. Never carries tokens.
    public let message: String
    /// The ``WorkloadProofError`` or ``AuthorizationError`` behind it, if any.
    public let cause: (any Error)?

    init(_ code: Code, _ httpStatus: Int, _ message: String, _ cause: (any Error)? = nil) {
        self.code = code
        self.httpStatus = httpStatus
        self.message = message
        self.cause = cause
    }

    /// A request whose WIT-SVID or proof was refused, or that cannot be described as one.
    package init(_ error: WorkloadProofError) {
        let code: Code =
            switch error.code {
            // Several tokens are not missing, but there is none that could be checked.
            case .token, .noProof: .missing
            case .full: .busy
            default: .invalid
            }
        self.init(code, error.httpStatus, error.message, error)
    }

    /// A request whose body is larger than is read before its sender is known.
    package static func bodyTooLarge(_ limit: Int) -> WITAuthenticationError {
        WITAuthenticationError(
            .bodyTooLarge, 413,
            "the request's signature covers a body of more than \(limit) bytes, which is all that is "
                + "read before its sender is known")
    }

    public var description: String { self.message }
}
