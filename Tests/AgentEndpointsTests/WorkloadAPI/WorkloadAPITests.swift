import AgentCore
import ControlPlaneProto
import Crypto
import Foundation
import GRPCCore
import GRPCNIOTransportHTTP2Posix
import SPIFFE
import SwiftProtobuf
import Testing
import WorkloadAPIProto
import X509

@testable import AgentEndpoints

private let security: Metadata = ["workload.spiffe.io": "true"]

@Suite("Workload API on a socket", .timeLimit(.minutes(1)))
struct WorkloadAPITests {
    private func firstX509(_ client: TestAgent.Client) async throws -> X509SVIDResponse? {
        try await client.fetchX509SVID(.init(), metadata: security) { response in
            for try await message in response.messages { return message }
            return nil
        }
    }

    @Test(
        "WEP-06: without the security header nothing is done",
        arguments: [
            [], ["TRUE"], ["True"], ["1"], [""], ["true", "true"],
        ])
    func header(values: [String]) async throws {
        let agent = try TestAgent()
        agent.synchronise([try TestAgent.entry("a")])
        try await agent.run { client, _ in
            var metadata = Metadata()
            for value in values { metadata.addString(value, forKey: "workload.spiffe.io") }
            #expect(
                await code {
                    try await client.fetchX509SVID(.init(), metadata: metadata) {
                        try await drain($0)
                    }
                } == .invalidArgument)
            #expect(
                await code {
                    _ = try await client.fetchJWTSVID(
                        .with { $0.audience = ["x"] }, metadata: metadata)
                } == .invalidArgument)
        }
    }

    @Test("WEP-16: UNAVAILABLE before the first synchronisation, and not serving")
    func notReady() async throws {
        let agent = try TestAgent()
        try await agent.run { client, raw in
            #expect(await code { _ = try await self.firstX509(client) } == .unavailable)
            let health = Grpc_Health_V1_Health.Client(wrapping: raw)
            let before = try await health.check(.init()).status
            #expect(before == .notServing)
            agent.synchronise([])
            let after = try await health.check(.init()).status
            #expect(after == .serving)
        }
    }

    @Test("WEP-18, WAPI-26, WAPI-34: a caller without identity is denied on every method")
    func denied() async throws {
        let agent = try TestAgent()
        agent.synchronise([try TestAgent.entry("a", selector: "unix:uid:other")])
        try await agent.run { client, _ in
            #expect(await code { _ = try await self.firstX509(client) } == .permissionDenied)
            #expect(
                await code {
                    try await client.fetchX509Bundles(.init(), metadata: security) {
                        try await drain($0)
                    }
                } == .permissionDenied)
            #expect(
                await code {
                    try await client.fetchJWTBundles(.init(), metadata: security) {
                        try await drain($0)
                    }
                } == .permissionDenied)
            #expect(
                await code {
                    _ = try await client.fetchJWTSVID(
                        .with { $0.audience = ["x"] }, metadata: security)
                } == .permissionDenied)
        }
    }

    @Test("WAPI-03, STB-01: the WIT methods are unimplemented unless they are switched on")
    func wit() async throws {
        let agent = try TestAgent()
        agent.synchronise([try TestAgent.entry("a")])
        try await agent.run { client, _ in
            #expect(
                await code {
                    try await client.fetchWITSVID(.init(), metadata: security) {
                        try await drain($0)
                    }
                } == .unimplemented)
            #expect(
                await code {
                    try await client.fetchWITBundles(.init(), metadata: security) {
                        try await drain($0)
                    }
                } == .unimplemented)
        }
    }

    @Test("WAPI-14: a mandatory field at its default is INVALID_ARGUMENT")
    func mandatory() async throws {
        let agent = try TestAgent()
        agent.synchronise([try TestAgent.entry("a")])
        try await agent.run { client, _ in
            let calls: [() async throws -> Void] = [
                { _ = try await client.fetchJWTSVID(.init(), metadata: security) },
                {
                    _ = try await client.fetchJWTSVID(
                        .with { $0.audience = [""] }, metadata: security)
                },
                {
                    _ = try await client.fetchJWTSVID(
                        .with {
                            $0.audience = ["x"]
                            $0.spiffeID = "acme.test/x"
                        }, metadata: security)
                },
                {
                    _ = try await client.validateJWTSVID(
                        .with { $0.svid = "x" }, metadata: security)
                },
                {
                    _ = try await client.validateJWTSVID(
                        .with { $0.audience = "x" }, metadata: security)
                },
            ]
            for call in calls { #expect(await code(call) == .invalidArgument) }
        }
    }

    @Test("WAPI-17 to WAPI-21, WAPI-28, FED-36: content of an X509SVIDResponse")
    func x509Content() async throws {
        let agent = try TestAgent()
        let partner = try TrustDomain("partner.test")
        agent.synchronise(
            [
                try TestAgent.entry(
                    "b", createdAt: 1, hint: "internal", federatesWith: ["partner.test"]),
                try TestAgent.entry("a", createdAt: 2),
            ],
            [AgentBundle(trustDomain: partner, x509Authorities: [.init(der: agent.rootDER)])])
        try await agent.run { client, _ in
            let response = try #require(try await self.firstX509(client))
            #expect(
                response.svids.map(\.spiffeID) == ["spiffe://acme.test/b", "spiffe://acme.test/a"])
            #expect(response.svids.map(\.hint) == ["internal", ""])
            #expect(Array(response.federatedBundles.keys) == ["spiffe://partner.test"])
            #expect(response.crl.isEmpty)
            for svid in response.svids {
                let parsed = try SPIFFE.X509SVID(
                    certificateChainDER: [UInt8](svid.x509Svid),
                    privateKeyPKCS8DER: [UInt8](svid.x509SvidKey))
                #expect(parsed.id.string == svid.spiffeID)
                let bundle = try X509Bundle(
                    trustDomain: agent.trustDomain, concatenatedDER: [UInt8](svid.bundle))
                let verified = try await X509SVIDVerifier(bundles: bundle)
                    .verify(chainDER: parsed.certificateChainDER)
                #expect(verified.id == parsed.id)
            }
        }
    }

    @Test(
        "WAPI-07, WAPI-10, WAPI-26: a stream hears of new and withdrawn identities, then is denied")
    func stream() async throws {
        let agent = try TestAgent()
        agent.synchronise([try TestAgent.entry("a", createdAt: 1)])
        try await agent.run { client, _ in
            let status = await code {
                try await client.fetchX509SVID(.init(), metadata: security) { response in
                    for try await message in response.messages {
                        try agent.changeIdentities(after: message.svids.map(\.spiffeID))
                    }
                }
            }
            #expect(status == .permissionDenied)
        }
    }

    @Test("WAPI-21, WAPI-29, WAPI-36, WAPI-37, WAPI-38, FED-36: bundle maps")
    func bundles() async throws {
        let agent = try TestAgent()
        let partner = try TrustDomain("partner.test")
        agent.synchronise(
            [try TestAgent.entry("a", federatesWith: ["partner.test"])],
            [AgentBundle(trustDomain: partner, x509Authorities: [.init(der: agent.rootDER)])])
        try await agent.run { client, _ in
            let x509 = try await client.fetchX509Bundles(.init(), metadata: security) { response in
                for try await message in response.messages { return message.bundles }
                return [:]
            }
            #expect(Set(x509.keys) == ["spiffe://acme.test", "spiffe://partner.test"])
            #expect(x509["spiffe://acme.test"].map { [UInt8]($0) } == agent.rootDER)
            let jwt = try await client.fetchJWTBundles(.init(), metadata: security) { response in
                for try await message in response.messages { return message.bundles }
                return [:]
            }
            #expect(
                jwt["spiffe://partner.test"].map { String(decoding: $0, as: UTF8.self) }
                    == #"{"keys":[]}"#)
            let own = try #require(jwt["spiffe://acme.test"])
            let bundle = try JWTBundle(trustDomain: agent.trustDomain, jwks: [UInt8](own))
            #expect(Array(bundle.authorities.keys) == ["k1"])
        }
    }

    @Test(
        "WAPI-32, WAPI-33, WAPI-34, WAPI-35, WAPI-47: tokens for all identities or the one asked for"
    )
    func jwt() async throws {
        let agent = try TestAgent()
        agent.synchronise([
            try TestAgent.entry("a", createdAt: 1, hint: "h"),
            try TestAgent.entry("b", createdAt: 2),
        ])
        try await agent.run { client, _ in
            let both = try await client.fetchJWTSVID(
                .with { $0.audience = ["x", "y"] }, metadata: security)
            #expect(both.svids.map(\.spiffeID) == ["spiffe://acme.test/a", "spiffe://acme.test/b"])
            #expect(both.svids.map(\.hint) == ["h", ""])
            for token in both.svids {
                let parsed = try SPIFFE.JWTSVID.unverified(token.svid)
                #expect(parsed.id.string == token.spiffeID)
                #expect(Set(parsed.audience) == ["x", "y"])
            }
            let one = try await client.fetchJWTSVID(
                .with {
                    $0.audience = ["x"]
                    $0.spiffeID = "spiffe://acme.test/b"
                }, metadata: security)
            #expect(one.svids.map(\.spiffeID) == ["spiffe://acme.test/b"])
            #expect(
                await code {
                    _ = try await client.fetchJWTSVID(
                        .with {
                            $0.audience = ["x"]
                            $0.spiffeID = "spiffe://acme.test/other"
                        }, metadata: security)
                } == .permissionDenied)
            // The second time from the cache.
            let again = try await client.fetchJWTSVID(
                .with { $0.audience = ["y", "x"] }, metadata: security)
            #expect(again.svids.map(\.svid) == both.svids.map(\.svid))
        }
    }

    @Test("WAPI-39, WAPI-40, WAPI-41: validation returns the claims, or INVALID_ARGUMENT")
    func validate() async throws {
        let agent = try TestAgent()
        agent.synchronise([try TestAgent.entry("a")])
        let token = try agent.token("z", ["me", "you"]).token
        try await agent.run { client, _ in
            let answer = try await client.validateJWTSVID(
                .with {
                    $0.audience = "me"
                    $0.svid = token
                }, metadata: security)
            #expect(answer.spiffeID == "spiffe://acme.test/z")
            #expect(answer.claims.fields["sub"]?.stringValue == "spiffe://acme.test/z")
            #expect(
                answer.claims.fields["aud"]?.listValue.values.map(\.stringValue) == ["me", "you"])
            #expect(answer.claims.fields["extra"]?.stringValue == "x")
            for (audience, svid) in [("other", token), ("me", token + "A"), ("me", "x.y.z")] {
                #expect(
                    await code {
                        _ = try await client.validateJWTSVID(
                            .with {
                                $0.audience = audience
                                $0.svid = svid
                            }, metadata: security)
                    } == .invalidArgument)
            }
        }
    }

    /// A compact JWS with these parts, signed as ES256 whatever its header says.
    private func token(
        by key: P256.Signing.PrivateKey, header: String, claims: String
    ) throws -> String {
        let input =
            Base64URL.encode(Array(header.utf8)) + "." + Base64URL.encode(Array(claims.utf8))
        let signature = try key.signature(for: Array(input.utf8))
        return input + "." + Base64URL.encode(Array(signature.rawRepresentation))
    }

    @Test(
        "WAPI-39, JWT-02, 03, 05, 06, 08 to 10, 12, 14, 15, 18 to 20, 22: ValidateJWTSVID keeps the rules"
    )
    func validateRules() async throws {
        let agent = try TestAgent()
        agent.synchronise([try TestAgent.entry("a")])
        let now = Int64(Date().timeIntervalSince1970)
        let later = String(now + 300)
        func claims(
            sub: String = "spiffe://acme.test/z", aud: String = #"["me"]"#, exp: String? = nil,
            more: String = ""
        ) -> String {
            #"{"sub":"\#(sub)","aud":\#(aud),"exp":\#(exp ?? later)\#(more)}"#
        }
        let good = #"{"alg":"ES256","kid":"k1","typ":"JWT"}"#
        let rows: [(rule: String, header: String, claims: String)] = [
            ("JWT-05", #"{"alg":"HS256","kid":"k1"}"#, claims()),
            ("JWT-05", #"{"alg":"none"}"#, claims()),
            ("JWT-06", #"{"alg":"RS256","kid":"k1"}"#, claims()),
            ("JWT-08", #"{"alg":"ES256","kid":"k1","crit":["x"],"x":1}"#, claims()),
            ("JWT-09", #"{"alg":"ES256","kid":"k2"}"#, claims()),
            ("JWT-10", #"{"alg":"ES256","kid":"k1","typ":"at+jwt"}"#, claims()),
            ("JWT-12", good, claims(sub: "acme.test/z")),
            ("JWT-14", good, claims(aud: "[]")),
            ("JWT-15", good, claims(aud: #"["ME"]"#)),
            ("JWT-18", good, claims(exp: "true")),
            ("JWT-19", good, claims(exp: String(now - 120))),
            ("JWT-20", good, claims(more: #","nbf":\#(now + 240)"#)),
            ("JWT-22", good, claims(sub: "spiffe://partner.test/z")),
        ]
        var tokens = try rows.map { row in
            (row.rule, try self.token(by: agent.jwtKey, header: row.header, claims: row.claims))
        }
        let valid = try self.token(by: agent.jwtKey, header: good, claims: claims())
        let parts = valid.split(separator: ".")
        tokens.append(
            (
                "JWT-02",
                #"{"protected":"\#(parts[0])","payload":"\#(parts[1])","signature":"\#(parts[2])"}"#
            ))
        tokens.append(("JWT-03", valid + ".e30.e30"))
        let stranger = P256.Signing.PrivateKey()
        tokens.append(
            ("JWT-22", try self.token(by: stranger, header: good, claims: claims())))
        let bad = tokens
        try await agent.run { client, _ in
            func validate(_ token: String) async throws {
                _ = try await client.validateJWTSVID(
                    .with {
                        $0.audience = "me"
                        $0.svid = token
                    }, metadata: security)
            }
            #expect(await code { try await validate(valid) } == nil)
            for (rule, token) in bad {
                #expect(
                    await code { try await validate(token) } == .invalidArgument, "\(rule)")
            }
        }
    }

    @Test(
        "WAPI-40: of another trust domain's token only sub, aud, exp and what is allowed is shown",
        arguments: [[], ["extra"]] as [Set<String>])
    func foreignClaims(_ allowed: Set<String>) async throws {
        let agent = try TestAgent(foreignClaims: allowed)
        let key = P256.Signing.PrivateKey()
        let partner = AgentBundle(
            trustDomain: try TrustDomain("partner.test"), x509Authorities: [],
            jwtAuthorities: [
                AgentBundle.JWTAuthority(
                    keyID: "p1", publicKeyDER: Array(key.publicKey.derRepresentation))
            ])
        agent.synchronise([try TestAgent.entry("a", federatesWith: ["partner.test"])], [partner])
        let now = Int64(Date().timeIntervalSince1970)
        let token = try self.token(
            by: key, header: #"{"alg":"ES256","kid":"p1"}"#,
            claims: #"{"sub":"spiffe://partner.test/z","aud":"me","exp":\#(now + 300),"#
                + #""iat":\#(now),"extra":"x","more":"y"}"#)
        try await agent.run { client, _ in
            let answer = try await client.validateJWTSVID(
                .with {
                    $0.audience = "me"
                    $0.svid = token
                }, metadata: security)
            #expect(answer.spiffeID == "spiffe://partner.test/z")
            #expect(Set(answer.claims.fields.keys) == allowed.union(["sub", "aud", "exp"]))
            // A list also when the token has one text.
            #expect(answer.claims.fields["aud"]?.listValue.values.map(\.stringValue) == ["me"])
        }
    }

    @Test("a partner's token counts only within the paths and the uses that are accepted of it")
    func partnerLimits() async throws {
        let agent = try TestAgent()
        let key = P256.Signing.PrivateKey()
        let trustDomain = try TrustDomain("partner.test")
        func bundle(_ limits: TrustDomainLimits?) -> AgentBundle {
            AgentBundle(
                trustDomain: trustDomain, x509Authorities: [.init(der: agent.rootDER)],
                jwtAuthorities: [
                    AgentBundle.JWTAuthority(
                        keyID: "p1", publicKeyDER: Array(key.publicKey.derRepresentation))
                ], limits: limits)
        }
        let now = Int64(Date().timeIntervalSince1970)
        func token(_ path: String) throws -> String {
            try self.token(
                by: key, header: #"{"alg":"ES256","kid":"p1"}"#,
                claims: #"{"sub":"spiffe://partner.test\#(path)","aud":"me","exp":\#(now + 300)}"#)
        }
        let (inside, outside) = (try token("/agents/a"), try token("/agents/a/b"))
        agent.synchronise(
            [try TestAgent.entry("a", federatesWith: ["partner.test"])], [bundle(nil)])
        func paths(_ patterns: [String]) -> TrustDomainLimits {
            TrustDomainLimits.reading(
                of: trustDomain, allowsX509: true, allowsJWT: true, acceptedPaths: patterns
            ).limits
        }
        let wanted: [(limits: TrustDomainLimits?, inside: Bool, outside: Bool)] = [
            (nil, true, true),
            (paths(["/agents/*"]), true, false), (paths([]), false, false),
            (paths(["agents", "/x/"]), false, false),
            (try TrustDomainLimits(of: trustDomain, allowsJWT: false), false, false),
            (try TrustDomainLimits(of: trustDomain, allowsX509: false), true, true),
        ]
        let cases = wanted.map {
            (bundle: bundle($0.limits), inside: $0.inside, outside: $0.outside)
        }
        try await agent.run { client, _ in
            @Sendable func refusal(_ token: String) async -> RPCError.Code? {
                await code {
                    _ = try await client.validateJWTSVID(
                        .with {
                            $0.audience = "me"
                            $0.svid = token
                        }, metadata: security)
                }
            }
            for one in cases {
                agent.identities.receive(
                    .bundles(BundleChange(upserted: [one.bundle])))
                #expect(
                    await refusal(inside) == (one.inside ? nil : .invalidArgument),
                    "\(String(describing: one.bundle.limits))")
                #expect(
                    await refusal(outside) == (one.outside ? nil : .invalidArgument),
                    "\(String(describing: one.bundle.limits))")
                let x509 = try await client.fetchX509Bundles(.init(), metadata: security) {
                    try await $0.messages.first { _ in true }?.bundles.keys.sorted()
                }
                #expect(
                    x509?.contains("spiffe://partner.test") == one.bundle.isForX509)
                let jwt = try await client.fetchJWTBundles(.init(), metadata: security) {
                    try await $0.messages.first { _ in true }?.bundles.keys.sorted()
                }
                #expect(jwt?.contains("spiffe://partner.test") == one.bundle.isForJWT)
            }
        }
    }

    @Test("open streams end with UNAVAILABLE when the agent stops")
    func stop() async throws {
        let agent = try TestAgent()
        agent.synchronise([try TestAgent.entry("a")])
        try await agent.run { client, _ in
            let status = await code {
                try await client.fetchX509SVID(.init(), metadata: security) { response in
                    for try await _ in response.messages { agent.identities.stop() }
                }
            }
            #expect(status == .unavailable)
        }
    }

    @Test("streams that end leave nothing behind")
    func noLeftovers() async throws {
        let agent = try TestAgent()
        agent.synchronise([try TestAgent.entry("a")])
        try await agent.run { client, _ in
            for _ in 0..<20 { _ = try await self.firstX509(client) }
            for _ in 0..<500 where agent.identities.counts.streams > 0 {
                try await Task.sleep(for: .milliseconds(10))
            }
            #expect(agent.identities.counts.streams == 0)
        }
    }
}
