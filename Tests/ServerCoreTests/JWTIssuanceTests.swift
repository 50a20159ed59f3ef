import Foundation
import PluginAPI
import SPIFFE
import ServerCore
import ServerTestSupport
import Testing
import Transparency

/// A row for each kind of key that signs quickly enough to be made in a test.
struct KeyTypeCase: Sendable, CustomTestStringConvertible {
    let type: KeyType
    var testDescription: String { self.type.rawValue }
    static let all = [KeyType.ecP256, .ecP384, .rsa2048].map { KeyTypeCase(type: $0) }
}

@Suite struct JWTIssuanceTests {
    private static func part(_ token: String, _ index: Int) throws -> [String: JSONValue] {
        let parts = token.split(separator: ".", omittingEmptySubsequences: false)
        let json = try Base64URL.decode(String(parts[index]))
        return try #require(try JSONValue(parsing: json).objectValue)
    }

    private static func issue(
        _ plane: TestPlane, audience: [String] = ["a"], ttl: Int32 = 0, jti: Bool = false
    ) async throws -> IssuedJWTSVID {
        try await plane.issuer.issue(
            JWTIssuance(
                spiffeID: try plane.id("/w"), audience: audience, ttl: ttl, includesJTI: jti,
                origin: .mint), requestedBy: "test")
    }

    @Test(arguments: KeyTypeCase.all)
    func `a token keeps the rules JWT-01, 07, 09, 10, 11, 13 and 17`(row: KeyTypeCase) async throws
    {
        let plane = try await TestPlane(
            authority: .init(jwtKeyType: row.type))
        let svid = try await Self.issue(plane, audience: ["a", "", "b"])
        // JWT-01: three parts of base64url without padding.
        let parts = svid.token.split(separator: ".", omittingEmptySubsequences: false)
        #expect(parts.count == 3)
        for part in parts {
            #expect(!part.isEmpty)
            #expect(
                part.allSatisfy {
                    $0.isASCII && ($0.isLetter || $0.isNumber || $0 == "-" || $0 == "_")
                })
        }
        // JWT-07: no header parameter besides these.
        let header = try Self.part(svid.token, 0)
        #expect(Set(header.keys).isSubset(of: ["alg", "kid", "typ"]))
        // JWT-10: a type that every validator takes.
        #expect(header["typ"] == .string("JWT"))
        // JWT-09: the key ID is that of a bundle entry.
        let authorities = try #require(plane.directory.ownBundle).jwtAuthorities
        #expect(authorities.map { JSONValue.string($0.keyID) } == [header["kid"]])
        // JWT-11: the subject is the SPIFFE ID.
        let claims = try Self.part(svid.token, 1)
        #expect(claims["sub"] == .string("spiffe://acme.test/w"))
        // JWT-13: at least one audience; empty ones are dropped.
        #expect(claims["aud"] == .array([.string("a"), .string("b")]))
        // JWT-17: the end is a whole number.
        #expect(claims["exp"] == .int(svid.expiresAt))
        #expect(claims["iat"] == .int(svid.issuedAt))
        #expect(claims["jti"] == nil && claims["iss"] == nil)
    }

    @Test func `JWT-16: a token for one audience is for that one alone`() async throws {
        let plane = try await TestPlane()
        let claims = try Self.part(try await Self.issue(plane, audience: ["svc"]).token, 1)
        #expect(claims["aud"] == .array([.string("svc")]))
    }

    @Test(arguments: [[], [""], ["", ""]] as [[String]])
    func `JWT-13: without an audience there is no token`(audience: [String]) async throws {
        let plane = try await TestPlane()
        let error = await #expect(throws: ServerError.self) {
            try await Self.issue(plane, audience: audience)
        }
        #expect(error?.code == .invalidArgument)
        #expect(plane.recorder.issued.isEmpty)
        #expect(plane.recorder.refused.map(\.reason) == ["invalid_request"])
    }

    @Test func `texts with any character come back from the claims as they were`() async throws {
        let every = String(String.UnicodeScalarView((0..<0x100).compactMap(Unicode.Scalar.init)))
        let plane = try await TestPlane(settings: .init(jwtIssuer: "https://i\"s\\s/\u{1}"))
        let audience = [every, "\u{2028}</script>🦢", "e\u{301}", "\u{FFFF}", "\\u0000", "\r\n"]
        let svid = try await Self.issue(plane, audience: audience)
        let claims = try Self.part(svid.token, 1)
        let texts = try #require(claims["aud"]?.arrayValue).compactMap(\.stringValue)
        #expect(texts.map { Array($0.unicodeScalars) } == audience.map { Array($0.unicodeScalars) })
        #expect(claims["iss"] == .string("https://i\"s\\s/\u{1}"))
    }

    @Test func `a token ends with its authority at the latest`() async throws {
        let plane = try await TestPlane(authority: .init(authorityTTL: .seconds(1_000)))
        let now = plane.clock.unixTime
        for (ttl, life) in [
            (Int32(0), Int64(300)), (10, 10), (1_000, 1_000), (1_001, 1_000), (.max, 1_000),
        ] {
            #expect(try await Self.issue(plane, ttl: ttl).expiresAt == now + life)
        }
    }

    @Test func `the token ID is 16 fresh bytes, only when asked for, and is recorded`() async throws
    {
        let plane = try await TestPlane()
        let one = try Self.part(try await Self.issue(plane, jti: true).token, 1)
        let two = try Self.part(try await Self.issue(plane, jti: true).token, 1)
        let text = try #require(one["jti"]?.stringValue)
        #expect(try Base64URL.decode(text).count == 16)
        #expect(one["jti"] != two["jti"])
        #expect(plane.recorder.issued.suffix(2).first?.jti == text)
    }

    @Test func `a token verifies with the key of the bundle`() async throws {
        let plane = try await TestPlane()
        let svid = try await Self.issue(plane)
        let authority = try #require(plane.directory.ownBundle?.jwtAuthorities.first)
        let bundle = JWTBundle(
            trustDomain: plane.trustDomain,
            authorities: [
                authority.keyID: try JWTVerificationKey(publicKeyDER: authority.publicKeyDER)
            ])
        let verified = try JWTSVID.validate(
            svid.token, audience: "a", bundles: bundle, now: plane.clock.now())
        #expect(verified.id == svid.spiffeID)
    }

    @Test func `IDs without path or of another trust domain are refused`() async throws {
        let plane = try await TestPlane()
        for text in ["spiffe://acme.test", "spiffe://evil.test/w"] {
            let issuance = JWTIssuance(
                spiffeID: try SPIFFEID(text), audience: ["a"], origin: .mint)
            let error = await #expect(throws: ServerError.self) {
                try await plane.issuer.issue(issuance, requestedBy: "test")
            }
            #expect(error?.code == .invalidArgument)
        }
    }

    @Test func `with JWT-SVIDs disabled the answer is unimplemented and no key is made`()
        async throws
    {
        let plane = try await TestPlane(authority: .init(issuesJWTSVIDs: false))
        let error = await #expect(throws: ServerError.self) { try await Self.issue(plane) }
        #expect(error?.code == .unimplemented)
        #expect(plane.directory.ownBundle?.jwtAuthorities.isEmpty == true)
    }
}
