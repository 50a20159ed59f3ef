import SPIFFE
import SPIFFEWorkloadAPI
import SwiftProtobuf
import Testing
import WorkloadAPIProto

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
                let svid = try SPIFFE.JWTSVID.validate(token, audience: "db", bundles: source)
                #expect(svid.id.string == "spiffe://acme.test/web")
                #expect(source.jwtBundle(for: try TrustDomain("other.test")) == nil)
            }
        }
    }

    @Test("WAPI-42: to validate a token is to ask the Workload API")
    func validate() async throws {
        let authority = try TestAuthority("acme.test")
        var fake = FakeWorkloadAPI()
        fake.jwtBundles = [authority.bundleKey: try authority.jwks()]
        fake.validated.spiffeID = "\(authority.bundleKey)/web"
        fake.validated.claims.fields["exp"] = Google_Protobuf_Value(numberValue: 1)
        let socket = TestSocket()
        try await socket.serving(fake) {
            try await withJWTSource(
                address: try socket.address(), readyWithin: patience, configuration: quick
            ) { source in
                let answer = try await source.validate("token", audience: "db")
                #expect(answer.id.path == "/web")
                #expect(answer.claims == ["exp": .double(1)])
            }
        }
        #expect(fake.record.count("ValidateJWTSVID") == 1)
    }
}
