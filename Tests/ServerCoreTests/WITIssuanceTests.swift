import Foundation
import PluginAPI
import SPIFFE
import ServerCore
import ServerTestSupport
import Testing
import Transparency

@Suite struct WITIssuanceTests {
    private static func plane(
        type: KeyType = .ecP256, ttl: Int64 = 86_400, issuer: String? = nil
    ) async throws -> TestPlane {
        try await TestPlane(
            settings: .init(witIssuer: issuer),
            authority: .init(
                authorityTTL: .seconds(ttl), witKeyType: type, issuesWITSVIDs: true))
    }

    private static func part(_ token: String, _ index: Int) throws -> [String: JSONValue] {
        let parts = token.split(separator: ".", omittingEmptySubsequences: false)
        let json = try Base64URL.decode(String(parts[index]))
        return try #require(try JSONValue(parsing: json).objectValue)
    }

    private static func issue(
        _ plane: TestPlane, key: ProofKey? = nil, path: String = "/w", ttl: Int32 = 0
    ) async throws -> IssuedWITSVID {
        let key = try key ?? ProofKey(generatingFor: .es256)
        return try await plane.issuer.issue(
            WITIssuance(
                spiffeID: try plane.id(path), confirmationKey: key.confirmationKey, ttl: ttl,
                origin: .mint), requestedBy: "test")
    }

    private static func witBundle(_ plane: TestPlane) throws -> WITBundle {
        let authorities = try #require(plane.directory.ownBundle).witAuthorities
        return WITBundle(
            trustDomain: plane.trustDomain,
            authorities: Dictionary(
                uniqueKeysWithValues: try authorities.map {
                    ($0.keyID, try JWTVerificationKey(publicKeyDER: $0.publicKeyDER))
                }))
    }

    @Test(arguments: KeyTypeCase.all)
    func `a token keeps the rules WIT-01, 02, 05, 06, 08, 10, 11, 13, 14, 17, 22 and 23`(
        row: KeyTypeCase
    ) async throws {
        let plane = try await Self.plane(type: row.type)
        let key = try ProofKey(generatingFor: .es384)
        let svid = try await Self.issue(plane, key: key)
        // WIT-01: three parts of base64url without padding.
        let parts = svid.token.split(separator: ".", omittingEmptySubsequences: false)
        #expect(parts.count == 3 && parts.allSatisfy { !$0.isEmpty && !$0.contains("=") })
        // WIT-08: no header parameter besides these; WIT-05, WIT-02, WIT-06.
        let header = try Self.part(svid.token, 0)
        #expect(Set(header.keys) == ["alg", "kid", "typ"])
        #expect(header["typ"] == "wit+jwt")
        let authorities = try #require(plane.directory.ownBundle).witAuthorities
        #expect(authorities.map { JSONValue.string($0.keyID) } == [header["kid"]])
        let algorithm = try #require(header["alg"]?.stringValue)
        #expect(JWSAlgorithm(rawValue: algorithm) != nil)
        // WIT-10, WIT-11, WIT-13, WIT-14, WIT-17; WIT-22 and WIT-23: neither issuer nor audience.
        let claims = try Self.part(svid.token, 1)
        #expect(Set(claims.keys) == ["sub", "exp", "iat", "cnf"])
        #expect(claims["sub"] == "spiffe://acme.test/w")
        #expect(claims["exp"] == .int(svid.expiresAt) && claims["iat"] == .int(svid.issuedAt))
        #expect(claims["cnf"] == ["jwk": .object(key.confirmationKey.jwk)])
        #expect(claims["cnf"]?["jwk"]?["alg"] == "ES384")
        #expect(claims["cnf"]?["jwk"]?["d"] == nil)
        // The validator of the SDK takes it, as what it is and not as a JWT-SVID.
        let bundle = try Self.witBundle(plane)
        let unproven = try UnprovenWITSVID(
            validating: svid.token, bundles: bundle, now: plane.clock.now())
        #expect(unproven.claimedID == svid.spiffeID)
        #expect(unproven.confirmationKey == key.confirmationKey)
        #expect(throws: JWTSVIDError.self) { try JWTSVID.unverified(svid.token) }
    }

    @Test func `the issuer is a claim only when there is one`() async throws {
        let plane = try await Self.plane(issuer: "urn:acme\"wit")
        let claims = try Self.part(try await Self.issue(plane).token, 1)
        #expect(claims["iss"] == "urn:acme\"wit")
    }

    @Test func `a WIT-SVID lives an hour, or as asked for, and ends with its authority`()
        async throws
    {
        let plane = try await Self.plane(ttl: 10_000)
        let now = plane.clock.unixTime
        for (ttl, life) in [
            (Int32(0), Int64(3_600)), (10, 10), (10_000, 10_000), (10_001, 10_000), (.max, 10_000),
        ] {
            #expect(try await Self.issue(plane, ttl: ttl).expiresAt == now + life)
        }
    }

    @Test func `each WIT-SVID is recorded before it is released`() async throws {
        let plane = try await Self.plane()
        let svid = try await Self.issue(plane)
        let leaf = try #require(plane.recorder.issued.last)
        #expect(leaf.svidType == .wit && leaf.spiffeID == svid.spiffeID)
        #expect(leaf.authorityID == (try plane.authorities.witAuthority().id))
        #expect(leaf.svidDigest == ProofRequest.sha256(of: Array(svid.token.utf8)))
        #expect(leaf.notAfter == LeafTime(seconds: svid.expiresAt) && leaf.entryID == nil)
        plane.recorder.fail(ServerError(.unavailable, "disk is full"))
        await #expect(throws: ServerError.self) { try await Self.issue(plane) }
    }

    @Test func `many are recorded together, and one that is refused stops none`() async throws {
        let plane = try await Self.plane()
        let key = try ProofKey(generatingFor: .es256).confirmationKey
        let appends = plane.recorder.appends
        let results = try await plane.issuer.issue(
            try [
                "spiffe://acme.test/a", "spiffe://evil.test/b", "spiffe://acme.test",
                "spiffe://acme.test/c",
            ].map {
                WITIssuance(
                    spiffeID: try SPIFFEID($0), confirmationKey: key, origin: .mint)
            }, requestedBy: "test")
        #expect(results.map { (try? $0.get()) != nil } == [true, false, false, true])
        #expect(plane.recorder.appends == appends + 1)
    }

    @Test func `STB-01: without the switch the answer is unimplemented`() async throws {
        let plane = try await TestPlane()
        let error = await #expect(throws: ServerError.self) { try await Self.issue(plane) }
        #expect(error?.code == .unimplemented)
        #expect(throws: ServerError.self) { try plane.issuer.requireWITSVIDs() }
    }

    @Test func `WIT-14: keys and algorithms of requests must fit`() throws {
        let key = try ProofKey(generatingFor: .es256).confirmationKey.publicKey.publicKeyDER
        #expect(try ConfirmationKey(publicKeyDER: key, algorithm: "ES256").algorithm == .es256)
        for (der, algorithm) in [
            (key, ""), (key, "ES384"), (key, "EdDSA"), (key, "none"), (key, "es256"),
            ([], "ES256"), ([1], "ES256"), (key + [0], "ES256"),
            ([UInt8](repeating: 0, count: 5_000), "ES256"),
        ] as [([UInt8], String)] {
            let error = #expect(throws: ServerError.self) {
                try ConfirmationKey(publicKeyDER: der, algorithm: algorithm)
            }
            #expect(error?.code == .invalidArgument)
        }
    }
}
