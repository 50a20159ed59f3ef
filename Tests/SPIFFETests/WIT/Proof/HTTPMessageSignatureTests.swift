import Crypto
import Foundation
import SPIFFE
import Testing

@Suite("HTTP message signatures of WIT-SVIDs")
struct HTTPMessageSignatureTests {
    private let pair: ProofPair
    private let key = P256.Signing.PrivateKey()
    private let token: String

    init() throws {
        self.pair = try ProofPair()
        let proofKey = try ProofKey(jwk: JWTVerificationKeyFixture.privateJWK(self.key))
        self.token = try TestWIT(boundTo: proofKey.confirmationKey, now: self.pair.now)
            .signed(by: self.pair.authority)
    }

    private static let parameters = [
        "created=1800000000", "expires=1800000030", #"nonce="n1""#,
        #"tag="wimse-workload-to-workload""#, #"wimse-aud="https://orders.example/v1/orders""#,
    ]
    private static let components = [
        #""@method""#, #""@request-target""#, #""content-type""#, #""content-digest""#,
        #""workload-identity-token""#,
    ]

    /// A request that this test signs by hand, written from RFC 9421 and not by the code under test.
    private func request(
        components: [String] = HTTPMessageSignatureTests.components,
        parameters: [String] = HTTPMessageSignatureTests.parameters,
        label: String = "sig1", signature: String? = nil,
        _ more: (String) -> [ProofRequest.Field] = { _ in [] }
    ) throws -> ProofRequest {
        let digest = Base64.encode(ProofRequest.sha256(of: Array("{}".utf8)))
        let values = [
            "@method": "POST", "@request-target": "/v1/orders?limit=5",
            "content-type": "application/json", "content-digest": "sha-256=:\(digest):",
            "workload-identity-token": self.token, "x-a": "1, 2", "@authority": "orders.example",
            "X-A": "1, 2",
        ]
        let input =
            "(" + components.joined(separator: " ") + ")"
            + parameters.map { ";" + $0 }.joined()
        var base = ""
        for component in components {
            let name = component.split(separator: "\"").first.map(String.init) ?? ""
            base += "\(component): \(values[name] ?? "")\n"
        }
        base += "\"@signature-params\": \(input)"
        let made = try self.key.signature(for: Array(base.utf8)).rawRepresentation
        let fields: [ProofRequest.Field] = [
            .init(name: "Content-Type", value: "application/json"),
            .init(name: "Content-Digest", value: "sha-256=:\(digest):"),
            .init(name: "Workload-Identity-Token", value: self.token),
            .init(name: "X-A", value: " 1"), .init(name: "x-a", value: "2 "),
            .init(name: "Signature-Input", value: "\(label)=\(input)"),
            .init(
                name: "Signature",
                value: "\(label)=:\(signature ?? Base64.encode(Array(made))):"),
        ]
        return try self.pair.request(fields: fields + more(input), body: "{}")
    }

    @Test("WIT-38: a signature made by hand is accepted, whatever its label")
    func handMade() throws {
        for label in ["sig1", "wimse", "a.b-c_d*1"] {
            #expect(try self.pair.outcome(try self.request(label: label)) == nil)
        }
        let more = Self.components + [#""x-a""#]
        #expect(try self.pair.outcome(try self.request(components: more)) == nil)
        #expect(
            try self.pair.outcome(try self.request(components: Self.components.reversed())) == nil)
    }

    @Test("WIT-38: every component that must be covered is, and what is not understood is refused")
    func coverage() throws {
        for index in Self.components.indices {
            var fewer = Self.components
            fewer.remove(at: index)
            #expect(
                try self.pair.outcome(try self.request(components: fewer)) == .coverage,
                "\(Self.components[index])")
        }
        for extra in [
            #""@authority""#, #""X-A""#, #""x-absent""#, #""@method""#, #""x-a";bs"#,
            #""@method";req"#, #""@query-param";name="limit""#, "x-a", "1",
        ] {
            #expect(
                try self.pair.outcome(try self.request(components: Self.components + [extra]))
                    == .coverage, "\(extra)")
        }
    }

    @Test("WIT-38: every parameter is needed; keyid and alg must not be there")
    func parameters() throws {
        let wants: [WorkloadProofError.Code] = [
            .parameter, .parameter, .identifier, .noProof, .parameter,
        ]
        for (index, want) in wants.enumerated() {
            var fewer = Self.parameters
            fewer.remove(at: index)
            #expect(try self.pair.outcome(try self.request(parameters: fewer)) == want, "\(index)")
        }
        for (extra, want) in [
            (#"keyid="k""#, .parameter), (#"alg="ecdsa-p256-sha256""#, .parameter),
            ("x=1", nil), ("flag", nil), ("wimse-sign-response=?0", nil),
            ("wimse-sign-response", .signedResponse), ("wimse-sign-response=1", .parameter),
        ] as [(String, WorkloadProofError.Code?)] {
            #expect(
                try self.pair.outcome(try self.request(parameters: Self.parameters + [extra]))
                    == want, "\(extra)")
        }
        let changes: [(Int, String, WorkloadProofError.Code?)] = [
            (0, "created=1800000031", .notYetValid), (0, "created=1800000030", .lifetime),
            (0, "created=1799999900", .lifetime), (0, #"created="1800000000""#, .parameter),
            (0, "created=1799999910", nil),
            (1, "expires=1799999970", .expired), (1, "expires=1800000121", .lifetime),
            (1, "expires=1800000120", nil), (2, #"nonce="""#, .identifier),
            (2, "nonce=n1", .identifier),
            (2, "nonce=\"\(String(repeating: "n", count: 257))\"", .identifier),
            (3, #"tag="other""#, .noProof), (3, "tag=wimse-workload-to-workload", .noProof),
            (4, #"wimse-aud="https://evil.example/""#, .audience), (4, "wimse-aud=x", .parameter),
        ]
        for (index, text, want) in changes {
            var changed = Self.parameters
            changed[index] = text
            #expect(
                try self.pair.outcome(try self.request(parameters: changed)) == want, "\(text)")
        }
    }

    @Test("WIT-38: whatever is covered cannot be changed")
    func tampering() throws {
        let request = try self.pair.signed(
            try self.pair.request(
                fields: [
                    .init(name: "Content-Type", value: "text/plain"),
                    .init(name: "Authorization", value: "Bearer at.1"),
                    .init(name: "Txn-Token", value: "tt.1"), .init(name: "X-User", value: "u.1"),
                ], body: "pay 1"), .httpSignature, otherTokenFields: ["X-User"])
        #expect(try self.pair.outcome(request, otherTokenFields: ["x-user"]) == nil)
        var altered: [ProofRequest] = [
            try self.pair.with(request, method: "PUT"),
            try self.pair.with(request, target: "/v1/orders?limit=6"),
            try self.pair.with(request, target: "/v1/orders"),
        ]
        for name in ["Content-Type", "Authorization", "Txn-Token", "X-User"] {
            altered.append(
                try self.pair.with(request, fields: request.setting(name) { $0 + "x" }))
            altered.append(try self.pair.with(request, fields: request.removing(name)))
        }
        for (index, one) in altered.enumerated() {
            let outcome = try self.pair.outcome(one, otherTokenFields: ["x-user"])
            #expect(outcome == .signature || outcome == .coverage, "\(index)")
        }
        // A token that is added later is not covered.
        let bare = try self.pair.signed(try self.pair.request(), .httpSignature)
        for name in ["Authorization", "Txn-Token", "Content-Type"] {
            let added = bare.fields + [ProofRequest.Field(name: name, value: "x")]
            #expect(try self.pair.outcome(try self.pair.with(bare, fields: added)) == .coverage)
        }
    }

    @Test("WIT-38: a body is bound by a Content-Digest that is covered and right")
    func bodies() throws {
        let request = try self.pair.signed(try self.pair.request(body: "pay 1"), .httpSignature)
        #expect(request.value("Content-Digest").hasPrefix("sha-256=:"))
        #expect(try self.pair.outcome(try self.pair.with(request, body: "pay 2")) == .digest)
        #expect(try self.pair.outcome(try self.pair.with(request, body: .some(nil))) == .digest)
        let bare = try self.pair.signed(try self.pair.request(), .httpSignature)
        #expect(try self.pair.outcome(try self.pair.with(bare, body: "pay 2")) == .digest)
        for text in ["x", "sha-512=:AAAA:", "sha-256=x", "sha-256=:AAAA:", "sha-256"] {
            let field = ProofRequest.Field(name: "Content-Digest", value: text)
            let wrong = try self.pair.signed(
                try self.pair.request(fields: [field], body: "pay 1"), .httpSignature)
            #expect(try self.pair.outcome(wrong) == .digest, "\(text)")
        }
    }

    @Test("signatures that cannot be read, or are there twice, are refused")
    func malformed() throws {
        let good = try self.request()
        for input in [
            "", "x", "sig1", "sig1=", "sig1=1", "sig1=()", "sig1=(", #"sig1=("@method")x"#,
            #"sig1=("@method""@request-target")"#, "Sig1=()", "sig1=();created=1.5",
            "sig1=();created=1;created=1", "sig1=();created=9999999999999999", "sig1=(),",
            "sig1=()\u{E9}", "sig1=();tag=\"\u{E9}\"", "sig1=();tag=\"x",
        ] {
            let changed = good.setting("Signature-Input") { _ in input }
            let outcome = try self.pair.outcome(try self.pair.with(good, fields: changed))
            #expect(outcome == .malformed || outcome == .noProof, "\(input)")
        }
        for signature in ["", "sig2=:AAAA:", "sig1=AAAA", "sig1=:A:", "sig1=:AAAA", "sig1"] {
            let changed = good.setting("Signature") { _ in signature }
            #expect(
                try self.pair.outcome(try self.pair.with(good, fields: changed)) == .malformed,
                "\(signature)")
        }
        let twice = try self.request { input in
            [
                .init(name: "Signature-Input", value: "sig2=\(input)"),
                .init(name: "Signature", value: "sig2=:AAAA:"),
            ]
        }
        #expect(try self.pair.outcome(twice) == .malformed)
        let other = try self.request { _ in
            [
                .init(name: "Signature-Input", value: #"cdn=("@method");tag="other""#),
                .init(name: "Signature", value: "cdn=:AAAA:"),
            ]
        }
        #expect(try self.pair.outcome(other) == nil)
        #expect(try self.pair.outcome(try self.request(signature: "AAAA")) == .signature)
    }

    @Test("no changed byte of Signature-Input is accepted, and none crashes the reader")
    func robustness() throws {
        let good = try self.request()
        let bytes = Array(good.value("Signature-Input").utf8)
        for index in bytes.indices {
            for byte: UInt8 in [0x20, 0x22, 0x28, 0x29, 0x30, 0x3B, 0x3D, 0x5C, 0x7E]
            where byte != bytes[index] {
                var changed = bytes
                changed[index] = byte
                let text = String(decoding: changed, as: UTF8.self)
                let fields = good.setting("Signature-Input") { _ in text }
                #expect(
                    try self.pair.outcome(try self.pair.with(good, fields: fields)) != nil,
                    "\(text)")
            }
        }
    }

    @Test("both kinds of proof in one request must be good")
    func both() throws {
        let signed = try self.pair.signed(try self.pair.request(), .httpSignature)
        let proof = try self.pair.signed(try self.pair.request(), .proofToken)
            .value("Workload-Proof-Token")
        let both = signed.fields + [ProofRequest.Field(name: "Workload-Proof-Token", value: proof)]
        #expect(try self.pair.outcome(try self.pair.with(signed, fields: both)) == nil)
        let wrong =
            signed.fields + [ProofRequest.Field(name: "Workload-Proof-Token", value: proof + "x")]
        #expect(try self.pair.outcome(try self.pair.with(signed, fields: wrong)) == .malformed)
    }
}
