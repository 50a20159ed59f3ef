import Crypto
import CryptoExtras
import Foundation
import SPIFFE
import Testing
import X509

@Suite("WIT-SVIDs")
struct WITSVIDTests {
    private let now = Date(timeIntervalSince1970: 1_800_000_000)
    private let acme: TrustDomain
    private let key = TestTokenKey.p256(P256.Signing.PrivateKey())
    private let proofKey: ProofKey
    private let bundle: WITBundle

    init() throws {
        self.acme = try TrustDomain("acme.test")
        self.proofKey = try ProofKey(generatingFor: .es256)
        self.bundle = WITBundle(
            trustDomain: self.acme,
            authorities: ["w1": try JWTVerificationKey(publicKeyDER: self.key.publicKeyDER)])
    }

    /// Validates a changed token and compares the outcome; nil means accepted.
    private func expect(
        _ want: WITSVIDError.Code?, _ what: String = "", bundles: (any WITBundleSource)? = nil,
        key: TestTokenKey? = nil, token: String? = nil, leeway: Duration = .seconds(60),
        maximumLifespan: Duration? = nil, sourceLocation: SourceLocation = #_sourceLocation,
        _ change: (inout TestWIT) -> Void = { _ in }
    ) throws {
        var shape = TestWIT(boundTo: self.proofKey.confirmationKey, now: self.now)
        change(&shape)
        let text = try token ?? shape.signed(by: key ?? self.key)
        do throws(WITSVIDError) {
            let svid = try UnprovenWITSVID(
                validating: text, bundles: bundles ?? self.bundle, now: self.now, leeway: leeway,
                maximumLifespan: maximumLifespan)
            #expect(want == nil, "accepted: \(what)", sourceLocation: sourceLocation)
            #expect(!"\(svid)\(String(reflecting: svid))".contains(text))
        } catch {
            #expect(error.code == want, "\(what): \(error)", sourceLocation: sourceLocation)
            #expect(!error.message.contains(text))
        }
    }

    @Test("a good token is taken apart")
    func good() throws {
        let token = try TestWIT(boundTo: self.proofKey.confirmationKey, now: self.now)
            .signed(by: self.key)
        let svid = try UnprovenWITSVID(validating: token, bundles: self.bundle, now: self.now)
        #expect(svid.claimedID.string == "spiffe://acme.test/x")
        #expect(svid.expiresAt == self.now.addingTimeInterval(3600))
        #expect(svid.confirmationKey == self.proofKey.confirmationKey)
    }

    @Test("WIT-01: other forms than compact JWS are refused")
    func forms() throws {
        let token = try TestWIT(boundTo: self.proofKey.confirmationKey, now: self.now)
            .signed(by: self.key)
        let parts = token.split(separator: ".").map(String.init)
        for form in [
            "", "..", "\(token).", "\(parts[0]).\(parts[1])", "\(parts[0]).\(parts[1]).",
            "\(token)=", "\(token)\n",
            #"{"payload":"\#(parts[1])","protected":"\#(parts[0])","signature":"\#(parts[2])"}"#,
        ] { try self.expect(.malformed, form, token: form) }
        try self.expect(.malformed, "claims array") { $0.rawPayload = Array("[]".utf8) }
        try self.expect(.malformed, "too long", token: String(repeating: "a", count: 64 * 1024 + 1))
    }

    @Test("WIT-02 WIT-03: kid is needed and compared by bytes")
    func keyID() throws {
        for bad: JSONValue? in [nil, "", 1, .null] {
            try self.expect(.keyID) { $0.header["kid"] = bad }
        }
        for other in ["W1", "w2", "w1 "] {
            try self.expect(.unknownKey, other) { $0.header["kid"] = .string(other) }
        }
        let key = try JWTVerificationKey(publicKeyDER: self.key.publicKeyDER)
        let composed = WITBundle(trustDomain: self.acme, authorities: ["\u{E9}": key])
        try self.expect(nil, bundles: composed) { $0.header["kid"] = "\u{E9}" }
        try self.expect(.unknownKey, bundles: composed) { $0.header["kid"] = "e\u{301}" }
    }

    @Test("WIT-05: typ is wit+jwt and nothing else")
    func types() throws {
        for bad: JSONValue? in [
            nil, "JWT", "WIT+JWT", "application/wit+jwt", "wpt+jwt", "", 1, .null, ["wit+jwt"],
        ] { try self.expect(.type, "\(String(describing: bad))") { $0.header["typ"] = bad } }
    }

    @Test("WIT-06: each of the nine algorithms verifies, with fitting keys only")
    func nine() throws {
        let keys: [(String, TestTokenKey)] = [
            ("p256", self.key), ("p384", .p384(.init())), ("p521", .p521(.init())),
            ("rsa", .rsa(try .init(keySize: .bits2048))),
        ]
        let fitting = ["ES256": "p256", "ES384": "p384", "ES512": "p521"]
        for algorithm in JWSAlgorithm.allCases.map(\.rawValue) {
            for (name, key) in keys {
                let bundle = WITBundle(
                    trustDomain: self.acme,
                    authorities: ["w1": try JWTVerificationKey(publicKeyDER: key.publicKeyDER)])
                let fits = fitting[algorithm, default: "rsa"] == name
                try self.expect(
                    fits ? nil : .signature, "\(algorithm) \(name)", bundles: bundle, key: key
                ) { $0.header["alg"] = .string(algorithm) }
            }
        }
    }

    @Test("WIT-07: any other alg is refused before all else")
    func algorithms() throws {
        for other: JSONValue? in ["none", "HS256", "EdDSA", "es256", "", nil, 256, .null] {
            try self.expect(.algorithm, "\(String(describing: other))") {
                $0.header["alg"] = other
                $0.header["typ"] = "x"
                $0.rawPayload = []
            }
        }
    }

    @Test("WIT-09: unknown header parameters are ignored unless crit lists them")
    func header() throws {
        try self.expect(nil) { $0.header["foo"] = 1 }
        for value: JSONValue in [["foo"], [], "x", .null] {
            try self.expect(.criticalHeader) {
                $0.header["crit"] = value
                $0.header["foo"] = 1
            }
        }
        let stranger = TestTokenKey.p256(.init())
        let jwk = try ConfirmationKey(
            publicKey: try JWTVerificationKey(publicKeyDER: stranger.publicKeyDER),
            algorithm: .es256
        ).jwk
        try self.expect(.signature, "a key in the header is not used", key: stranger) {
            $0.header["jwk"] = .object(jwk)
        }
    }

    @Test("WIT-10: the subject is a SPIFFE ID")
    func subjects() throws {
        for bad: JSONValue? in [
            nil, "", "wimse://acme.test/x", "spiffe://acme.test/x/", "spiffe://Acme.test/x", 1,
            .null,
            ["spiffe://acme.test/x"],
        ] { try self.expect(.subject) { $0.claims["sub"] = bad } }
    }

    @Test("WIT-12: a token that is bound to no key is refused")
    func unbound() throws {
        for bad: JSONValue? in [
            nil, "x", .null, [], ["jkt": "x"], ["jwk": "x"], ["jwk": .null], ["kid": "x"],
        ] {
            try self.expect(.confirmation, "\(String(describing: bad))") {
                $0.claims["cnf"] = bad
            }
        }
        try self.expect(.confirmation, "symmetric") {
            $0.claims["cnf"] = ["jwk": ["kty": "oct", "k": "AAAA", "alg": "HS256"]]
        }
    }

    @Test("WIT-13: a private key in the token is refused")
    func privateMembers() throws {
        for name in ["d", "p", "q", "dp", "dq", "qi", "oth", "k"] {
            try self.expect(.confirmation, name) { $0.setKeyMember(name, "AAAA") }
        }
        let whole = try JSONValue(parsing: self.proofKey.privateJWK())
        try self.expect(.confirmation) { $0.claims["cnf"] = ["jwk": whole] }
        for (name, value) in [
            ("x", nil), ("y", "AA"), ("crv", "P-384"), ("kty", "RSA"), ("kty", nil),
        ] as [(String, JSONValue?)] {
            try self.expect(.confirmation, name) { $0.setKeyMember(name, value) }
        }
    }

    @Test("WIT-14: cnf.jwk.alg is one of the nine and fits the key")
    func confirmationAlgorithm() throws {
        for bad: JSONValue? in [nil, "EdDSA", "HS256", "none", "es256", "", 256, "ES384", "RS256"] {
            try self.expect(.confirmation, "\(String(describing: bad))") {
                $0.setKeyMember("alg", bad)
            }
        }
    }

    @Test("WIT-35: every kind of key with every algorithm that fits it may be bound to")
    func confirmationKeys() throws {
        for algorithm in JWSAlgorithm.allCases {
            let key = try ProofKey(generatingFor: algorithm)
            #expect(key.algorithm == algorithm)
            let token = try TestWIT(boundTo: key.confirmationKey, now: self.now)
                .signed(by: self.key)
            let svid = try UnprovenWITSVID(validating: token, bundles: self.bundle, now: self.now)
            #expect(svid.confirmationKey == key.confirmationKey)
        }
    }

    @Test("WIT-16 WIT-24: unknown claims are ignored, and jti is no replay check")
    func otherClaims() throws {
        var shape = TestWIT(boundTo: self.proofKey.confirmationKey, now: self.now)
        shape.claims["jti"] = "1"
        shape.claims["iss"] = "https://elsewhere.test"
        shape.claims["acme.test/x"] = ["deep": [1, 2]]
        let token = try shape.signed(by: self.key)
        try self.expect(nil, token: token)
        try self.expect(nil, token: token)
    }

    @Test("WIT-18: exp is needed; the leeway is two minutes at most")
    func expiry() throws {
        for bad: JSONValue? in [nil, "1800000300", true, .null, 1_800_000_300_000] {
            try self.expect(.claim) { $0.claims["exp"] = bad }
        }
        for (offset, leeway, want) in [
            (0, 60, nil), (-59, 60, nil), (-60, 60, .expired), (-180, 60, .expired),
            (-119, 3600, nil), (-120, 3600, .expired), (-1, 0, .expired), (-1, -60, .expired),
        ] as [(Int64, Int64, WITSVIDError.Code?)] {
            try self.expect(want, "\(offset) \(leeway)", leeway: .seconds(leeway)) {
                $0.claims["exp"] = .int(1_800_000_000 + offset)
            }
        }
    }

    @Test("WIT-19 WIT-21: nbf is honoured; iat never delays the validity")
    func notBefore() throws {
        for (offset, want) in [(-10, nil), (60, nil), (61, .notYetValid), (300, .notYetValid)]
            as [(Int64, WITSVIDError.Code?)]
        {
            try self.expect(want, "\(offset)") { $0.claims["nbf"] = .int(1_800_000_000 + offset) }
        }
        try self.expect(nil) { $0.claims["iat"] = .int(1_800_000_000 + 600) }
        try self.expect(nil) { $0.claims["iat"] = nil }
        for name in ["iat", "nbf"] {
            try self.expect(.claim, name) { $0.claims[name] = "1800000000" }
        }
    }

    @Test("WIT-20: a lifespan over the maximum is refused")
    func lifespan() throws {
        let hour = Duration.seconds(3600)
        try self.expect(nil, maximumLifespan: hour)
        try self.expect(.lifespan, "exp", maximumLifespan: hour) {
            $0.claims["exp"] = .int(1_800_000_000 + 7200)
        }
        try self.expect(.lifespan, "nbf", maximumLifespan: hour) {
            $0.claims["nbf"] = .int(1_800_000_000 - 1)
        }
        try self.expect(.lifespan, "an iat to come does not shorten it", maximumLifespan: hour) {
            $0.claims["exp"] = .int(1_800_000_000 + 7200)
            $0.claims["iat"] = .int(1_800_000_000 + 7100)
        }
        try self.expect(.lifespan, "no iat", maximumLifespan: hour) {
            $0.claims["exp"] = .int(1_800_000_000 + 7200)
            $0.claims["iat"] = nil
        }
    }

    @Test("WIT-23: a token with an audience is refused, whatever it is")
    func audiences() throws {
        for value: JSONValue in ["x", ["x"], "", [], .null] {
            try self.expect(.audience) { $0.claims["aud"] = value }
        }
    }

    @Test("WIT-34: only the WIT authorities of the subject's trust domain count")
    func trustDomains() throws {
        let partner = try TrustDomain("partner.test")
        let stranger = TestTokenKey.p256(.init())
        let bundles = WITBundleSet([
            self.bundle,
            WITBundle(
                trustDomain: partner,
                authorities: ["w1": try JWTVerificationKey(publicKeyDER: stranger.publicKeyDER)]),
        ])
        try self.expect(nil, bundles: bundles)
        try self.expect(.signature, bundles: bundles, key: stranger) {
            $0.claims["iss"] = "spiffe://partner.test"
        }
        try self.expect(nil, bundles: bundles, key: stranger) {
            $0.claims["sub"] = "spiffe://partner.test/x"
        }
        try self.expect(.noBundle, bundles: bundles) {
            $0.claims["sub"] = "spiffe://unknown.test/x"
        }
        try self.expect(.unknownKey, bundles: WITBundle(trustDomain: self.acme, authorities: [:]))
    }

    @Test("ID-26: a WIT-SVID is no JWT-SVID")
    func notJWT() throws {
        var shape = TestWIT(boundTo: self.proofKey.confirmationKey, now: self.now)
        shape.claims["aud"] = ["svc"]
        let token = try shape.signed(by: self.key)
        let bundle = JWTBundle(
            trustDomain: self.acme,
            authorities: ["w1": try JWTVerificationKey(publicKeyDER: self.key.publicKeyDER)])
        #expect {
            try JWTSVID.validate(token, audience: "svc", bundles: bundle, now: self.now)
        } throws: {
            ($0 as? JWTSVIDError)?.code == .type
        }
    }

    @Test("an own WIT-SVID needs the key that it is bound to")
    func own() throws {
        let token = try TestWIT(boundTo: self.proofKey.confirmationKey, now: self.now)
            .signed(by: self.key)
        let svid = try WITSVID(
            token: token, privateJWK: try self.proofKey.privateJWK(), hint: "internal")
        #expect(svid.id.path == "/x" && svid.hint == "internal" && svid.keyID == "w1")
        #expect(svid.issuedAt == self.now)
        #expect(!"\(svid)\(String(reflecting: svid))".contains(token))
        var members = try JSONValue(parsing: try self.proofKey.privateJWK()).objectValue ?? [:]
        members["alg"] = nil
        let plain = String(decoding: JSONValue.object(members).serialized(), as: UTF8.self)
        #expect(try WITSVID(token: token, privateJWK: plain).proofKey.algorithm == .es256)
        let other = try ProofKey(generatingFor: .es256)
        for jwk in [try other.privateJWK(), "", "{}", "[]"] {
            #expect {
                try WITSVID(token: token, privateJWK: jwk)
            } throws: {
                ($0 as? WITSVIDError)?.code == .proofKey
            }
        }
    }

    @Test("no changed byte of a token crashes the reader")
    func robustness() throws {
        let token = Array(
            try TestWIT(boundTo: self.proofKey.confirmationKey, now: self.now)
                .signed(by: self.key).utf8)
        for index in token.indices {
            for byte: UInt8 in [0x2E, 0x41, 0x5F, 0x7A] where byte != token[index] {
                var changed = token
                changed[index] = byte
                let text = String(decoding: changed, as: UTF8.self)
                #expect(throws: WITSVIDError.self) {
                    try UnprovenWITSVID(validating: text, bundles: self.bundle, now: self.now)
                }
            }
        }
    }
}
