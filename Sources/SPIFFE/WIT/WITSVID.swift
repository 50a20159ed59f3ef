public import Foundation

/// A workload's own WIT-SVID, with the key that proves it.
///
/// Incubating. The token alone is worth nothing: it is presented with a proof, by ``WorkloadProofSigner``,
/// and never as a bearer token. One that a peer presents becomes an ``UnprovenWITSVID`` first and a
/// ``ProvenWITSVID`` only by its proof.
/// - SeeAlso: WIT-SVID §4, §5.
public struct WITSVID: Sendable {
    /// The most bytes that a token may have.
    public static let maximumLength = 64 * 1024

    /// Who the token speaks for (`sub`).
    public let id: SPIFFEID
    /// When it ends (`exp`), UTC.
    public let expiresAt: Date
    /// When it was issued (`iat`), as the issuer says.
    public let issuedAt: Date?
    /// The `kid` of the authority that signed it.
    public let keyID: String
    /// All claims, known and unknown.
    public let claims: [String: JSONValue]
    /// The key that it is bound to.
    public let proofKey: ProofKey
    /// What the operator says this identity is for; empty when nothing.
    public let hint: String
    /// The token. For the Workload API and for presentation with a proof; nowhere else.
    package let token: String

    /// Takes a token and its key as the Workload API or `wit mint` gives them. The issuer's signature is
    /// not checked.
    ///
    /// - Throws: ``WITSVIDError``; `proofKey` when the token is bound to another key.
    public init(token: String, proofKey: ProofKey, hint: String = "") throws(WITSVIDError) {
        let claims = try WITClaims(token)
        guard claims.confirmationKey == proofKey.confirmationKey else {
            throw WITSVIDError(.proofKey, "it is bound to another key than the one given")
        }
        self.id = claims.id
        self.expiresAt = claims.expiresAt
        self.issuedAt = claims.issuedAt
        self.keyID = claims.keyID
        self.claims = claims.all
        self.proofKey = proofKey
        self.hint = hint
        self.token = token
    }

    /// Takes a token and its key as a private JWK; without `alg` the token says the algorithm.
    ///
    /// - Throws: ``WITSVIDError``; `proofKey` also when the JWK cannot be read.
    public init(token: String, privateJWK: String, hint: String = "") throws(WITSVIDError) {
        let algorithm = try WITClaims(token).confirmationKey.algorithm
        let proofKey: ProofKey
        do throws(JOSEError) {
            proofKey = try ProofKey(jwk: privateJWK, algorithm: algorithm)
        } catch {
            throw WITSVIDError(.proofKey, "its private key cannot be read: \(error.message)")
        }
        try self.init(token: token, proofKey: proofKey, hint: hint)
    }
}

extension WITSVID: CustomStringConvertible, CustomDebugStringConvertible, CustomReflectable {
    /// The identity only, so that token and key cannot get into a log by way of a description.
    public var description: String { "WITSVID(\(self.id))" }
    public var debugDescription: String { self.description }
    public var customMirror: Mirror { Mirror(self, children: ["id": self.id]) }
}

/// A WIT-SVID that a peer presented: genuine and in time, but nobody has proved to own it yet.
///
/// It says who the peer *claims* to be. There is no way from here to an authorised peer but
/// ``WorkloadProofVerifier``, which makes a ``ProvenWITSVID``.
/// - SeeAlso: WIT-SVID §4, §7.1.
public struct UnprovenWITSVID: Sendable {
    /// How far clocks may differ at most; a longer leeway counts as this.
    public static let maximumLeeway: Duration = .seconds(120)

    let content: WITClaims

    /// Who the token speaks for (`sub`). Not proven: never authorise by it.
    public var claimedID: SPIFFEID { self.content.id }
    /// The key that a proof must be made with.
    public var confirmationKey: ConfirmationKey { self.content.confirmationKey }
    /// When it ends (`exp`), UTC.
    public var expiresAt: Date { self.content.expiresAt }

    /// Checks a token that a peer presented, without its proof.
    ///
    /// The key is taken from the WIT bundle of the subject's trust domain and from nowhere else; `iss` is
    /// not looked at, nor is `jti`: the same token may come many times, each time with a new proof.
    ///
    /// - Parameters:
    ///   - token: In JWS compact form.
    ///   - bundles: Where the WIT authorities of trust domains come from.
    ///   - now: The time to check at.
    ///   - leeway: How far clocks may differ, for `exp` and `nbf`; at most ``maximumLeeway``.
    ///   - maximumLifespan: Refuses tokens that live longer; nil for any.
    ///   - revocation: What is done about tokens that were taken back.
    ///   - limits: What partners are trusted with; nil takes the source of the bundles, if it knows.
    /// - Throws: ``WITSVIDError`` with the first rule broken.
    /// - SeeAlso: WIT-SVID §2, §3, §6.2.
    public init(
        validating token: String, bundles: any WITBundleSource, now: Date = Date(),
        leeway: Duration = .seconds(60), maximumLifespan: Duration? = nil,
        revocation: RevocationPolicy = .standard, limits: (any PartnerLimitSource)? = nil
    ) throws(WITSVIDError) {
        let content = try WITClaims(token)
        try content.checkSignature(bundles)
        try content.checkTime(
            now, leeway: min(max(leeway, .zero), UnprovenWITSVID.maximumLeeway).timeInterval,
            maximumLifespan: maximumLifespan?.timeInterval)
        switch PartnerLimitChecker(limits, bundles: bundles)?.check(content.id, for: .jwt) {
        case .accepted, nil: break
        case .outside(let reason): throw WITSVIDError(.outsideLimits, reason)
        case .unknown(let reason): throw WITSVIDError(.limitsUnknown, reason)
        }
        if let checker = RevocationChecker(revocation, bundles: bundles) {
            try content.checkRevocation(checker, now)
        }
        self.content = content
    }
}

extension UnprovenWITSVID: CustomStringConvertible, CustomDebugStringConvertible, CustomReflectable
{
    /// The claimed identity only.
    public var description: String { "UnprovenWITSVID(\(self.claimedID))" }
    public var debugDescription: String { self.description }
    public var customMirror: Mirror { Mirror(self, children: ["claimedID": self.claimedID]) }
}

/// A peer that has proved to own its WIT-SVID. Made by ``WorkloadProofVerifier`` and by nothing else.
public struct ProvenWITSVID: Sendable, Hashable {
    /// Who the peer is.
    public let id: SPIFFEID
    /// When its token ends (`exp`), UTC.
    public let expiresAt: Date
    /// The key that it proved to own.
    public let confirmationKey: ConfirmationKey
    /// All claims of the token, known and unknown.
    public let claims: [String: JSONValue]

    init(_ proven: UnprovenWITSVID) {
        self.id = proven.content.id
        self.expiresAt = proven.content.expiresAt
        self.confirmationKey = proven.content.confirmationKey
        self.claims = proven.content.all
    }
}
