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
}
