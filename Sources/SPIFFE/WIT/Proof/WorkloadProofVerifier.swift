public import Foundation

/// Decides whether a request's WIT-SVID is genuine and its sender's own.
///
/// Incubating; the drafts of WIMSE that it follows may change. Pure: an HTTP server describes each request
/// and acts on the outcome before anything else reads the request.
/// - SeeAlso: WIT-SVID §4, §7; draft-ietf-wimse-wpt-01; draft-ietf-wimse-http-signature.
public struct WorkloadProofVerifier: Sendable {
    /// Whom proofs must be for; from configuration.
    public let audience: ProofAudience
    /// The kinds of proof that are accepted. One of them must be there, and each that is there must be good.
    public let schemes: Set<WorkloadProofScheme>
    /// The longest that a proof may live.
    public let maximumLifetime: Duration
    /// How far clocks may differ.
    public let leeway: Duration
    /// Refuses WIT-SVIDs that live longer; nil for any.
    public let maximumSVIDLifespan: Duration?
    /// Fields with further tokens that the application acts on, in lower case. A proof must name each
    /// that is there; tokens in other fields must not be used for decisions.
    public let otherTokenFields: Set<String>
    /// What is done about WIT-SVIDs that were taken back.
    public let revocation: RevocationPolicy

    /// - Parameters:
    ///   - audience: Whom proofs must be for.
    ///   - schemes: The kinds of proof that are accepted.
    ///   - maximumLifetime: At most ``WorkloadProofSigner/maximumLifetime``.
    ///   - leeway: At most ``UnprovenWITSVID/maximumLeeway``.
    ///   - maximumSVIDLifespan: Refuses WIT-SVIDs that live longer; nil for any.
    ///   - otherTokenFields: Names in any case.
    ///   - revocation: What is done about WIT-SVIDs that were taken back.
    /// - Throws: ``WorkloadProofError`` `configuration` when no kind of proof is accepted.
    public init(
        audience: ProofAudience,
        schemes: Set<WorkloadProofScheme> = Set(WorkloadProofScheme.allCases),
        maximumLifetime: Duration = .seconds(120), leeway: Duration = .seconds(30),
        maximumSVIDLifespan: Duration? = nil, otherTokenFields: Set<String> = [],
        revocation: RevocationPolicy = .standard
    ) throws(WorkloadProofError) {
        guard !schemes.isEmpty else {
            throw WorkloadProofError(.configuration, "the verifier accepts no kind of proof")
        }
        self.audience = audience
        self.schemes = schemes
        self.maximumLifetime = min(
            max(maximumLifetime, .seconds(1)), WorkloadProofSigner.maximumLifetime)
        self.leeway = min(max(leeway, .zero), UnprovenWITSVID.maximumLeeway)
        self.maximumSVIDLifespan = maximumSVIDLifespan
        self.revocation = revocation
        self.otherTokenFields = Set(ProofRequest.furtherTokenFields(otherTokenFields))
    }

    /// Checks WIT-SVID and proof of a request.
    ///
    /// - Parameters:
    ///   - request: The request as it came.
    ///   - bundles: Where the WIT authorities of trust domains come from.
    ///   - now: The time to check at.
    ///   - recordUse: Called once for each proof after all else was found good, to refuse a second use:
    ///     with ``ProofReplayCache/record(_:now:)`` under a lock, or something that several servers share.
    ///     Returning `fresh` always accepts repeated proofs.
    /// - Returns: who sent the request. Whether they may is for an ``Authorizer`` to say.
    /// - Throws: ``WorkloadProofError`` with the first rule broken.
    public func verify(
        _ request: ProofRequest, bundles: any WITBundleSource, now: Date = Date(),
        recordUse: (ProofUse) -> ProofReplayCache.Outcome
    ) throws(WorkloadProofError) -> ProvenWITSVID {
        guard request.channel != .plaintext else {
            throw WorkloadProofError(
                .channel, "the request came in plain text; a WIT-SVID never does")
        }
        let tokens = request.values(of: "workload-identity-token")
        guard tokens.count == 1, let token = tokens.first else {
            throw WorkloadProofError(
                .token,
                "there are \(tokens.count) fields Workload-Identity-Token; expected exactly one")
        }
        let svid: UnprovenWITSVID
        do throws(WITSVIDError) {
            svid = try UnprovenWITSVID(
                validating: token, bundles: bundles, now: now, leeway: self.leeway,
                maximumLifespan: self.maximumSVIDLifespan, revocation: self.revocation)
        } catch {
            throw WorkloadProofError(.svid, error.message)
        }
        var uses: [ProofUse] = []
        if self.schemes.contains(.proofToken), request.has(WorkloadProofToken.field) {
            let proofs = request.values(of: WorkloadProofToken.field)
            guard proofs.count == 1, let proof = proofs.first else {
                throw WorkloadProofError(
                    .malformed, "there are several fields Workload-Proof-Token")
            }
            uses.append(
                try WorkloadProofToken.verify(
                    proof, of: svid, token: token, in: request, by: self, now: now))
        }
        if self.schemes.contains(.httpSignature),
            let found = try HTTPMessageSignature.find(in: request)
        {
            uses.append(
                try HTTPMessageSignature.verify(found, of: svid, in: request, by: self, now: now))
        }
        guard !uses.isEmpty else {
            let kinds = self.schemes.map(\.rawValue).sorted().joined(separator: " or ")
            throw WorkloadProofError(.noProof, "there is no proof; expected \(kinds)")
        }
        for use in uses {
            switch recordUse(use) {
            case .fresh: continue
            case .replayed: throw WorkloadProofError(.replayed, "it has been used before")
            case .full:
                throw WorkloadProofError(
                    .full, "too many proofs are remembered to tell whether this one is new")
            }
        }
        return ProvenWITSVID(svid)
    }

    /// The leeway in seconds.
    var slack: TimeInterval { self.leeway.timeInterval }
}
