import SPIFFE
import SPIFFETesting
import SPIFFEWorkloadAPI
import Testing

@Suite("Workload API client", .timeLimit(.minutes(1))) struct WorkloadAPIClientTests {
    @Test("WEP-05, WEP-24: every call carries the security header, and nothing else is called")
    func header() async throws {
        let authority = try TestAuthority("acme.test")
        let fake = try FakeWorkloadAPI()
        try fake.serve(authority, paths: ["/web"])
        let web = try authority.id("/web")
        try await fake.serving {
            try await WorkloadAPIClient.with(address: fake.address, configuration: quick) {
                #expect(try await $0.fetchX509SVIDs().map(\.id) == [web])
                #expect(try await $0.fetchX509Bundles().bundles.count == 1)
                let token = try await $0.fetchJWTSVID(audience: ["db"]).token
                #expect(try await $0.fetchJWTBundles().bundles.count == 1)
                let answer = try await $0.validateJWTSVID(token, audience: "db")
                #expect(answer.id == web)
                #expect(answer.claims["aud"] == .array(["db"]))
                guard case .double = answer.claims["exp"] else {
                    Issue.record("exp is no number")
                    return
                }
            }
        }
        for method in [
            FakeWorkloadAPI.Method.fetchX509SVID, .fetchX509Bundles, .fetchJWTSVID,
            .fetchJWTBundles, .validateJWTSVID,
        ] {
            #expect(fake.securityHeaders(of: method) == [["true"]], "\(method)")
        }
    }

    @Test("WAPI-31: without audience the server is not asked", arguments: [[], [""], ["a", ""]])
    func noAudience(audience: [String]) async throws {
        let fake = try FakeWorkloadAPI()
        try await fake.serving {
            try await WorkloadAPIClient.with(address: fake.address, configuration: quick) {
                client in
                let error = try await #require(throws: WorkloadAPIError.self) {
                    try await client.fetchJWTSVID(audience: audience)
                }
                #expect(error.code == .noAudience)
            }
        }
        #expect(fake.callCount(of: .fetchJWTSVID) == 0)
    }

    @Test("A token of another identity than the one asked for is discarded")
    func otherIdentity() async throws {
        let authority = try TestAuthority("acme.test")
        let fake = try FakeWorkloadAPI()
        fake.setJWTSVIDs { audience, _ in [try authority.jwtSVID("/web", audience: audience)] }
        try await fake.serving {
            try await WorkloadAPIClient.with(address: fake.address, configuration: quick) {
                client in
                let id = try SPIFFEID("spiffe://acme.test/other")
                let error = try await #require(throws: WorkloadAPIError.self) {
                    try await client.fetchJWTSVID(audience: ["db"], id: id)
                }
                #expect(error.code == .invalidResponse)
            }
        }
    }

    @Test(
        "Status codes become error codes",
        arguments: [
            (FakeWorkloadAPI.Failure.invalidRequest, WorkloadAPIError.Code.invalidRequest),
            (.notSupported, .notSupported), (.noIdentity, .noIdentity),
            (.unavailable, .unavailable), (.internalError, .failed),
        ])
    func codes(failure: FakeWorkloadAPI.Failure, code: WorkloadAPIError.Code) async throws {
        let fake = try FakeWorkloadAPI()
        fake.fail(.fetchX509SVID, with: failure)
        try await fake.serving {
            try await WorkloadAPIClient.with(address: fake.address, configuration: quick) {
                client in
                let error = try await #require(throws: WorkloadAPIError.self) {
                    try await client.fetchX509SVIDs()
                }
                #expect(error.code == code)
            }
        }
    }

    @Test("A socket where nobody listens is reported at once")
    func nobody() async throws {
        let address = try FakeWorkloadAPI().address
        try await WorkloadAPIClient.with(address: address, configuration: quick) {
            client in
            let error = try await #require(throws: WorkloadAPIError.self) {
                try await client.fetchX509SVIDs()
            }
            #expect(error.code == .unavailable)
        }
    }
}
