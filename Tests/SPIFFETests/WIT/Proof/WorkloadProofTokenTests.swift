import Crypto
import Foundation
import SPIFFE
import Testing

@Suite("Workload proof tokens")
struct WorkloadProofTokenTests {
    private let pair: ProofPair

    init() throws { self.pair = try ProofPair() }

    /// Header and claims of a proof.
    private func parts(_ proof: String) throws -> (header: JSONValue, claims: JSONValue) {
        let parts = proof.split(separator: ".")
        return (
            try JSONValue(parsing: try Base64URL.decode(parts[0])),
            try JSONValue(parsing: try Base64URL.decode(parts[1]))
        )
    }

    private static func hash(_ text: String) -> JSONValue {
        .string(Base64URL.encode(Array(SHA256.hash(data: Array(text.utf8)))))
    }

    @Test("WIT-37: what a proof token says")
    func content() throws {
        let request = try self.pair.signed(
            try self.pair.request(fields: [
                .init(name: "Authorization", value: "Bearer  at.1 "),
                .init(name: "Txn-Token", value: " tt.1 "), .init(name: "X-User", value: "u.1"),
            ]), .proofToken, otherTokenFields: ["X-User", "x-user", "Txn-Token", "X-Absent"])
        let (header, claims) = try self.parts(request.value("Workload-Proof-Token"))
        #expect(header == ["alg": "ES256", "typ": "wpt+jwt"])
        let names = Set(claims.objectValue?.keys.map { $0 } ?? [])
        #expect(names == ["aud", "exp", "jti", "wth", "ath", "tth", "oth"])
        #expect(claims["aud"] == "https://orders.example/v1/orders")
        #expect(claims["exp"] == .int(1_800_000_030))
        #expect(claims["wth"] == Self.hash(request.value("Workload-Identity-Token")))
        #expect(claims["ath"] == Self.hash("at.1"))
        #expect(claims["tth"] == Self.hash("tt.1"))
        #expect(claims["oth"] == ["x-user": Self.hash("u.1")])
        #expect(try Base64URL.decode(claims["jti"]?.stringValue ?? "").count == 16)
        #expect(try self.pair.outcome(request, otherTokenFields: ["X-User"]) == nil)
        let bare = try self.pair.signed(try self.pair.request(), .proofToken)
        let bareClaims = try self.parts(bare.value("Workload-Proof-Token")).claims
        #expect(Set(bareClaims.objectValue?.keys.map { $0 } ?? []) == ["aud", "exp", "jti", "wth"])
        #expect(bareClaims["jti"] != claims["jti"])
    }

    /// The outcome for a proof whose header or claims were changed before the right key signed it.
    private func outcome(
        _ change: (inout [String: JSONValue], inout [String: JSONValue]) -> Void
    ) throws -> WorkloadProofError.Code? {
        let key = P256.Signing.PrivateKey()
        let jwk = JWTVerificationKeyFixture.privateJWK(key)
        let proofKey = try ProofKey(jwk: jwk)
        let token = try TestWIT(boundTo: proofKey.confirmationKey, now: self.pair.now)
            .signed(by: self.pair.authority)
        var header: [String: JSONValue] = ["alg": "ES256", "typ": "wpt+jwt"]
        var claims: [String: JSONValue] = [
            "aud": "https://orders.example/v1/orders", "exp": 1_800_000_030, "jti": "j1",
            "wth": Self.hash(token),
        ]
        change(&header, &claims)
        var shape = TestToken()
        shape.header = header
        shape.claims = claims
        let proof = try shape.signed(by: .p256(key))
        return try self.pair.outcome(
            try self.pair.request(fields: [
                .init(name: "Workload-Identity-Token", value: token),
                .init(name: "Workload-Proof-Token", value: proof),
            ]))
    }

    @Test("WIT-37: each rule of the header")
    func header() throws {
        let unchanged = try self.outcome { _, _ in }
        #expect(unchanged == nil)
        for type: JSONValue? in [nil, "JWT", "wit+jwt", "WPT+JWT", "application/wpt+jwt", 1] {
            let outcome = try self.outcome { header, _ in header["typ"] = type }
            #expect(outcome == .type)
        }
        for algorithm: JSONValue? in [nil, "none", "HS256", "EdDSA", "ES384", "RS256", "es256"] {
            let outcome = try self.outcome { header, _ in header["alg"] = algorithm }
            #expect(outcome == .algorithm)
        }
        let critical = try self.outcome { header, _ in header["crit"] = ["x"] }
        #expect(critical == .criticalHeader)
        let unknown = try self.outcome { header, _ in header["kid"] = "x" }
        #expect(unknown == nil)
    }

    @Test("WIT-37: each rule of the claims")
    func claims() throws {
        let good: JSONValue = "https://orders.example/v1/orders"
        let rows: [(String, JSONValue?, WorkloadProofError.Code?)] = [
            ("aud", nil, .audience), ("aud", "x", .audience), ("aud", [], .audience),
            ("aud", [good], nil), ("aud", [good, "x"], .audience), ("aud", 1, .audience),
            ("exp", nil, .lifetime), ("exp", "1800000030", .malformed), ("exp", true, .malformed),
            ("exp", 1_799_999_970, .expired), ("exp", 1_800_000_151, .lifetime),
            ("exp", 1_800_000_150, nil), ("nbf", 1_800_000_031, .notYetValid),
            ("nbf", 1_800_000_030, nil), ("iat", "x", nil),
            ("jti", nil, .identifier), ("jti", "", .identifier), ("jti", 1, .identifier),
            ("jti", .string(String(repeating: "j", count: 257)), .identifier),
            ("wth", nil, .binding), ("wth", "x", .binding), ("wth", 1, .binding),
            ("wth", Self.hash("another token"), .binding),
            ("ath", Self.hash("x"), .binding), ("tth", Self.hash("x"), .binding),
            ("oth", [:], nil), ("oth", "x", .malformed), ("oth", ["x-user": "x"], .binding),
            ("acme.test/x", 1, nil),
        ]
        for (name, value, want) in rows {
            let outcome = try self.outcome { _, claims in claims[name] = value }
            #expect(outcome == want, "\(name) \(String(describing: value))")
        }
    }

    @Test("WIT-37: exactly one field Workload-Proof-Token with one well-formed token")
    func field() throws {
        let request = try self.pair.signed(try self.pair.request(), .proofToken)
        let proof = request.value("Workload-Proof-Token")
        let twice =
            request.fields + [ProofRequest.Field(name: "workload-proof-token", value: proof)]
        #expect(try self.pair.outcome(try self.pair.with(request, fields: twice)) == .malformed)
        for bad in ["", "x", "\(proof),\(proof)", "\(proof) \(proof)", "\(proof)."] {
            let changed = request.setting("Workload-Proof-Token") { _ in bad }
            #expect(
                try self.pair.outcome(try self.pair.with(request, fields: changed)) == .malformed)
        }
        let characters = Array(proof.utf8)
        for index in characters.indices {
            var changed = characters
            changed[index] =
                changed[index] == UInt8(ascii: "A") ? UInt8(ascii: "B") : UInt8(ascii: "A")
            let text = String(decoding: changed, as: UTF8.self)
            let fields = request.setting("Workload-Proof-Token") { _ in text }
            #expect(try self.pair.outcome(try self.pair.with(request, fields: fields)) != nil)
        }
    }

    @Test("WIT-37: tokens that ride along are bound: none may be added, removed or exchanged")
    func otherTokens() throws {
        let known: Set<String> = ["X-User"]
        let tokens: [ProofRequest.Field] = [
            .init(name: "Authorization", value: "DPoP at.1"),
            .init(name: "Txn-Token", value: "tt.1"), .init(name: "X-User", value: "u.1"),
        ]
        let bare = try self.pair.signed(try self.pair.request(), .proofToken)
        for token in tokens {
            let request = try self.pair.signed(
                try self.pair.request(fields: [token]), .proofToken, otherTokenFields: ["x-user"])
            #expect(try self.pair.outcome(request, otherTokenFields: known) == nil)
            let without = request.removing(token.name)
            let changed = request.setting(token.name) { $0 + "x" }
            let twice = request.fields + [token]
            for fields in [without, changed, twice] {
                let altered = try self.pair.with(request, fields: fields)
                #expect(
                    try self.pair.outcome(altered, otherTokenFields: known) == .binding, "\(token)")
            }
            let added = try self.pair.with(bare, fields: bare.fields + [token])
            #expect(try self.pair.outcome(added, otherTokenFields: known) == .binding)
        }
        let unknown = try self.pair.signed(
            try self.pair.request(fields: [tokens[2]]), .proofToken, otherTokenFields: ["x-user"])
        #expect(try self.pair.outcome(unknown) == .binding)
        // Credentials that are no token are not bound.
        let basic = ProofRequest.Field(name: "Authorization", value: "Basic dTpw")
        let request = try self.pair.signed(try self.pair.request(fields: [basic]), .proofToken)
        #expect(try self.pair.outcome(request) == nil)
    }
}

/// Private JWKs of keys that a test made itself.
enum JWTVerificationKeyFixture {
    static func privateJWK(_ key: P256.Signing.PrivateKey) -> String {
        let point = Array(key.publicKey.rawRepresentation)
        let members: [String: JSONValue] = [
            "kty": "EC", "crv": "P-256", "alg": "ES256",
            "x": .string(Base64URL.encode(Array(point[..<32]))),
            "y": .string(Base64URL.encode(Array(point[32...]))),
            "d": .string(Base64URL.encode(Array(key.rawRepresentation))),
        ]
        return String(decoding: JSONValue.object(members).serialized(), as: UTF8.self)
    }
}
