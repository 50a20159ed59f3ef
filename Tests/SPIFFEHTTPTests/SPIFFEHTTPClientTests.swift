import NIOHTTP1
import SPIFFE
import SPIFFEHTTP
import SPIFFETLS
import SPIFFETesting
import Testing

@Suite("HTTP client", .timeLimit(.minutes(1))) struct SPIFFEHTTPClientTests {
    private let acme: TestAuthority
    private let server: TestX509Source
    private let source: TestX509Source
    private let serverID: SPIFFEID

    init() throws {
        self.acme = try TestAuthority("acme.test")
        self.server = try TestX509Source(self.acme, "/server")
        self.source = try TestX509Source(self.acme, "/client")
        self.serverID = try self.acme.id("/server")
    }

    private func client(
        _ authorizer: Authorizer? = nil, tokens: JWTSVIDInjector? = nil,
        limits: SPIFFEHTTPClient.Limits = .init()
    ) -> SPIFFEHTTPClient {
        SPIFFEHTTPClient(
            tls: MTLSClientConfiguration(
                svid: self.source, bundles: self.source,
                authorizer: authorizer ?? .exactly(self.serverID)), tokens: tokens, limits: limits)
    }

    private func failure(
        _ client: SPIFFEHTTPClient, _ request: SPIFFEHTTPClient.Request,
        sourceLocation: SourceLocation = #_sourceLocation
    ) async throws -> SPIFFEHTTPError {
        try await #require(throws: SPIFFEHTTPError.self, sourceLocation: sourceLocation) {
            try await client.send(request)
        }
    }

    @Test("Both sides know each other, and one connection serves many requests")
    func reuse() async throws {
        try await TestHTTPServer.with(self.server, authorizer: .allowingAny) { server in
            let client = self.client()
            for _ in 0..<5 {
                let response = try await client.get(server.url("/"))
                #expect(response.status == .ok)
                #expect(response.text == "spiffe://acme.test/client")
                #expect(response.peer.id == self.serverID)
            }
            #expect(server.seen.connections == 1)
            client.shutDown()
            let error = try await self.failure(client, .init(url: server.url("/")))
            #expect(error.code == .closed)
        }
    }

    @Test("Bodies go both ways; HEAD has none; host and length are the client's")
    func bodies() async throws {
        try await TestHTTPServer.with(self.server, authorizer: .allowingAny) { server in
            let client = self.client()
            let body = [UInt8](repeating: 7, count: 300_000)
            let request = SPIFFEHTTPClient.Request(
                .POST, url: server.url("/echo"),
                headers: ["content-length": "1", "host": "elsewhere", "x-mine": "1"], body: body)
            #expect(try await client.send(request).body == body)
            let head = try #require(server.seen.requests.first)
            #expect(head.headers["content-length"] == ["300000"])
            #expect(head.headers["host"] == ["127.0.0.1:\(server.port)"])
            #expect(head.headers["x-mine"] == ["1"])
            #expect(try await client.send(.init(.HEAD, url: server.url("/"))).body.isEmpty)
            #expect(try await client.get(server.url("/")).status == .ok)
            #expect(server.seen.connections == 1)
        }
    }

    @Test("A server that is not the wanted one gets no request")
    func refusedServer() async throws {
        try await TestHTTPServer.with(self.server, authorizer: .allowingAny) { server in
            let client = self.client(.exactly(try self.acme.id("/db")))
            let error = try await self.failure(client, .init(url: server.url("/")))
            #expect(error.code == .refusedServer)
            #expect(error.cause is AuthorizationError)
            #expect(server.seen.requests.isEmpty)
        }
    }

    @Test("Of a name's addresses one is enough")
    func severalAddresses() async throws {
        try await TestHTTPServer.with(self.server, authorizer: .allowingAny) { server in
            // Where `localhost` is ::1 as well, nobody listens there.
            let response = try await self.client().get("https://localhost:\(server.port)/")
            #expect(response.peer.id == self.serverID)
        }
    }

    @Test("A client that is refused, or has no identity, hears of it")
    func refusedClient() async throws {
        try await TestHTTPServer.with(self.server, authorizer: .exactly(self.serverID)) { server in
            var error = try await self.failure(self.client(), .init(url: server.url("/")))
            #expect(error.code == .connection)
            self.source.set(svid: nil)
            error = try await self.failure(self.client(), .init(url: server.url("/")))
            #expect(error.code == .noIdentity)
            #expect(error.cause is TestSourceError)
        }
    }

    @Test("Identity and trust rotate with the next connection; the open one goes on")
    func rotation() async throws {
        try await TestHTTPServer.with(self.server, authorizer: .allowingAny) { server in
            let client = self.client()
            _ = try await client.get(server.url("/"))
            try self.acme.rotate()
            self.acme.dropOldAuthorities()
            for (source, path) in [(self.server, "/server"), (self.source, "/client-2")] {
                source.set(svid: try self.acme.x509SVID(path))
                source.set(bundles: [try self.acme.x509Bundle])
            }
            #expect(try await client.get(server.url("/")).text == "spiffe://acme.test/client")
            #expect(try await client.get(server.url("/close")).text == "spiffe://acme.test/client")
            #expect(try await client.get(server.url("/")).text == "spiffe://acme.test/client-2")
            #expect(server.seen.connections == 2)
        }
    }

    @Test("A connection that is too old is not used again")
    func age() async throws {
        try await TestHTTPServer.with(self.server, authorizer: .allowingAny) { server in
            var limits = SPIFFEHTTPClient.Limits()
            limits.maximumConnectionAge = .zero
            let client = self.client(limits: limits)
            for _ in 0..<2 { _ = try await client.get(server.url("/")) }
            #expect(server.seen.connections == 2)
        }
    }

    @Test("A request on a connection that turns out to be gone is sent again, if its method allows")
    func staleConnection() async throws {
        try await TestHTTPServer.with(self.server, authorizer: .allowingAny) { server in
            let client = self.client()
            _ = try await client.get(server.url("/once"))
            #expect(try await client.get(server.url("/once")).status == .ok)
            #expect(server.seen.connections == 2)
            let error = try await self.failure(
                client, .init(.POST, url: server.url("/once"), body: [1]))
            #expect(error.code == .connection)
            #expect(server.seen.connections == 2)
        }
    }

    @Test("Responses that end too soon, are too large or do not come are errors")
    func badResponses() async throws {
        try await TestHTTPServer.with(self.server, authorizer: .allowingAny) { server in
            var limits = SPIFFEHTTPClient.Limits()
            limits.maximumResponseBytes = 99_999
            for (path, code) in [
                ("/hang-up", SPIFFEHTTPError.Code.connection), ("/half", .connection),
                ("/big", .responseTooLarge), ("/never", .timedOut),
            ] {
                if path == "/never" { limits.responseTimeout = .milliseconds(50) }
                let error = try await self.failure(
                    self.client(limits: limits), .init(url: server.url(path)))
                #expect(error.code == code, "\(path)")
            }
            limits = SPIFFEHTTPClient.Limits()
            limits.maximumResponseBytes = 100_000
            let response = try await self.client(limits: limits).get(server.url("/big"))
            #expect(response.body.count == 100_000)
        }
    }

    @Test("More connections than allowed are not opened")
    func tooMany() async throws {
        try await TestHTTPServer.with(self.server, authorizer: .allowingAny) { server in
            var limits = SPIFFEHTTPClient.Limits()
            limits.maximumConnectionsPerServer = 1
            let client = self.client(limits: limits)
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask { _ = try? await client.get(server.url("/never")) }
                while server.seen.requests.isEmpty { await Task.yield() }
                let error = try await self.failure(client, .init(url: server.url("/")))
                #expect(error.code == .tooManyConnections)
                group.cancelAll()
            }
            // The cancelled request has given its place back, sooner or later.
            while true {
                do {
                    #expect(try await client.get(server.url("/")).status == .ok)
                    return
                } catch let error as SPIFFEHTTPError where error.code == .tooManyConnections {
                    await Task.yield()
                }
            }
        }
    }

    @Test("A request that is cancelled ends as cancelled")
    func cancelled() async throws {
        try await TestHTTPServer.with(self.server, authorizer: .allowingAny) { server in
            let client = self.client()
            let task = Task { try await client.get(server.url("/never")) }
            while server.seen.requests.isEmpty { await Task.yield() }
            task.cancel()
            await #expect(throws: CancellationError.self) { try await task.value }
        }
    }

    @Test("Redirections are not followed")
    func redirect() async throws {
        try await TestHTTPServer.with(self.server, authorizer: .allowingAny) { server in
            let response = try await self.client().get(server.url("/redirect"))
            #expect(response.status == .found)
            #expect(server.seen.requests.count == 1)
        }
    }

    @Test("Nobody there is an error")
    func nobody() async throws {
        let error = try await self.failure(self.client(), .init(url: "https://127.0.0.1:1/"))
        #expect(error.code == .connection)
    }

    @Test(
        "Only https URLs are taken",
        arguments: [
            ("http://a/", SPIFFEHTTPError.Code.insecureURL), ("HTTP://a/", .insecureURL),
            ("ftp://a/", .insecureURL), ("a/b", .invalidURL), ("//a/b", .invalidURL),
            ("https:///b", .invalidURL), ("https://a:0/", .invalidURL),
            ("https://a:65536/", .invalidURL), ("https://a:+1/", .invalidURL),
            ("https://a:/", .invalidURL), ("https://u:p@a/", .invalidURL),
            ("https://a/b c", .invalidURL), ("https://a/\r\nx: y", .invalidURL),
            ("https://[::1/", .invalidURL), ("https://[x]/", .invalidURL),
            ("https://a%41/", .invalidURL), ("https://ä/", .invalidURL), ("", .invalidURL),
        ])
    func badURLs(url: String, code: SPIFFEHTTPError.Code) async throws {
        let tokens = TestJWTSource(self.acme, "/client")
        let injector = JWTSVIDInjector(tokens, audience: ["a"])
        let error = try await self.failure(self.client(tokens: injector), .init(url: url))
        #expect(error.code == code)
        let other = try await #require(throws: SPIFFEHTTPError.self) {
            try await injector.authorization(for: url)
        }
        #expect(other.code == code)
        #expect(tokens.requestCount == 0)
    }
}
