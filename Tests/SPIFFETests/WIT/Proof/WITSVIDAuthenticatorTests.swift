import Foundation
import SPIFFE
import Testing

@Suite("Authenticating requests by WIT-SVIDs") struct WITSVIDAuthenticatorTests {
    private let pair: ProofPair

    init() throws { self.pair = try ProofPair() }

    private func authenticator(
        schemes: Set<WorkloadProofScheme> = Set(WorkloadProofScheme.allCases),
        authorizer: Authorizer? = nil, replays: ProofReplayCache = ProofReplayCache()
    ) throws -> WITSVIDAuthenticator {
        WITSVIDAuthenticator(
            try WorkloadProofVerifier(audience: self.pair.audience, schemes: schemes),
            bundles: self.pair.bundle, authorizer: authorizer ?? .exactly(self.pair.svid.id),
            replays: replays)
    }

    private func outcome(
        _ authenticator: WITSVIDAuthenticator, _ request: ProofRequest, at seconds: Double = 0
    ) -> WITAuthenticationError? {
        do throws(WITAuthenticationError) {
            _ = try authenticator.authenticate(request, now: self.pair.now + seconds)
            return nil
        } catch {
            return error
        }
    }

    @Test(
        "WIT-30: a proof is accepted once, and forgotten when it has expired by itself",
        arguments: WorkloadProofScheme.allCases)
    func replays(_ scheme: WorkloadProofScheme) throws {
        let authenticator = try self.authenticator()
        let request = try self.pair.signed(try self.pair.request(), scheme)
        #expect(self.outcome(authenticator, request) == nil)
        // 30 s of lifetime and 30 s of leeway, to the last instant.
        for seconds in [0, 1, 59, 59.999] {
            let refusal = self.outcome(authenticator, request, at: seconds)
            #expect(refusal?.code == .invalid)
            #expect((refusal?.cause as? WorkloadProofError)?.code == .replayed)
        }
        #expect(authenticator.rememberedProofs == 1)
        #expect(
            (self.outcome(authenticator, request, at: 60)?.cause as? WorkloadProofError)?.code
                == .expired)
        let late = try self.pair.signed(
            try self.pair.request(), scheme, now: self.pair.now + 62)
        #expect(self.outcome(authenticator, late, at: 62) == nil)
        #expect(authenticator.rememberedProofs == 1)
    }

    @Test("A flood costs no more than the capacity, and ends when the proofs expire")
    func flood() throws {
        let authenticator = try self.authenticator(
            replays: ProofReplayCache(capacity: 8, capacityPerSender: 8))
        for number in 0..<20 {
            let request = try self.pair.signed(try self.pair.request(), .proofToken)
            let refusal = self.outcome(authenticator, request)
            #expect((refusal?.code == .busy) == (number >= 8))
            #expect(refusal == nil || refusal?.httpStatus == 503)
            #expect(authenticator.rememberedProofs <= 8)
        }
        let late = try self.pair.signed(
            try self.pair.request(), .proofToken, now: self.pair.now + 62)
        #expect(self.outcome(authenticator, late, at: 62) == nil)
        #expect(authenticator.rememberedProofs == 1)
    }

    @Test("Of many at once with one proof a single one is let in")
    func race() async throws {
        let authenticator = try self.authenticator()
        let request = try self.pair.signed(try self.pair.request(), .proofToken)
        let now = self.pair.now
        let accepted = await withTaskGroup(of: Bool.self) { group in
            for _ in 0..<32 {
                group.addTask { (try? authenticator.authenticate(request, now: now)) != nil }
            }
            return await group.reduce(0) { $0 + ($1 ? 1 : 0) }
        }
        #expect(accepted == 1)
    }

    @Test("Who may not pass is told 403, and takes no place in what is remembered")
    func denied() throws {
        let authenticator = try self.authenticator(authorizer: .not(.exactly(self.pair.svid.id)))
        let request = try self.pair.signed(try self.pair.request(), .proofToken)
        let refusal = self.outcome(authenticator, request)
        #expect(refusal?.code == .denied && refusal?.httpStatus == 403)
        #expect(refusal?.cause is AuthorizationError)
        #expect(self.outcome(authenticator, request)?.code == .denied)
        #expect(authenticator.rememberedProofs == 0)
    }

    @Test("WIT-26: what is missing and what is wrong, with its status and never 401")
    func codes() throws {
        let authenticator = try self.authenticator()
        let good = try self.pair.signed(try self.pair.request(), .httpSignature)
        let rows: [(ProofRequest, WITAuthenticationError.Code, Int)] = [
            (try self.pair.request(), .missing, 400),
            (
                try self.pair.with(
                    good, fields: good.fields.filter { $0.name == "Workload-Identity-Token" }),
                .missing, 400
            ),
            (try self.pair.with(good, method: "PUT"), .invalid, 400),
            (try self.pair.with(good, channel: .plaintext), .invalid, 400),
        ]
        for (request, code, status) in rows {
            let refusal = self.outcome(authenticator, request)
            #expect(refusal?.code == code)
            #expect(refusal?.httpStatus == status)
            #expect(refusal?.message.contains(self.pair.signedToken) == false)
        }
        #expect(self.outcome(authenticator, good) == nil)
    }

    @Test("A body is needed for signatures only, and only where they are accepted")
    func body() throws {
        let token = try self.pair.signed(try self.pair.request(), .proofToken).fields
        let signature = try self.pair.signed(try self.pair.request(), .httpSignature).fields
        let shouted = signature.map {
            ProofRequest.Field(name: $0.name.uppercased(), value: $0.value)
        }
        let anonymous = signature.filter { $0.name.lowercased() != "workload-identity-token" }
        let twice = signature + signature
        let both = try self.authenticator()
        #expect(!both.needsBody(of: token))
        #expect(both.needsBody(of: signature) && both.needsBody(of: shouted))
        // Nothing is read for whoever has no genuine WIT-SVID: it is refused in any case.
        #expect(anonymous.count == signature.count - 1 && !both.needsBody(of: anonymous))
        #expect(!both.needsBody(of: twice))
        #expect(!(try self.authenticator(schemes: [.proofToken])).needsBody(of: signature))
    }
}
