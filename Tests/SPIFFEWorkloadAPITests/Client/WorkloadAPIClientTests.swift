import Foundation
import GRPCCore
import SPIFFE
import SPIFFEWorkloadAPI
import SwiftProtobuf
import Testing
import WorkloadAPIProto

@Suite("Workload API client", .timeLimit(.minutes(1))) struct WorkloadAPIClientTests {
    @Test("WEP-05, WEP-24: every call carries the security header, and nothing else is called")
    func header() async throws {
        let authority = try TestAuthority("acme.test")
        let message = try authority.message()
        let token = try authority.token("/web", audience: ["db"])
        var fake = FakeWorkloadAPI(x509: { _, writer in try await writer.write(message) })
        fake.x509Bundles = [authority.bundleKey: Data(authority.rootDER)]
        fake.jwtBundles = [authority.bundleKey: try authority.jwks()]
        fake.tokens = [token]
        fake.validated.spiffeID = token.spiffeID
        fake.validated.claims.fields["exp"] = Google_Protobuf_Value(numberValue: 1)
        let socket = TestSocket()
        let validated = fake.validated
        try await socket.serving(fake) {
            try await WorkloadAPIClient.with(address: try socket.address(), configuration: quick) {
                #expect(
                    try await $0.fetchX509SVIDs().map(\.id.string) == [message.svids[0].spiffeID])
                #expect(try await $0.fetchX509Bundles().bundles.count == 1)
                #expect(try await $0.fetchJWTSVID(audience: ["db"]).token == token.svid)
                #expect(try await $0.fetchJWTBundles().bundles.count == 1)
                let answer = try await $0.validateJWTSVID(token.svid, audience: "db")
                #expect(answer.id.string == validated.spiffeID)
                #expect(answer.claims == ["exp": .double(1)])
            }
        }
        #expect(
            fake.record.headers == [
                "FetchX509SVID": ["true"], "FetchX509Bundles": ["true"], "FetchJWTSVID": ["true"],
                "FetchJWTBundles": ["true"], "ValidateJWTSVID": ["true"],
            ])
    }

    @Test("WAPI-31: without audience the server is not asked", arguments: [[], [""], ["a", ""]])
    func noAudience(audience: [String]) async throws {
        let fake = FakeWorkloadAPI()
        let socket = TestSocket()
        try await socket.serving(fake) {
            try await WorkloadAPIClient.with(address: try socket.address(), configuration: quick) {
                client in
                let error = try await #require(throws: WorkloadAPIError.self) {
                    try await client.fetchJWTSVID(audience: audience)
                }
                #expect(error.code == .noAudience)
            }
        }
        #expect(fake.record.count("FetchJWTSVID") == 0)
    }

    @Test("A token of another identity than the one asked for is discarded")
    func otherIdentity() async throws {
        let authority = try TestAuthority("acme.test")
        var fake = FakeWorkloadAPI()
        fake.tokens = [try authority.token("/web", audience: ["db"])]
        let socket = TestSocket()
        try await socket.serving(fake) {
            try await WorkloadAPIClient.with(address: try socket.address(), configuration: quick) {
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
            (RPCError.Code.invalidArgument, WorkloadAPIError.Code.invalidRequest),
            (.unimplemented, .notSupported), (.permissionDenied, .noIdentity),
            (.unavailable, .unavailable), (.internalError, .failed),
        ])
    func codes(status: RPCError.Code, code: WorkloadAPIError.Code) async throws {
        let fake = FakeWorkloadAPI(x509: { _, _ in throw RPCError(code: status, message: "no") })
        let socket = TestSocket()
        try await socket.serving(fake) {
            try await WorkloadAPIClient.with(address: try socket.address(), configuration: quick) {
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
        let socket = TestSocket()
        try await WorkloadAPIClient.with(address: try socket.address(), configuration: quick) {
            client in
            let error = try await #require(throws: WorkloadAPIError.self) {
                try await client.fetchX509SVIDs()
            }
            #expect(error.code == .unavailable)
        }
    }
}
