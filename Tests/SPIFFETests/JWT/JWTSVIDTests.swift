import Crypto
import CryptoExtras
import Foundation
import SPIFFE
import Testing
import X509

@Suite("JWTSVID")
struct JWTSVIDTests {
    private let now = Date(timeIntervalSince1970: 1_800_000_000)
    private let acme: TrustDomain
    private let key = TestTokenKey.p256(P256.Signing.PrivateKey())
    private let bundle: JWTBundle

    init() throws {
        self.acme = try TrustDomain("acme.test")
        self.bundle = JWTBundle(
            trustDomain: self.acme,
            authorities: ["k1": try JWTVerificationKey(publicKeyDER: self.key.publicKeyDER)])
    }

    /// Validates a changed token and compares the outcome; nil means accepted.
    private func expect(
        _ want: JWTSVIDError.Code?, _ what: String = "", audience: String = "svc",
        bundles: (any JWTBundleSource)? = nil, key: TestTokenKey? = nil, token: String? = nil,
        sourceLocation: SourceLocation = #_sourceLocation,
        _ change: (inout TestToken) -> Void = { _ in }
    ) throws {
        var shape = TestToken(now: self.now)
        change(&shape)
        let text = try token ?? shape.signed(by: key ?? self.key)
        do throws(JWTSVIDError) {
            let svid = try JWTSVID.validate(
                text, audience: audience, bundles: bundles ?? self.bundle, now: self.now)
            #expect(want == nil, "accepted: \(what)", sourceLocation: sourceLocation)
            #expect(svid.token == text)
        } catch {
            #expect(error.code == want, "\(what): \(error)", sourceLocation: sourceLocation)
            #expect(!error.message.contains(text))
        }
    }

    @Test("a good token is taken apart")
    func good() throws {
        let token = try TestToken(now: self.now).signed(by: self.key)
        let svid = try JWTSVID.validate(token, audience: "svc", bundles: self.bundle, now: self.now)
        #expect(svid.id.string == "spiffe://acme.test/x")
        #expect(svid.audience == ["svc"])
        #expect(svid.expiresAt == self.now.addingTimeInterval(300))
        #expect(svid.issuedAt == self.now)
        #expect(svid.keyID == "k1")
        #expect(svid.claims.count == 4)
        #expect(!"\(svid)".contains(token) && !String(reflecting: svid).contains(token))
        #expect(try JWTSVID.unverified(token, hint: "h").hint == "h")
    }

    @Test("JWT-02 JWT-03: JSON serialization, JWE and other forms are refused")
    func forms() throws {
        let token = try TestToken(now: self.now).signed(by: self.key)
        let parts = token.split(separator: ".").map(String.init)
        let (header, payload, signature) = (parts[0], parts[1], parts[2])
        let forms: [String] = [
            "", ".", "..", "...", "\(token).", ".\(token)", "\(token).a.b", header,
            "\(header).\(payload)",
            "\(header).\(payload).", "\(token)=", " \(token)", "\(token)\n",
            "\(header)..\(signature)",
            #"{"payload":"\#(payload)","protected":"\#(header)","signature":"\#(signature)"}"#,
            "e30.\(payload).\(signature).e30.e30",
        ]
        for form in forms { try self.expect(.malformed, form, token: form) }
        try self.expect(.malformed, "array", token: "W10.\(payload).\(signature)")
        try self.expect(.malformed, "claims array") { $0.rawPayload = Array("[]".utf8) }
        try self.expect(.malformed, "two subjects") {
            $0.rawPayload = Array(
                #"{"sub":"spiffe://acme.test/x","sub":"spiffe://acme.test/y"}"#.utf8)
        }
        try self.expect(.malformed, "too long", token: String(repeating: "a", count: 64 * 1024 + 1))
    }

    @Test("JWT-05: any other alg is refused before all else")
    func algorithms() throws {
        let others: [JSONValue?] = [
            "none", "HS256", "EdDSA", "ES256K", "es256", "RS1", "", nil, 256, .null, ["ES256"],
        ]
        for other in others {
            try self.expect(.algorithm, "\(String(describing: other))") {
                $0.header["alg"] = other
                // Everything else is wrong too.
                $0.header["typ"] = "x"
                $0.rawPayload = []
            }
        }
        let unsigned =
            "eyJhbGciOiJub25lIn0."
            + Base64URL.encode(Array(#"{"sub":"spiffe://acme.test/x"}"#.utf8)) + "."
        try self.expect(.algorithm, "none without signature", token: unsigned)
        try self.expect(.algorithm, "none with a signature", token: unsigned + "AA")
    }

    @Test("JWT-04 JWT-06: each of the nine algorithms verifies, with fitting keys only")
    func nine() throws {
        let keys: [(String, TestTokenKey)] = [
            ("p256", self.key), ("p384", .p384(.init())), ("p521", .p521(.init())),
            ("rsa", .rsa(try .init(keySize: .bits2048))),
        ]
        let fitting = ["ES256": "p256", "ES384": "p384", "ES512": "p521"]
        for algorithm in JWSAlgorithm.allCases.map(\.rawValue) {
            for (name, key) in keys {
                let bundle = JWTBundle(
                    trustDomain: self.acme,
                    authorities: ["k1": try JWTVerificationKey(publicKeyDER: key.publicKeyDER)])
                let fits = fitting[algorithm, default: "rsa"] == name
                try self.expect(
                    fits ? nil : .signature, "\(algorithm) \(name)", bundles: bundle, key: key
                ) {
                    $0.header["alg"] = .string(algorithm)
                }
            }
        }
        #expect(JWSAlgorithm.allCases.count == 9)
    }

    @Test("JWT-06: an RSA signature made by another algorithm of the same key fails")
    func rsaMix() throws {
        let key = TestTokenKey.rsa(try .init(keySize: .bits2048))
        let bundle = JWTBundle(
            trustDomain: self.acme,
            authorities: ["k1": try JWTVerificationKey(publicKeyDER: key.publicKeyDER)])
        var shape = TestToken(now: self.now)
        shape.header["alg"] = "RS256"
        let input = try shape.signed(by: key).split(separator: ".").prefix(2).joined(separator: ".")
        for other in ["RS384", "RS512", "PS256", "PS384"] {
            let signature = Base64URL.encode(try key.sign(Array(input.utf8), other))
            try self.expect(.signature, other, bundles: bundle, token: input + "." + signature)
        }
    }

    @Test("JWT-06: ECDSA signatures in DER, of odd or wrong length, altered or swapped fail")
    func ecdsaForms() throws {
        guard case .p256(let key) = self.key else { return }
        let token = try TestToken(now: self.now).signed(by: self.key)
        let parts = token.split(separator: ".")
        let input = parts[0] + "." + parts[1]
        let signature = try key.signature(for: Array(input.utf8))
        let raw = Array(signature.rawRepresentation)
        var altered = raw
        altered[40] ^= 1
        let zero = [UInt8](repeating: 0, count: 64)
        let bad: [[UInt8]] = [
            Array(signature.derRepresentation), Array(raw.dropLast()), raw + [0], [0] + raw,
            altered, zero,
            Array(raw[32...] + raw[..<32]), [1],
        ]
        for bytes in bad {
            try self.expect(.signature, token: input + "." + Base64URL.encode(bytes))
        }
        try self.expect(nil, token: input + "." + Base64URL.encode(raw))
    }

    @Test("ID-24: every changed character of a token fails")
    func everyCharacter() throws {
        let token = Array(try TestToken(now: self.now).signed(by: self.key).utf8)
        for index in token.indices {
            var changed = token
            changed[index] =
                changed[index] == UInt8(ascii: "A") ? UInt8(ascii: "B") : UInt8(ascii: "A")
            let text = String(decoding: changed, as: UTF8.self)
            #expect(throws: JWTSVIDError.self) {
                try JWTSVID.validate(text, audience: "svc", bundles: self.bundle, now: self.now)
            }
        }
    }

    @Test("JWT-08: crit is refused; keys and addresses in the header are not used")
    func header() throws {
        for value: JSONValue in [["x"], [], "x", ["exp"], .null] {
            try self.expect(.criticalHeader) { $0.header["crit"] = value }
        }
        try self.expect(nil, "unknown parameter") { $0.header["foo"] = 1 }
        let stranger = P256.Signing.PrivateKey()
        let raw = Array(stranger.publicKey.rawRepresentation)
        try self.expect(.signature, key: .p256(stranger)) {
            $0.header["jwk"] = [
                "kty": "EC", "crv": "P-256", "x": .string(Base64URL.encode(Array(raw[..<32]))),
                "y": .string(Base64URL.encode(Array(raw[32...]))),
            ]
            $0.header["jku"] = "https://acme.test/keys"
            $0.header["x5u"] = "https://acme.test/chain"
        }
    }

    @Test("JWT-09: kid may be left out; an unknown or malformed one is refused")
    func keyIDs() throws {
        try self.expect(nil, "no kid") { $0.header["kid"] = nil }
        try self.expect(.signature, "no kid", key: .p256(.init())) { $0.header["kid"] = nil }
        for other in ["k2", "K1", "", "k1 "] {
            try self.expect(.unknownKey, other) { $0.header["kid"] = .string(other) }
        }
        try self.expect(.malformed) { $0.header["kid"] = 1 }
    }

    @Test("JWT-09: key IDs are compared by bytes, not as Unicode text")
    func keyIDBytes() throws {
        let key = try JWTVerificationKey(publicKeyDER: self.key.publicKeyDER)
        let bundle = JWTBundle(trustDomain: self.acme, authorities: ["\u{E9}": key])
        try self.expect(nil, bundles: bundle) { $0.header["kid"] = "\u{E9}" }
        try self.expect(.unknownKey, bundles: bundle) { $0.header["kid"] = "e\u{301}" }
    }

    @Test("JWT-10: typ is JWT, JOSE or left out")
    func types() throws {
        for good: JSONValue? in ["JWT", "JOSE", nil] {
            try self.expect(nil) { $0.header["typ"] = good }
        }
        for bad: JSONValue in ["jwt", "at+jwt", "wit+jwt", "", 1, .null, ["JWT"]] {
            try self.expect(.type, "\(bad)") { $0.header["typ"] = bad }
        }
    }

    @Test("ID-26: what only resembles a JWT-SVID is none")
    func otherDocuments() throws {
        try self.expect(.type, "access token") { $0.header["typ"] = "at+jwt" }
        try self.expect(.type, "WIT-SVID") { $0.header["typ"] = "wit+jwt" }
        try self.expect(.noAudience, "token for nobody") { $0.claims["aud"] = nil }
        try self.expect(.subject, "OpenID Connect token") {
            $0.claims["sub"] = "248289761001"
            $0.claims["iss"] = "https://acme.test"
            $0.claims["spiffe_id"] = "spiffe://acme.test/x"
        }
        try self.expect(
            .malformed, "SSH certificate", token: "ecdsa-sha2-nistp256-cert-v01@openssh.com AAAA")
    }

    @Test("JWT-12: a missing or invalid subject is refused")
    func subjects() throws {
        let bad: [JSONValue?] = [
            nil, "", "acme.test/x", "spiffe://acme.test/x/", "spiffe://Acme.test/x",
            "https://acme.test/x", 1, .null,
            ["spiffe://acme.test/x"],
        ]
        for subject in bad { try self.expect(.subject) { $0.claims["sub"] = subject } }
    }

    @Test("JWT-14 JWT-15: the validator's own audience must be among those of the token")
    func audiences() throws {
        for good: JSONValue in ["svc", ["svc"], ["x", "svc"], ["svc", ""]] {
            try self.expect(nil, "\(good)") { $0.claims["aud"] = good }
        }
        for bad: JSONValue in [["SVC"], ["svc2"], "sv", ["svc "], ["x", "y"]] {
            try self.expect(.audience, "\(bad)") { $0.claims["aud"] = bad }
        }
        for none: JSONValue? in [nil, [], "", [""]] {
            try self.expect(.noAudience) { $0.claims["aud"] = none }
        }
        for wrong: JSONValue in [1, .null, ["svc", 1], ["svc": 1]] {
            try self.expect(.claim) { $0.claims["aud"] = wrong }
        }
        try self.expect(.noExpectedAudience, audience: "")
        try self.expect(.noExpectedAudience, audience: "") { $0.claims["aud"] = "" }
        try self.expect(.audience, audience: "e\u{301}") { $0.claims["aud"] = "\u{E9}" }
    }

    @Test("JWT-18: exp is a number")
    func expiryForms() throws {
        for bad: JSONValue? in [
            nil, "1800000300", true, .null, [1_800_000_300], 1_800_000_300_000, .double(1e300),
        ] {
            try self.expect(.claim, "\(String(describing: bad))") { $0.claims["exp"] = bad }
        }
        try self.expect(nil) { $0.claims["exp"] = .double(1_800_000_300.5) }
        try self.expect(.claim) {
            $0.rawPayload = Array(#"{"sub":"spiffe://acme.test/x","aud":"svc","exp":1e12}"#.utf8)
        }
        try self.expect(nil) {
            $0.rawPayload = Array(#"{"sub":"spiffe://acme.test/x","aud":"svc","exp":1.9e9}"#.utf8)
        }
        for name in ["iat", "nbf"] {
            try self.expect(.claim, name) { $0.claims[name] = "1800000000" }
        }
    }

    @Test("JWT-19: an expired token is refused after 60 seconds of leeway")
    func expiry() throws {
        for (offset, want) in [
            (300, nil), (0, nil), (-30, nil), (-59, nil), (-60, .expired), (-61, .expired),
        ] as [(Int64, JWTSVIDError.Code?)] {
            try self.expect(want, "\(offset)") { $0.claims["exp"] = .int(1_800_000_000 + offset) }
        }
        for past: Int64 in [0, -1] { try self.expect(.expired) { $0.claims["exp"] = .int(past) } }
        let token = try TestToken(now: self.now.addingTimeInterval(-301)).signed(by: self.key)
        #expect(throws: JWTSVIDError.self) {
            try JWTSVID.validate(
                token, audience: "svc", bundles: self.bundle, now: self.now, leeway: .zero)
        }
    }

    @Test("JWT-20: nbf is honoured; iat in the future is not held against a token")
    func notBefore() throws {
        for (offset, want) in [
            (-10, nil), (59, nil), (60, nil), (61, .notYetValid), (120, .notYetValid),
        ]
            as [(Int64, JWTSVIDError.Code?)]
        {
            try self.expect(want, "\(offset)") { $0.claims["nbf"] = .int(1_800_000_000 + offset) }
        }
        try self.expect(nil) { $0.claims["iat"] = .int(1_800_000_000 + 600) }
    }

    @Test("JWT-21: other claims are ignored and a token may be shown twice")
    func otherClaims() throws {
        var shape = TestToken(now: self.now)
        shape.claims["iss"] = "https://elsewhere.test"
        shape.claims["jti"] = "1"
        shape.claims["acme.test/x"] = ["deep": [1, 2]]
        let token = try shape.signed(by: self.key)
        try self.expect(nil, token: token)
        try self.expect(nil, token: token)
        #expect(try JWTSVID.unverified(token).claims["acme.test/x"]?["deep"] == [1, 2])
    }

    @Test("JWT-22 JWT-29: the key comes from the bundle of the subject's trust domain")
    func trustDomains() throws {
        let partner = try TrustDomain("partner.test")
        let stranger = TestTokenKey.p256(.init())
        let bundles = JWTBundleSet([
            self.bundle,
            JWTBundle(
                trustDomain: partner,
                authorities: ["k1": try JWTVerificationKey(publicKeyDER: stranger.publicKeyDER)]),
        ])
        try self.expect(nil, bundles: bundles)
        try self.expect(.signature, bundles: bundles, key: stranger)
        try self.expect(.signature, bundles: bundles, key: stranger) {
            $0.claims["iss"] = "spiffe://partner.test"
        }
        try self.expect(nil, bundles: bundles, key: stranger) {
            $0.claims["sub"] = "spiffe://partner.test/x"
        }
        try self.expect(.noBundle, bundles: bundles) {
            $0.claims["sub"] = "spiffe://unknown.test/x"
        }
        try self.expect(.unknownKey, bundles: JWTBundle(trustDomain: self.acme, authorities: [:]))
        try self.expect(.signature, bundles: JWTBundle(trustDomain: self.acme, authorities: [:])) {
            $0.header["kid"] = nil
        }
    }
}
