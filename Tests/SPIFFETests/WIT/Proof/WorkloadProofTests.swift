import Crypto
import Foundation
import SPIFFE
import Testing

@Suite("Presenting WIT-SVIDs with proofs")
struct WorkloadProofTests {
    private let pair: ProofPair

    init() throws { self.pair = try ProofPair() }

    @Test(
        "WIT-28: what is signed is accepted, and says who sent it",
        arguments: WorkloadProofScheme.allCases)
    func accepted(_ scheme: WorkloadProofScheme) throws {
        let request = try self.pair.signed(
            try self.pair.request(
                fields: [.init(name: "Content-Type", value: "application/json")], body: "{}"),
            scheme)
        let verifier = try WorkloadProofVerifier(audience: self.pair.audience)
        var uses: [ProofUse] = []
        let proven = try verifier.verify(request, bundles: self.pair.bundle, now: self.pair.now) {
            uses.append($0)
            return .fresh
        }
        #expect(proven.id == self.pair.svid.id)
        #expect(proven.confirmationKey == self.pair.svid.proofKey.confirmationKey)
        #expect(proven.expiresAt == self.pair.svid.expiresAt)
        #expect(uses.count == 1 && uses[0].sender == self.pair.svid.id)
        #expect(uses[0].expiresAt > self.pair.now)
    }

    @Test("WIT-35: proofs by every kind of key", arguments: JWSAlgorithm.allCases)
    func algorithms(_ algorithm: JWSAlgorithm) throws {
        let pair = try ProofPair(proofAlgorithm: algorithm)
        for scheme in WorkloadProofScheme.allCases {
            let request = try pair.signed(try pair.request(body: "x"), scheme)
            #expect(try pair.outcome(request) == nil)
        }
    }

    @Test("WIT-26: a WIT-SVID without proof, or with another key's, is refused")
    func withoutProof() throws {
        for scheme in WorkloadProofScheme.allCases {
            let request = try self.pair.signed(try self.pair.request(), scheme)
            let proofs = ["workload-proof-token", "signature", "signature-input"]
            let bare = request.fields.filter { !proofs.contains($0.name.lowercased()) }
            #expect(
                try self.pair.outcome(try self.pair.with(request, fields: bare)) == .noProof)
            // The proof of one workload beside the token of another.
            let other = try ProofPair()
            let stranger = try self.pair.with(
                request,
                fields: request.setting("Workload-Identity-Token") { _ in
                    other.signedToken
                })
            #expect(try self.pair.outcome(stranger, bundles: other.bundle) == .signature)
            // A kind of proof that is not accepted is as good as none.
            let others = Set(WorkloadProofScheme.allCases).subtracting([scheme])
            #expect(try self.pair.outcome(request, schemes: others) == .noProof)
        }
        #expect(throws: WorkloadProofError.self) {
            try WorkloadProofVerifier(audience: self.pair.audience, schemes: [])
        }
    }

    @Test("WIT-26: a WIT-SVID that is not genuine is refused, whatever its proof")
    func notGenuine() throws {
        for scheme in WorkloadProofScheme.allCases {
            let request = try self.pair.signed(try self.pair.request(), scheme)
            let stranger = try ProofPair().bundle
            #expect(try self.pair.outcome(request, bundles: stranger) == .svid)
            #expect(
                try self.pair.outcome(request, now: self.pair.now.addingTimeInterval(4000))
                    == .svid)
        }
    }

    @Test("WIT-27: a WIT-SVID is never put into another field, and none is accepted there")
    func bearer() throws {
        let token = self.pair.signedToken
        for name in ["Authorization", "authorization", "Cookie", "X-Token"] {
            let request = try self.pair.request(
                fields: [.init(name: name, value: "Bearer \(token)")])
            for scheme in WorkloadProofScheme.allCases {
                #expect { try self.pair.signed(request, scheme) } throws: {
                    ($0 as? WorkloadProofError)?.code == .bearer
                }
            }
            #expect(try self.pair.outcome(request) == .token)
        }
        let request = try self.pair.signed(try self.pair.request(), .proofToken)
        #expect(!request.fields.contains { $0.name.lowercased() == "authorization" })
    }

    @Test("WIT-31: no proof is made for plain text, and none is accepted from it")
    func channels() throws {
        for scheme in WorkloadProofScheme.allCases {
            let plain = try self.pair.request(channel: .plaintext)
            #expect { try self.pair.signed(plain, scheme) } throws: {
                ($0 as? WorkloadProofError)?.code == .channel
            }
            let request = try self.pair.signed(try self.pair.request(), scheme)
            #expect(
                try self.pair.outcome(try self.pair.with(request, channel: .plaintext))
                    == .channel)
            #expect(
                try self.pair.outcome(try self.pair.with(request, channel: .securedOtherwise))
                    == nil)
        }
        for target in ["http://orders.example/x", "HTTPS://orders.example", "ftp://x", "x", ""] {
            #expect { try ProofAudience.forTarget(target) } throws: {
                ($0 as? WorkloadProofError)?.code == .channel
            }
        }
    }

    @Test(
        "WIT-36: exactly one field Workload-Identity-Token, in any case, with the token unchanged")
    func tokenField() throws {
        for scheme in WorkloadProofScheme.allCases {
            let request = try self.pair.signed(try self.pair.request(), scheme)
            #expect(request.value("Workload-Identity-Token") == self.pair.signedToken)
            let token = ProofRequest.Field(
                name: "workload-identity-token", value: self.pair.signedToken)
            let renamed = request.removing("Workload-Identity-Token") + [token]
            #expect(try self.pair.outcome(try self.pair.with(request, fields: renamed)) == nil)
            #expect(
                try self.pair.outcome(
                    try self.pair.with(request, fields: request.fields + [token])) == .token)
            #expect(
                try self.pair.outcome(
                    try self.pair.with(
                        request, fields: request.removing("Workload-Identity-Token")))
                    == .token)
            let lower = try self.pair.with(
                request,
                fields: request.setting("Workload-Identity-Token") { $0.lowercased() })
            #expect(try self.pair.outcome(lower) == .svid)
            // A request is signed once.
            #expect { try self.pair.signed(request, scheme) } throws: {
                ($0 as? WorkloadProofError)?.code == .token
            }
        }
    }

    @Test("WIT-29: proofs live for seconds, and stale ones are refused")
    func lifetimes() throws {
        for scheme in WorkloadProofScheme.allCases {
            let request = try self.pair.signed(try self.pair.request(), scheme)
            for (seconds, want) in [
                (0, nil), (29, nil), (59, nil), (60, .expired), (600, .expired),
            ] as [(TimeInterval, WorkloadProofError.Code?)] {
                #expect(
                    try self.pair.outcome(request, now: self.pair.now.addingTimeInterval(seconds))
                        == want, "\(scheme) \(seconds)")
            }
            let long = try self.pair.signed(
                try self.pair.request(), scheme, lifetime: .seconds(86_400))
            #expect(try self.pair.outcome(long) == .lifetime)
            #expect(WorkloadProofSigner(lifetime: .seconds(86_400)).lifetime == .seconds(300))
        }
        // Not longer than the WIT-SVID, and never with one that has ended.
        let end = self.pair.svid.expiresAt
        let late = try self.pair.signed(
            try self.pair.request(), .httpSignature, now: end.addingTimeInterval(-5))
        #expect(
            late.value("Signature-Input").contains(";expires=\(Int(end.timeIntervalSince1970));"))
        #expect {
            try self.pair.signed(try self.pair.request(), .proofToken, now: end)
        } throws: {
            ($0 as? WorkloadProofError)?.code == .svid
        }
        let early = try self.pair.signed(try self.pair.request(), .httpSignature)
        #expect(
            try self.pair.outcome(early, now: self.pair.now.addingTimeInterval(-31))
                == .notYetValid)
    }

    @Test("WIT-30: a proof is accepted once; WIT-16: the same WIT-SVID with a new one again")
    func replays() throws {
        for scheme in WorkloadProofScheme.allCases {
            var cache = ProofReplayCache()
            let now = self.pair.now
            let request = try self.pair.signed(try self.pair.request(), scheme)
            let again = try self.pair.signed(try self.pair.request(), scheme)
            for (sent, want) in [(request, nil), (request, .replayed), (again, nil)]
                as [(ProofRequest, WorkloadProofError.Code?)]
            {
                let outcome = try self.pair.outcome(sent) { cache.record($0, now: now) }
                #expect(outcome == want)
            }
            let outcome = try self.pair.outcome(again) { _ in .full }
            #expect(outcome == .full)
        }
    }

    @Test("a proof that fails is not remembered as used")
    func refusedIsNotRecorded() throws {
        for scheme in WorkloadProofScheme.allCases {
            let request = try self.pair.signed(
                try self.pair.request(), scheme, audience: "https://elsewhere.example/")
            var isRecorded = false
            _ = try self.pair.outcome(request) { _ in
                isRecorded = true
                return .fresh
            }
            #expect(!isRecorded)
        }
    }

    @Test("WIT-37 WIT-38: the audience comes from configuration, never from the request")
    func audiences() throws {
        for scheme in WorkloadProofScheme.allCases {
            for (audience, want) in [
                ("https://orders.example/v1/orders", nil),
                ("https://orders.example/v1/orders?limit=5", .audience),
                ("https://orders.example/v1", .audience), ("https://orders.example", .audience),
                ("https://evil.example/v1/orders", .audience), ("orders", .audience),
                ("https://ORDERS.example/v1/orders", .audience),
            ] as [(String, WorkloadProofError.Code?)] {
                let host = ProofRequest.Field(name: "Host", value: "evil.example")
                let request = try self.pair.signed(
                    try self.pair.request(fields: [host]), scheme, audience: audience)
                #expect(try self.pair.outcome(request) == want, "\(scheme) \(audience)")
            }
            let named = try self.pair.signed(try self.pair.request(), scheme, audience: "orders")
            let names = try ProofAudience(names: ["orders"])
            #expect(try self.pair.outcome(named, audience: names) == nil)
            let root = try self.pair.signed(
                try self.pair.request(target: "/"), scheme, audience: ProofPair.origin)
            #expect(try self.pair.outcome(root) == nil)
            #expect(throws: WorkloadProofError.self) {
                try self.pair.signed(try self.pair.request(), scheme, audience: "")
            }
        }
    }

    @Test("an audience that could never be safe is refused at the start")
    func audienceSettings() throws {
        #expect(throws: WorkloadProofError.self) { try ProofAudience() }
        #expect(throws: WorkloadProofError.self) { try ProofAudience(names: [""]) }
        for origin in [
            "http://orders.example", "orders.example", "https://", "https://orders.example/",
            "https://user@orders.example", "https://orders.example?x", "https://a b", "",
        ] {
            #expect(throws: WorkloadProofError.self, "\(origin)") {
                try ProofAudience(origins: [origin])
            }
        }
        #expect(
            try ProofAudience.forTarget("https://orders.example:8443/a/b?c=/d#e")
                == "https://orders.example:8443/a/b")
        #expect(
            try ProofAudience.forTarget("https://orders.example?x") == "https://orders.example")
        #expect(throws: WorkloadProofError.self) {
            try ProofAudience.forTarget("https://user@orders.example/")
        }
    }

    @Test("what is no HTTP request is refused before anything is signed")
    func requests() throws {
        let digest = ProofRequest.sha256(of: [])
        for (method, target, name, value, body) in [
            ("", "/", "a", "b", nil), ("GE T", "/", "a", "b", nil), ("GET\n", "/", "a", "b", nil),
            ("GET", "", "a", "b", nil), ("GET", "/ x", "a", "b", nil),
            ("GET", "/\u{E9}", "a", "b", nil), ("GET", "/\n", "a", "b", nil),
            ("GET", "/", "", "b", nil), ("GET", "/", "a:", "b", nil), ("GET", "/", "a", "b\n", nil),
            ("GET", "/", "a", "b\r\nc: d", nil), ("GET", "/", "a", "\0", nil),
            ("GET", "/", "a", "b", Array(digest.dropLast())),
        ] as [(String, String, String, String, [UInt8]?)] {
            #expect(throws: WorkloadProofError.self, "\(method) \(target) \(name)") {
                try ProofRequest(
                    method: method, requestTarget: target,
                    fields: [.init(name: name, value: value)], bodySHA256: body, channel: .tls)
            }
        }
    }
}

extension ProofPair {
    /// The token as a field carries it.
    var signedToken: String {
        let fields = try? WorkloadProofSigner().fields(
            for: try self.request(), audience: "x", svid: self.svid, now: self.now)
        return fields?.first { $0.name == "Workload-Identity-Token" }?.value ?? "no token"
    }
}
