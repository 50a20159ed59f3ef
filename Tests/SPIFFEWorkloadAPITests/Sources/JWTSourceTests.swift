import SPIFFE
import SPIFFETesting
import SPIFFEWorkloadAPI
import Testing

@Suite("JWT source", .timeLimit(.minutes(1))) struct JWTSourceTests {
    @Test("It hands out tokens and the bundles to verify them")
    func tokens() async throws {
        let authority = try TestAuthority("acme.test")
        let fake = try FakeWorkloadAPI()
        try fake.serve(authority, paths: ["/web"])
        try await fake.serving {
            try await withJWTSource(
                address: fake.address, readyWithin: patience, configuration: quick
            ) { source in
                let token = try await source.jwtSVID(audience: ["db"]).token
                let svid = try JWTSVID.validate(token, audience: "db", bundles: source)
                #expect(svid.id.string == "spiffe://acme.test/web")
                #expect(source.jwtBundle(for: try TrustDomain("other.test")) == nil)
                #expect(try await source.validate(token, audience: "db").id == svid.id)
                let error = try await #require(throws: WorkloadAPIError.self) {
                    try await source.validate(token, audience: "other")
                }
                #expect(error.code == .invalidRequest)
            }
        }
    }

    @Test("Rotation of JWT authorities reaches the source on its open stream")
    func rotation() async throws {
        let authority = try TestAuthority("acme.test")
        let fake = try FakeWorkloadAPI()
        try fake.serve(authority, paths: ["/web"])
        try await fake.serving {
            try await withJWTSource(
                address: fake.address, readyWithin: patience, configuration: quick
            ) { source in
                var updates = source.updates.makeAsyncIterator()
                _ = await updates.next()
                let old = try authority.jwtSVID("/web", audience: ["db"]).token
                try authority.rotate()
                authority.dropOldAuthorities()
                fake.set(jwtBundles: JWTBundleSet([authority.jwtBundle]))
                _ = await updates.next()
                let error = try #require(throws: JWTSVIDError.self) {
                    try JWTSVID.validate(old, audience: "db", bundles: source)
                }
                #expect(error.code == .unknownKey)
                let new = try await source.jwtSVID(audience: ["db"]).token
                _ = try JWTSVID.validate(new, audience: "db", bundles: source)
                #expect(fake.callCount(of: .fetchJWTBundles) == 1)
            }
        }
    }

    @Test("WAPI-12, WAPI-13, WAPI-30: a JWT bundle that is left out is used no more")
    func redactedBundle() async throws {
        let acme = try TestAuthority("acme.test")
        let partner = try TestAuthority("partner.test")
        let fake = try FakeWorkloadAPI()
        fake.set(jwtBundles: JWTBundleSet([acme.jwtBundle, partner.jwtBundle]))
        let token = try partner.jwtSVID("/web", audience: ["db"]).token
        try await fake.serving {
            try await withJWTSource(
                address: fake.address, readyWithin: patience, configuration: quick
            ) { source in
                let svid = try JWTSVID.validate(token, audience: "db", bundles: source)
                #expect(svid.id.trustDomain == partner.trustDomain)
                fake.set(jwtBundles: JWTBundleSet([acme.jwtBundle]))
                for await bundles in source.updates where bundles.bundles.count == 1 { break }
                #expect(source.jwtBundle(for: acme.trustDomain) != nil)
                #expect(source.jwtBundle(for: partner.trustDomain) == nil)
                #expect(throws: JWTSVIDError.self) {
                    try JWTSVID.validate(token, audience: "db", bundles: source)
                }
            }
        }
    }

    @Test("WAPI-42: to validate a token is to ask the Workload API")
    func validate() async throws {
        let authority = try TestAuthority("acme.test")
        let fake = try FakeWorkloadAPI()
        try fake.serve(authority, paths: ["/web"])
        try await fake.serving {
            try await withJWTSource(
                address: fake.address, readyWithin: patience, configuration: quick
            ) { source in
                let token = try authority.jwtSVID("/web", audience: ["db"]).token
                let answer = try await source.validate(token, audience: "db")
                #expect(answer.id.path == "/web")
                #expect(answer.claims["aud"] == .array(["db"]))
            }
        }
        #expect(fake.callCount(of: .validateJWTSVID) == 1)
    }
}
