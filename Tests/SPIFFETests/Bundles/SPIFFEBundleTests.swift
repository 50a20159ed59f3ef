import Crypto
import CryptoExtras
import Foundation
import SPIFFE
import Testing
import X509

@Suite("SPIFFEBundle and JWTBundle")
struct SPIFFEBundleTests {
    private let acme: TrustDomain
    private let root: TestCertificate
    private let second: TestCertificate
    private let key = TestTokenKey.p256(P256.Signing.PrivateKey())
    private let full: SPIFFEBundle

    init() throws {
        self.acme = try TrustDomain("acme.test")
        self.root = try TestCertificate(.authority("one"))
        self.second = try TestCertificate(
            .authority("two") { $0.key = .init(P384.Signing.PrivateKey()) })
        self.full = try SPIFFEBundle(
            trustDomain: self.acme, x509Authorities: [self.root.der, self.second.der],
            jwtAuthorities: [JWTAuthorityKey(keyID: "k1", publicKeyDER: self.key.publicKeyDER)],
            refreshHint: .seconds(300), sequenceNumber: 7)
    }

    private func read(_ json: String) throws -> SPIFFEBundle {
        try SPIFFEBundle(trustDomain: self.acme, json: Array(json.utf8))
    }

    /// The document of ``full`` as a value to change.
    private func document(
        _ change: (inout [String: JSONValue], inout [[String: JSONValue]]) -> Void
    ) throws -> String {
        guard var members = try JSONValue(parsing: self.full.json()).objectValue else { return "" }
        var keys = (members["keys"]?.arrayValue ?? []).compactMap(\.objectValue)
        change(&members, &keys)
        members["keys"] = members["keys"].map { _ in .array(keys.map(JSONValue.object)) }
        return String(decoding: JSONValue.object(members).serialized(), as: UTF8.self)
    }

    private func code(_ json: String) -> BundleError.Code? {
        do {
            _ = try self.read(json)
            return nil
        } catch {
            return (error as? BundleError)?.code
        }
    }

    @Test("what is written reads back the same, byte for byte")
    func roundTrip() throws {
        let again = try SPIFFEBundle(trustDomain: self.acme, json: self.full.json())
        #expect(again == self.full)
        #expect(again.json() == self.full.json())
        #expect(again.x509Bundle.authorities == [self.root.certificate, self.second.certificate])
    }

    @Test("BND-01 BND-02 BND-05 BND-09 BND-14 BND-16 BND-18: the written document")
    func written() throws {
        let document = try JSONValue(parsing: self.full.json())
        #expect(
            Set(document.objectValue?.keys.map { $0 } ?? []) == [
                "keys", "spiffe_sequence", "spiffe_refresh_hint",
            ])
        #expect(document["spiffe_sequence"] == 7)
        #expect(document["spiffe_refresh_hint"] == 300)
        let keys = document["keys"]?.arrayValue ?? []
        #expect(keys.count == 3)
        #expect(
            keys.compactMap { $0["use"]?.stringValue } == ["x509-svid", "x509-svid", "jwt-svid"])
        #expect(
            Set(keys[0].objectValue?.keys.map { $0 } ?? []) == [
                "kty", "crv", "x", "y", "use", "x5c",
            ])
        #expect(
            Set(keys[2].objectValue?.keys.map { $0 } ?? []) == [
                "kty", "crv", "x", "y", "use", "kid",
            ])
    }

    @Test("X509-32 X509-33 X509-34 X509-35: X.509 authorities as written")
    func writtenX509() throws {
        let keys = try JSONValue(parsing: self.full.json())["keys"]?.arrayValue ?? []
        for (key, authority) in zip(keys, [self.root, self.second]) {
            #expect(key["kid"] == nil)
            #expect(key["x5c"]?.arrayValue?.count == 1)
            #expect(key["x5c"] == .array([.string(Data(authority.der).base64EncodedString())]))
        }
        guard let point = P256.Signing.PublicKey(self.root.certificate.publicKey)?.rawRepresentation
        else { return }
        #expect(keys[0]["crv"] == "P-256")
        #expect(try Base64URL.decode(keys[0]["x"]?.stringValue ?? "") == Array(point.prefix(32)))
        #expect(try Base64URL.decode(keys[0]["y"]?.stringValue ?? "") == Array(point.suffix(32)))
        #expect(keys[1]["crv"] == "P-384")
        #expect(try Base64URL.decode(keys[1]["x"]?.stringValue ?? "").count == 48)
    }

    @Test("X509-35: RSA, P-521 and Ed25519 authorities have the members of their key")
    func otherKeys() throws {
        let rsa = try _RSA.Signing.PrivateKey(keySize: .bits2048)
        let roots = [
            try TestCertificate(.authority("rsa") { $0.key = .init(rsa) }),
            try TestCertificate(.authority("p521") { $0.key = .init(P521.Signing.PrivateKey()) }),
            try TestCertificate(
                .authority("ed") { $0.key = .init(Curve25519.Signing.PrivateKey()) }),
        ]
        let bundle = try SPIFFEBundle(trustDomain: self.acme, x509Authorities: roots.map(\.der))
        let keys = try JSONValue(parsing: bundle.json())["keys"]?.arrayValue ?? []
        #expect(keys.compactMap { $0["kty"]?.stringValue } == ["RSA", "EC", "OKP"])
        let modulus = try Base64URL.decode(keys[0]["n"]?.stringValue ?? "")
        #expect(modulus.count == 256 && modulus.first != 0)
        #expect(keys[0]["e"] == "AQAB")
        #expect(try Base64URL.decode(keys[1]["x"]?.stringValue ?? "").count == 66)
        #expect(try Base64URL.decode(keys[2]["x"]?.stringValue ?? "").count == 32)
        #expect(try SPIFFEBundle(trustDomain: self.acme, json: bundle.json()) == bundle)
    }

    @Test("X509-32: only the certificate itself is published, self-signed or not")
    func upstreamAuthority() throws {
        let below = try TestCertificate(.authority("below"), issuer: self.root)
        let bundle = try SPIFFEBundle(trustDomain: self.acme, x509Authorities: [below.der])
        #expect(
            try SPIFFEBundle(trustDomain: self.acme, json: bundle.json()).x509Authorities == [
                below.der
            ])
    }

    @Test("JWT-26 JWT-27: JWT authorities have a kid that is unique")
    func writtenJWT() throws {
        let two = try SPIFFEBundle(
            trustDomain: self.acme,
            jwtAuthorities: ["a", "b"].map {
                JWTAuthorityKey(keyID: $0, publicKeyDER: self.key.publicKeyDER)
            })
        let keys = try JSONValue(parsing: two.json())["keys"]?.arrayValue ?? []
        #expect(keys.compactMap { $0["kid"]?.stringValue } == ["a", "b"])
        #expect(keys.compactMap { $0["use"]?.stringValue } == ["jwt-svid", "jwt-svid"])
        for keyIDs in [[""], ["a", "a"]] {
            #expect {
                try SPIFFEBundle(
                    trustDomain: self.acme,
                    jwtAuthorities: keyIDs.map {
                        JWTAuthorityKey(keyID: $0, publicKeyDER: self.key.publicKeyDER)
                    })
            } throws: { ($0 as? BundleError)?.code == .keyID }
        }
        #expect {
            try SPIFFEBundle(
                trustDomain: self.acme,
                jwtAuthorities: [JWTAuthorityKey(keyID: "a", publicKeyDER: [1])])
        } throws: { ($0 as? BundleError)?.code == .malformedAuthority }
        #expect {
            try SPIFFEBundle(trustDomain: self.acme, x509Authorities: [[1]])
        } throws: { ($0 as? BundleError)?.code == .malformedAuthority }
    }

    @Test("BND-01 BND-02: what is no JWK Set is refused")
    func malformed() {
        for text in ["", "[]", "\"\"", "{", "nope"] { #expect(self.code(text) == .malformed) }
        for text in ["{}", #"{"keys":null}"#, #"{"keys":{}}"#, #"{"keys":""}"#] {
            #expect(self.code(text) == .noKeys)
        }
        #expect(self.code(#"{"keys":[],"keys":[]}"#) == .malformed)
    }

    @Test(
        "BND-03 BND-13: an empty set is valid, unknown members are ignored, and it writes keys as []"
    )
    func empty() throws {
        let bundle = try self.read(#"{"x":{},"keys":[]}"#)
        #expect(bundle.x509Authorities.isEmpty && bundle.jwtAuthorities.isEmpty)
        #expect(bundle.refreshHint == nil && bundle.sequenceNumber == nil)
        #expect(bundle.json() == Array(#"{"keys":[]}"#.utf8))
        #expect(bundle.jwtBundle.jwks() == Array(#"{"keys":[]}"#.utf8))
    }

    @Test("BND-04 X509-39 JWT-29: without a usable key nothing of the trust domain is trusted")
    func nothingUsable() async throws {
        let bundle = try self.read(
            try self.document { _, keys in
                for index in keys.indices { keys[index]["use"] = "sig" }
            })
        #expect(bundle.x509Authorities.isEmpty && bundle.jwtAuthorities.isEmpty)
        let leaf = try TestCertificate(.leaf("spiffe://acme.test/x"), issuer: self.root)
        await #expect {
            try await X509SVIDVerifier(bundles: bundle.x509Bundle).verify(chainDER: [leaf.der])
        } throws: {
            ($0 as? X509SVIDError)?.code == .untrusted
        }
        let token = try TestToken().signed(by: self.key)
        #expect(throws: JWTSVIDError.self) {
            try JWTSVID.validate(token, audience: "svc", bundles: bundle.jwtBundle)
        }
        // With the keys in place both are good.
        #expect(
            try await X509SVIDVerifier(bundles: self.full.x509Bundle).verify(chainDER: [leaf.der])
                .id.path == "/x")
        #expect(
            try JWTSVID.validate(token, audience: "svc", bundles: self.full.jwtBundle).id.path
                == "/x")
    }

    @Test("BND-08: the sequence number is exact up to 64 bits")
    func sequence() throws {
        for number in ["0", "9007199254740993", "18446744073709551615", "9223372036854775808"] {
            let bundle = try self.read(#"{"keys":[],"spiffe_sequence":\#(number)}"#)
            #expect(bundle.sequenceNumber.map { String($0) } == number)
            #expect(try SPIFFEBundle(trustDomain: self.acme, json: bundle.json()) == bundle)
        }
        for bad in ["18446744073709551616", "-1", "1.5", "1e3", "\"1\"", "null", "true"] {
            #expect(self.code(#"{"keys":[],"spiffe_sequence":\#(bad)}"#) == .sequence, "\(bad)")
        }
    }

    @Test("BND-10 BND-11 BND-12: hints are whole seconds, written so, and clamped for polling")
    func hints() throws {
        func bundle(_ hint: String) throws -> SPIFFEBundle {
            try self.read(#"{"keys":[],"spiffe_refresh_hint":\#(hint)}"#)
        }
        let rows: [(String, Duration?, Duration)] = [
            ("300", .seconds(300), .seconds(300)), ("0", .seconds(0), .seconds(60)),
            ("1", .seconds(1), .seconds(60)), ("-5", .seconds(0), .seconds(60)),
            ("1000000000000", .seconds(1_000_000_000_000), .seconds(86400)),
            ("18446744073709551615", .seconds(Int64.max), .seconds(86400)),
            ("1.5", nil, .seconds(300)),
            ("\"300\"", nil, .seconds(300)), ("null", nil, .seconds(300)),
        ]
        for (text, hint, interval) in rows {
            #expect(try bundle(text).refreshHint == hint, "\(text)")
            #expect(try bundle(text).refreshInterval() == interval, "\(text)")
        }
        #expect(try self.read(#"{"keys":[]}"#).refreshInterval() == .seconds(300))
        let odd = try SPIFFEBundle(trustDomain: self.acme, refreshHint: .milliseconds(1500))
        #expect(odd.json() == Array(#"{"keys":[],"spiffe_refresh_hint":2}"#.utf8))
        #expect(try bundle("-5").json() == Array(#"{"keys":[],"spiffe_refresh_hint":0}"#.utf8))
    }

    @Test("BND-15 BND-17: a key of unknown kty, or of missing or unknown use, is ignored alone")
    func ignoredKeys() throws {
        let changes: [(inout [String: JSONValue]) -> Void] = [
            { $0["kty"] = "AKP" }, { $0["kty"] = nil }, { $0["kty"] = 1 }, { $0["use"] = "sig" },
            { $0["use"] = "JWT-SVID" }, { $0["use"] = "X509-SVID" }, { $0["use"] = nil },
            { $0["use"] = 1 },
            { $0["use"] = "WIT-SVID" },
        ]
        for change in changes {
            for target in 0..<3 {
                let text = try self.document { _, keys in change(&keys[target]) }
                var reasons: [String] = []
                let bundle = try SPIFFEBundle(trustDomain: self.acme, json: Array(text.utf8)) {
                    reasons.append($0)
                }
                #expect(bundle.x509Authorities.count + bundle.jwtAuthorities.count == 2)
                #expect(reasons.count == 1 && reasons[0].hasPrefix("key \(target) ignored"))
            }
        }
        let odd = try self.read(#"{"keys":[1,null,[],"x",{}]}"#)
        #expect(odd.x509Authorities.isEmpty && odd.jwtAuthorities.isEmpty)
    }

    @Test("X509-37: an x509-svid entry without usable x5c is ignored alone")
    func withoutCertificate() throws {
        let good = Base64.encode(self.root.der)
        let bad: [JSONValue?] = [
            nil, [], "", .null, [1], [""], ["!!!!"], .array([.string(good + "\n")]),
            .array([.string(good.replacing("=", with: ""))]), ["AAAA"],
        ]
        for value in bad {
            let text = try self.document { _, keys in keys[0]["x5c"] = value }
            if value == .array([.string(good.replacing("=", with: ""))]), !good.hasSuffix("=") {
                continue
            }
            #expect(
                try self.read(text).x509Authorities == [self.second.der],
                "\(String(describing: value))")
        }
    }

    @Test("X509-38: only the first x5c value counts")
    func firstCertificate() throws {
        let third = try TestCertificate(.authority("three"))
        let text = try self.document { _, keys in
            keys[0]["x5c"] = .array([
                .string(Base64.encode(self.root.der)), .string(Base64.encode(third.der)),
            ])
        }
        #expect(try self.read(text).x509Authorities == [self.root.der, self.second.der])
    }

    @Test("X509-35: key members that differ from the certificate do not matter when reading")
    func differingMembers() throws {
        let text = try self.document { _, keys in keys[0]["x"] = "AA" }
        #expect(try self.read(text).x509Authorities.count == 2)
    }

    @Test("JWT-27 JWT-28: JWT authorities need a kid and use jwt-svid; bad keys are ignored alone")
    func jwtKeys() throws {
        let changes: [(inout [String: JSONValue]) -> Void] = [
            { $0["kid"] = nil }, { $0["kid"] = "" }, { $0["kid"] = 1 }, { $0["x"] = nil },
            { $0["x"] = "AA" },
            { $0["x"] = $0["y"] }, { $0["crv"] = "P-999" }, { $0["crv"] = "P-384" },
            { $0["y"] = .string(($0["y"]?.stringValue ?? "") + "=") }, { $0["use"] = "x509-svid" },
            { $0["use"] = "wit-svid" },
        ]
        for change in changes {
            let bundle = try self.read(try self.document { _, keys in change(&keys[2]) })
            #expect(bundle.jwtAuthorities.isEmpty)
            #expect(bundle.jwtBundle.authorities.isEmpty)
            #expect(bundle.x509Authorities.count == 2)
        }
        let twice = try self.read(try self.document { _, keys in keys.append(keys[2]) })
        #expect(twice.jwtAuthorities.count == 1)
    }

    @Test("BND-19 BND-20 FED-35: bundles are kept by trust domain and replaced whole")
    func sets() throws {
        let partner = try TrustDomain("partner.test")
        var x509 = X509BundleSet()
        var jwt = JWTBundleSet()
        x509.set(self.full.x509Bundle)
        jwt.set(self.full.jwtBundle)
        #expect(x509.x509Bundle(for: self.acme) == self.full.x509Bundle)
        #expect(x509.x509Bundle(for: partner) == nil)
        #expect(jwt.jwtBundle(for: self.acme) == self.full.jwtBundle)
        #expect(jwt.jwtBundle(for: partner) == nil)
        let empty = try SPIFFEBundle(trustDomain: self.acme)
        x509.set(empty.x509Bundle)
        jwt.set(empty.jwtBundle)
        #expect(x509.x509Bundle(for: self.acme)?.authorities.isEmpty == true)
        #expect(jwt.jwtBundle(for: self.acme)?.authorities.isEmpty == true)
        x509.remove(self.acme)
        jwt.remove(self.acme)
        #expect(x509.bundles.isEmpty && jwt.bundles.isEmpty)
    }

    @Test("WAPI-22: X.509 authorities verify no token, and JWT authorities no certificate")
    func kinds() async throws {
        guard case .p256(let key) = self.key else { return }
        // One key for both, once published as the one and once as the other.
        let root = try TestCertificate(.authority("one") { $0.key = .init(key) })
        let leaf = try TestCertificate(.leaf("spiffe://acme.test/x"), issuer: root)
        let token = try TestToken().signed(by: self.key)
        let x509 = try SPIFFEBundle(trustDomain: self.acme, x509Authorities: [root.der])
        let jwt = try SPIFFEBundle(
            trustDomain: self.acme,
            jwtAuthorities: [JWTAuthorityKey(keyID: "k1", publicKeyDER: self.key.publicKeyDER)])
        #expect(
            try await X509SVIDVerifier(bundles: x509.x509Bundle).verify(chainDER: [leaf.der]).id
                .path == "/x")
        #expect(throws: JWTSVIDError.self) {
            try JWTSVID.validate(token, audience: "svc", bundles: x509.jwtBundle)
        }
        #expect(
            try JWTSVID.validate(token, audience: "svc", bundles: jwt.jwtBundle).id.path == "/x")
        await #expect {
            try await X509SVIDVerifier(bundles: jwt.x509Bundle).verify(chainDER: [leaf.der])
        } throws: {
            ($0 as? X509SVIDError)?.code == .untrusted
        }
    }

    @Test("WAPI-37 WAPI-38: use left out or jwt-svid, others filtered, kid needed")
    func workloadAPIForm() throws {
        let rsa = try JWTVerificationKey(
            publicKeyDER: TestTokenKey.rsa(try .init(keySize: .bits2048)).publicKeyDER)
        let elliptic = try JWTVerificationKey(publicKeyDER: self.key.publicKeyDER)
        let bundle = JWTBundle(trustDomain: self.acme, authorities: ["b": rsa, "a": elliptic])
        let again = try JWTBundle(trustDomain: self.acme, jwks: bundle.jwks())
        #expect(again == bundle)
        let keys = try JSONValue(parsing: bundle.jwks())["keys"]?.arrayValue ?? []
        #expect(keys.compactMap { $0["kid"]?.stringValue } == ["a", "b"])
        #expect(keys.allSatisfy { $0["use"] == nil })
        let mixed = try JWTBundle(trustDomain: self.acme, jwks: self.full.json())
        #expect(Array(mixed.authorities.keys) == ["k1"])
        #expect(throws: BundleError.self) {
            try JWTBundle(trustDomain: self.acme, jwks: Array("{}".utf8))
        }
    }

    @Test("no single changed byte of a document crashes the reader")
    func robustness() throws {
        let json = try SPIFFEBundle(
            trustDomain: self.acme,
            jwtAuthorities: [JWTAuthorityKey(keyID: "k1", publicKeyDER: self.key.publicKeyDER)],
            refreshHint: .seconds(1), sequenceNumber: 1
        ).json()
        for index in json.indices {
            for byte: UInt8 in [0, 0x22, 0x2D, 0x30, 0x5B, 0x5C, 0x7D, 0xFF] {
                var changed = json
                changed[index] = byte
                _ = try? SPIFFEBundle(trustDomain: self.acme, json: changed)
            }
        }
    }
}
