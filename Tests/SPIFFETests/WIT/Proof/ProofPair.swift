import Crypto
import Foundation
import SPIFFE

/// A client with a WIT-SVID and a server that knows its trust domain, at one moment.
struct ProofPair {
    let now = Date(timeIntervalSince1970: 1_800_000_000)
    let authority = TestTokenKey.p256(P256.Signing.PrivateKey())
    let svid: WITSVID
    let bundle: WITBundle
    let audience: ProofAudience

    static let origin = "https://orders.example"

    init(proofAlgorithm: JWSAlgorithm = .es256) throws {
        let key = try ProofKey(generatingFor: proofAlgorithm)
        let token = try TestWIT(boundTo: key.confirmationKey, now: self.now)
            .signed(by: self.authority)
        self.svid = try WITSVID(token: token, proofKey: key)
        self.bundle = WITBundle(
            trustDomain: self.svid.id.trustDomain,
            authorities: ["w1": try JWTVerificationKey(publicKeyDER: self.authority.publicKeyDER)])
        self.audience = try ProofAudience(origins: [Self.origin])
    }

    func request(
        method: String = "POST", target: String = "/v1/orders?limit=5",
        fields: [ProofRequest.Field] = [], body: String? = nil,
        channel: ProofRequest.Channel = .tls
    ) throws -> ProofRequest {
        try ProofRequest(
            method: method, requestTarget: target, fields: fields,
            bodySHA256: body.map { ProofRequest.sha256(of: Array($0.utf8)) }, channel: channel)
    }

    /// The request with its proof.
    func signed(
        _ request: ProofRequest, _ scheme: WorkloadProofScheme,
        audience: String = "https://orders.example/v1/orders", otherTokenFields: [String] = [],
        lifetime: Duration = .seconds(30), svid: WITSVID? = nil, now: Date? = nil
    ) throws -> ProofRequest {
        let signer = WorkloadProofSigner(
            scheme: scheme, lifetime: lifetime, otherTokenFields: otherTokenFields)
        let added = try signer.fields(
            for: request, audience: audience, svid: svid ?? self.svid, now: now ?? self.now)
        return try self.with(request, fields: request.fields + added)
    }

    func with(
        _ request: ProofRequest, method: String? = nil, target: String? = nil,
        fields: [ProofRequest.Field]? = nil, body: String?? = nil,
        channel: ProofRequest.Channel? = nil
    ) throws -> ProofRequest {
        try ProofRequest(
            method: method ?? request.method, requestTarget: target ?? request.requestTarget,
            fields: fields ?? request.fields,
            bodySHA256: body.map { $0.map { ProofRequest.sha256(of: Array($0.utf8)) } }
                ?? request.bodySHA256,
            channel: channel ?? request.channel)
    }

    /// The first rule that the request breaks; nil when it is accepted.
    func outcome(
        _ request: ProofRequest, schemes: Set<WorkloadProofScheme>? = nil,
        audience: ProofAudience? = nil, bundles: (any WITBundleSource)? = nil,
        otherTokenFields: Set<String> = [], now: Date? = nil,
        recordUse: (ProofUse) -> ProofReplayCache.Outcome = { _ in .fresh }
    ) throws -> WorkloadProofError.Code? {
        let verifier = try WorkloadProofVerifier(
            audience: audience ?? self.audience,
            schemes: schemes ?? Set(WorkloadProofScheme.allCases),
            otherTokenFields: otherTokenFields)
        do throws(WorkloadProofError) {
            _ = try verifier.verify(
                request, bundles: bundles ?? self.bundle, now: now ?? self.now,
                recordUse: recordUse)
            return nil
        } catch {
            return error.code
        }
    }
}

extension ProofRequest {
    /// The fields without those of that name.
    func removing(_ name: String) -> [Field] {
        self.fields.filter { $0.name.lowercased() != name.lowercased() }
    }

    /// The fields with another value for that name.
    func setting(_ name: String, _ change: (String) -> String) -> [Field] {
        self.fields.map {
            $0.name.lowercased() == name.lowercased()
                ? Field(name: $0.name, value: change($0.value)) : $0
        }
    }

    /// The value of the only field of that name, for tests that take it apart.
    func value(_ name: String) -> String {
        self.fields.first { $0.name.lowercased() == name.lowercased() }?.value ?? ""
    }
}
