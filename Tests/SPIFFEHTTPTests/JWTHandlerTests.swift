import Foundation
import NIOHTTP1
import SPIFFE
import SPIFFEHTTP
import SPIFFETLS
import SPIFFETesting
import Testing

@Suite("JWT-SVIDs on HTTP requests", .timeLimit(.minutes(1))) struct JWTHandlerTests {
    private let acme: TestAuthority
    private let server: TestX509Source
    private let tokens: TestJWTSource

    init() throws {
        self.acme = try TestAuthority("acme.test")
        self.server = try TestX509Source(self.acme, "/server")
        self.tokens = TestJWTSource(self.acme, "/web")
    }

    private func authenticator(_ path: String = "/web") throws -> JWTSVIDAuthenticator {
        JWTSVIDAuthenticator(
            audience: "reports", bundles: self.tokens, authorizer: .exactly(try self.acme.id(path)))
    }

    /// A client without certificate.
    private func client(tokens: JWTSVIDInjector? = nil) throws -> SPIFFEHTTPClient {
        SPIFFEHTTPClient(
            tls: MTLSClientConfiguration(
                unauthenticatedWith: self.server, authorizer: .exactly(try self.acme.id("/server"))),
            tokens: tokens)
    }

    private func with(
        _ authenticator: JWTSVIDAuthenticator, _ body: (TestHTTPServer) async throws -> Void
    ) async throws {
        try await TestHTTPServer.with(
            self.server, authorizer: .allowingAny, clientCertificate: .optional,
            tokens: authenticator, body)
    }

    @Test("JWT-23: the token's subject reaches the handler, and the header does not")
    func identity() async throws {
        try await self.with(try self.authenticator()) { server in
            let client = try self.client(
                tokens: JWTSVIDInjector(self.tokens, audience: ["reports"]))
            for _ in 0..<2 {
                let response = try await client.get(server.url("/"))
                #expect(response.text == "nobody for spiffe://acme.test/web")
            }
            #expect(server.seen.connections == 1)
            #expect(server.seen.requests.allSatisfy { !$0.headers.contains(name: "authorization") })
        }
    }

    @Test("Requests that are refused get a status and a challenge, and the connection stays")
    func refused() async throws {
        let good = try self.acme.jwtSVID("/web", audience: ["reports"]).token
        let late = try self.acme.jwtSVID(
            "/web", audience: ["reports"], expiresAt: Date() - 3600
        ).token
        let other = try self.acme.jwtSVID("/other", audience: ["reports"]).token
        let rows: [([String], HTTPResponseStatus, String)] = [
            ([], .unauthorized, "Bearer"), (["Basic dTpw"], .unauthorized, "Bearer"),
            (["Bearer"], .badRequest, "Bearer error=\"invalid_request\""),
            (
                ["Bearer \(good)", "Bearer \(good)"], .badRequest,
                "Bearer error=\"invalid_request\""
            ),
            (["Bearer \(late)"], .unauthorized, "Bearer error=\"invalid_token\""),
            (["Bearer \(other)"], .forbidden, "Bearer error=\"insufficient_scope\""),
        ]
        try await self.with(try self.authenticator()) { server in
            let client = try self.client()
            for (values, status, challenge) in rows {
                let headers = HTTPHeaders(values.map { ("authorization", $0) })
                let response = try await client.send(
                    .init(.POST, url: server.url("/"), headers: headers, body: [1, 2]))
                #expect(response.status == status)
                #expect(response.headers["www-authenticate"] == [challenge])
                #expect(response.body.isEmpty)
            }
            let response = try await client.send(
                .init(url: server.url("/"), headers: ["authorization": "bearer \(good)"]))
            #expect(response.status == .ok)
            #expect(server.seen.connections == 1)
            #expect(server.seen.requests.count == 1)
            #expect(
                server.seen.refused == [
                    "missing", "missing", "malformed", "malformed", "invalid", "denied",
                ])
        }
    }

    @Test("Who sends much to a server that refuses it is disconnected")
    func largeBody() async throws {
        try await self.with(try self.authenticator()) { server in
            let request = SPIFFEHTTPClient.Request(
                .POST, url: server.url("/"), body: [UInt8](repeating: 0, count: 4_000_000))
            // Either the answer is read, or the connection is gone before.
            let response = try? await self.client().send(request)
            #expect(response == nil || response?.status == .unauthorized)
            #expect(response == nil || response?.headers["connection"] == ["close"])
            #expect(server.seen.requests.isEmpty)
        }
    }

    @Test("Without a token the request is not sent; a header that is there already is kept")
    func injection() async throws {
        try await self.with(try self.authenticator("/other")) { server in
            let client = try self.client(
                tokens: JWTSVIDInjector(self.tokens, audience: ["reports"]))
            let own = try self.acme.jwtSVID("/other", audience: ["reports"]).token
            let response = try await client.send(
                .init(url: server.url("/"), headers: ["authorization": "Bearer \(own)"]))
            #expect(response.text == "nobody for spiffe://acme.test/other")
            #expect(self.tokens.requestCount == 0)
            self.tokens.withdraw()
            let error = try await #require(throws: SPIFFEHTTPError.self) {
                try await client.get(server.url("/"))
            }
            #expect(error.code == .noIdentity)
            #expect(server.seen.requests.count == 1)
        }
    }
}
