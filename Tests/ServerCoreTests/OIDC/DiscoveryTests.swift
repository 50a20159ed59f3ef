import Foundation
import SPIFFE
import ServerTestSupport
import Testing

@testable import ServerCore

@Suite struct DiscoveryTests {
    static func members(_ bytes: [UInt8]) throws -> [String: Any] {
        try #require(JSONSerialization.jsonObject(with: Data(bytes)) as? [String: Any])
    }

    static func document(
        _ site: DiscoverySite, _ host: String, isEncrypted: Bool = true
    ) throws -> (issuer: String, keys: String) {
        let document = try #require(site.document(host: host, isEncrypted: isEncrypted))
        let members = try Self.members(document.bytes)
        return (
            try #require(members["issuer"] as? String), try #require(members["jwks_uri"] as? String)
        )
    }

    @Test func saysWhatDiscoveryRequires() throws {
        let document = try #require(
            DiscoverySite(domains: ["oidc.test"]).document(host: "oidc.test", isEncrypted: true))
        let members = try Self.members(document.bytes)
        #expect(members["issuer"] as? String == "https://oidc.test")
        #expect(members["jwks_uri"] as? String == "https://oidc.test/keys")
        #expect(members["response_types_supported"] as? [String] == ["id_token"])
        #expect(members["subject_types_supported"] as? [String] == ["public"])
        #expect(
            members["id_token_signing_alg_values_supported"] as? [String]
                == ["RS256", "ES256", "ES384"])
        #expect(document.entityTag.count == 34 && document.entityTag.hasPrefix("\""))
    }

    @Test(arguments: [
        ("a.test", "https://a.test", "https://a.test/keys"),
        ("a.test:8443", "https://a.test:8443", "https://a.test:8443/keys"),
        ("A.Test", "https://A.Test", "https://A.Test/keys"),
        ("10.0.0.1", "https://10.0.0.1", "https://10.0.0.1/keys"),
        ("[::1]:443", "https://[::1]:443", "https://[::1]:443/keys"),
        ("[::1]", "https://[::1]", "https://[::1]/keys"),
    ])
    func answersForItsDomains(_ host: String, _ issuer: String, _ keys: String) throws {
        let site = DiscoverySite(domains: ["a.test", "10.0.0.1", "::1"])
        let document = try Self.document(site, host)
        #expect(document.issuer == issuer && document.keys == keys)
    }

    @Test(arguments: [
        "", "b.test", "a.test.", "x.a.test", "a.test:", "a.test:80:80", "a.test:8x",
        "a.test:123456",
        "a.test/", "a.test@b.test", " a.test", "a.test\"", "[::1", "::1", "[::1]x", ":443",
        "a.test:\u{661}",
    ])
    func answersForNoOtherHost(_ host: String) {
        let site = DiscoverySite(domains: ["a.test", "::1"])
        #expect(site.document(host: host, isEncrypted: true) == nil)
    }

    @Test func prefersWhatIsConfigured() throws {
        var site = DiscoverySite(
            domains: ["a.test"], issuer: "https://issuer.test/x", keysURL: "https://cdn.test/k",
            pathPrefix: "/")
        #expect(site.documentPath == "/.well-known/openid-configuration")
        var document = try Self.document(site, "a.test")
        #expect(document.issuer == "https://issuer.test/x" && document.keys == "https://cdn.test/k")
        site = DiscoverySite(domains: ["a.test"], pathPrefix: "one/two/")
        #expect(site.documentPath == "/one/two/.well-known/openid-configuration")
        #expect(site.keysPath == "/one/two/keys")
        document = try Self.document(site, "a.test")
        #expect(
            document.issuer == "https://a.test/one/two"
                && document.keys == "https://a.test/one/two/keys")
    }

    @Test func writesHTTPOnlyWhenAllowedAndTrue() throws {
        var site = DiscoverySite(domains: ["a.test"])
        #expect(try Self.document(site, "a.test", isEncrypted: false).issuer == "https://a.test")
        site.allowsInsecureScheme = true
        #expect(try Self.document(site, "a.test", isEncrypted: false).issuer == "http://a.test")
        #expect(try Self.document(site, "a.test", isEncrypted: true).issuer == "https://a.test")
    }

    /// Made with Python's `cryptography`.
    static let vectors: [(kind: String, der: String, alg: String, members: [String: String])] = [
        (
            "P-256",
            "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEVBMQ88odo0jLvFXVgZueLpfhq5SwEh2jGa9zWUTYn3Tu7RmDBYjaM2+Wpq2sHLZJjpMx4L2xJQgJkDY30TwSaw==",
            "ES256",
            [
                "kty": "EC", "crv": "P-256", "x": "VBMQ88odo0jLvFXVgZueLpfhq5SwEh2jGa9zWUTYn3Q",
                "y": "7u0ZgwWI2jNvlqatrBy2SY6TMeC9sSUICZA2N9E8Ems",
            ]
        ),
        (
            "P-384",
            "MHYwEAYHKoZIzj0CAQYFK4EEACIDYgAEYStT/xgZd8IMaOj1DHzUe+V1O0SyUpMJVrFM9L+Tuuvg7A68gGbkdqc9GFMYPjj9ottQPBh1syzki4oz9i7gv5tjfTk3ytK8EU0+RpW3fhvWImnH31NhyaQdP5XZtNM8",
            "ES384",
            [
                "kty": "EC", "crv": "P-384",
                "x": "YStT_xgZd8IMaOj1DHzUe-V1O0SyUpMJVrFM9L-Tuuvg7A68gGbkdqc9GFMYPjj9",
                "y": "ottQPBh1syzki4oz9i7gv5tjfTk3ytK8EU0-RpW3fhvWImnH31NhyaQdP5XZtNM8",
            ]
        ),
        (
            "RSA",
            "MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAsEu+Lo+sfsOgMMhf1nT8ngACBvBtrajOBl9plLbnC7J/m1aUz/y3zW6QknzMCX4+EUaVMJ8f4VQDGlHE+5LQw119eRZbqQYF2EQ2bqURnsqPlM2GA7ST0g4SgD0WTVmuUwIWpE+36fMd8Rjh5GG7R5lspcokNv66gjYNrFHTyE3nRdAz949smn1XkAKFg+2yETsWTru/MPgptWhzhOaz04Zmf+koiFtc6DnyrzBDLvVqw5jCHgCAxlc48pBipPj/0mUnouQgiTYnisveKZ//TYAFEj6sN+Wlp8e+VH0UEofvjjPPORY1JL4k8CH3SZjTHfULUpRpnEPCEmUmg0BhDwIDAQAB",
            "RS256",
            [
                "kty": "RSA", "e": "AQAB",
                "n":
                    "sEu-Lo-sfsOgMMhf1nT8ngACBvBtrajOBl9plLbnC7J_m1aUz_y3zW6QknzMCX4-EUaVMJ8f4VQDGlHE-5LQw119eRZbqQYF2EQ2bqURnsqPlM2GA7ST0g4SgD0WTVmuUwIWpE-36fMd8Rjh5GG7R5lspcokNv66gjYNrFHTyE3nRdAz949smn1XkAKFg-2yETsWTru_MPgptWhzhOaz04Zmf-koiFtc6DnyrzBDLvVqw5jCHgCAxlc48pBipPj_0mUnouQgiTYnisveKZ__TYAFEj6sN-Wlp8e-VH0UEofvjjPPORY1JL4k8CH3SZjTHfULUpRpnEPCEmUmg0BhDw",
            ]
        ),
    ]

    @Test(arguments: [false, true])
    func writesKeysAsOthersReadThem(_ setsKeyUse: Bool) throws {
        var authorities: [String: JWTVerificationKey] = [:]
        for vector in Self.vectors {
            authorities["key \(vector.kind)"] = try JWTVerificationKey(
                publicKeyDER: [UInt8](try #require(Data(base64Encoded: vector.der))))
        }
        let set = DiscoveryKeySet(
            JWTBundle(trustDomain: try TrustDomain("acme.test"), authorities: authorities),
            setsKeyUse: setsKeyUse)
        let members = try Self.members(set.bytes)
        #expect(Array(members.keys) == ["keys"])
        var want = Self.vectors.map { vector in
            vector.members.merging(["alg": vector.alg, "kid": "key \(vector.kind)"]) { a, _ in a }
        }
        if setsKeyUse { want = want.map { $0.merging(["use": "sig"]) { a, _ in a } } }
        #expect(members["keys"] as? [[String: String]] == want)
    }

    @Test func takesTheKeysOfTheServersOwnBundle() async throws {
        let plane = try await TestPlane()
        let source = DirectoryKeySource(plane.directory)
        let first = try plane.authorities.jwtAuthority().id
        #expect(source.keys()?.authorities.keys.contains(first) == true)
        let version = source.version
        _ = try await plane.store.updateBundle(plane.trustDomain) { bundle in
            // A key that cannot be read does not take the others with it.
            bundle.jwtAuthorities.append(
                .init(keyID: "bad", publicKeyDER: [1, 2, 3], expiresAt: 0))
        }
        #expect(source.version != version)
        #expect(source.keys()?.authorities.keys.contains("bad") == false)
        #expect(source.keys()?.authorities.keys.contains(first) == true)
    }

    @Test func hasNoKeysOfWITSVIDs() async throws {
        let plane = try await TestPlane(authority: .init(issuesWITSVIDs: true))
        let bundle = try #require(plane.directory.ownBundle)
        let witKey = try #require(bundle.witAuthorities.first).keyID
        #expect(DirectoryKeySource(plane.directory).keys()?.authorities[witKey] == nil)
    }
}
