public import Foundation

/// How a workload proves that a WIT-SVID is its own.
public enum WorkloadProofScheme: String, Sendable, Hashable, CaseIterable {
    /// A workload proof token in `Workload-Proof-Token`: bound to recipient and tokens, not to the request.
    case proofToken
    /// An HTTP message signature over method, target, tokens and body.
    case httpSignature
}

/// Presents a WIT-SVID: makes the fields that a request needs, always with a proof.
///
/// Incubating; the drafts of WIMSE that it follows may change. Pure: an HTTP client adds the fields to the
/// request that it sends. The WIT-SVID is never put into `Authorization`, and no request that travels in
/// plain text gets one.
/// - SeeAlso: WIT-SVID §5, §7; draft-ietf-wimse-wpt-01; draft-ietf-wimse-http-signature.
public struct WorkloadProofSigner: Sendable {
    /// The longest that a proof may live.
    public static let maximumLifetime: Duration = .seconds(300)

    /// The kind of proof.
    public let scheme: WorkloadProofScheme
    /// How long a proof lives; it ends with its WIT-SVID at the latest.
    public let lifetime: Duration
    /// Fields with further tokens that say on whose behalf a request is made, in lower case.
    public let otherTokenFields: [String]

    /// - Parameters:
    ///   - scheme: The kind of proof.
    ///   - lifetime: At least a second, at most ``maximumLifetime``; what lies outside counts as the bound.
    ///   - otherTokenFields: Names in any case; `authorization` and `txn-token` are always bound.
    public init(
        scheme: WorkloadProofScheme = .proofToken, lifetime: Duration = .seconds(30),
        otherTokenFields: [String] = []
    ) {
        self.scheme = scheme
        self.lifetime = min(max(lifetime, .seconds(1)), Self.maximumLifetime)
        self.otherTokenFields = ProofRequest.furtherTokenFields(otherTokenFields)
    }

    /// The fields that present a WIT-SVID with its proof, to be added to the request as they are.
    ///
    /// Each request needs its own: a proof is good for one use.
    ///
    /// - Parameters:
    ///   - request: With all fields that it will have, and the digest of its body.
    ///   - audience: Whom the proof is for, as agreed with the recipient, or
    ///     ``ProofAudience/forTarget(_:)``.
    ///   - svid: The identity to present.
    ///   - now: When the proof begins.
    /// - Throws: ``WorkloadProofError`` `channel` for plain text, `svid` when the WIT-SVID has expired,
    ///   `bearer` when the request carries the WIT-SVID elsewhere, `token` when it has proof fields
    ///   already, `audience` without one.
    public func fields(
        for request: ProofRequest, audience: String, svid: WITSVID, now: Date = Date()
    ) throws(WorkloadProofError) -> [ProofRequest.Field] {
        guard request.channel != .plaintext else {
            throw WorkloadProofError(
                .channel, "the request travels in plain text; a WIT-SVID never does")
        }
        guard !audience.isEmpty else {
            throw WorkloadProofError(.audience, "the audience is empty; name the recipient")
        }
        guard now < svid.expiresAt else {
            throw WorkloadProofError(.svid, "the WIT-SVID has expired; fetch a new one")
        }
        for name in WorkloadProofSigner.ownFields where request.has(name) {
            throw WorkloadProofError(.token, "the request has a field \(name) already")
        }
        for field in request.fields where field.value.contains(svid.token) {
            throw WorkloadProofError(
                .bearer,
                "field \(SPIFFEIDError.quoted(field.name)) carries the WIT-SVID as a bearer token")
        }
        let token = ProofRequest.Field(name: "Workload-Identity-Token", value: svid.token)
        let expiresAt = min(now + self.lifetime.timeInterval, svid.expiresAt)
        switch self.scheme {
        case .proofToken:
            let proof = try WorkloadProofToken.make(
                for: request, audience: audience, svid: svid, expiresAt: expiresAt,
                otherTokenFields: self.otherTokenFields)
            return [token, .init(name: "Workload-Proof-Token", value: proof)]
        case .httpSignature:
            var added = [token]
            if let digest = request.bodySHA256, !request.has("content-digest") {
                added.append(HTTPMessageSignature.contentDigest(digest))
            }
            let whole = try ProofRequest(
                method: request.method, requestTarget: request.requestTarget,
                fields: request.fields + added, bodySHA256: request.bodySHA256,
                channel: request.channel)
            return added
                + (try HTTPMessageSignature.make(
                    for: whole, audience: audience, proofKey: svid.proofKey, createdAt: now,
                    expiresAt: expiresAt, otherTokenFields: self.otherTokenFields))
        }
    }

    private static let ownFields = [
        "workload-identity-token", "workload-proof-token", "signature-input", "signature",
    ]
}
