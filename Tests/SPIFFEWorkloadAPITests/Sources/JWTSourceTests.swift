import SPIFFE
import SPIFFEWorkloadAPI
import Testing

@Suite("JWT source", .timeLimit(.minutes(1))) struct JWTSourceTests {
    @Test("It hands out tokens and the bundles to verify them")
    func tokens() async throws {
        let authority = try TestAuthority("acme.test")
        var fake = FakeWorkloadAPI()
        fake.jwtBundles = [authority.bundleKey: try authority.jwks()]
        fake.tokens = [try authority.token("/web", audience: ["db"])]
        let socket = TestSocket()
        try await socket.serving(fake) {
            try await withJWTSource(
                address: try socket.address(), readyWithin: patience, configuration: quick
            ) { source in
                let token = try await source.jwtSVID(audience: ["db"]).token
                let svid = try JWTSVID.validate(token, audience: "db", bundles: source)
                #expect(svid.id.string == "spiffe://acme.test/web")
                #expect(source.jwtBundle(for: try TrustDomain("other.test")) == nil)
            }
        }
    }
}
