import NIOConcurrencyHelpers
import NIOCore
import SPIFFE
import SPIFFETLS
import SPIFFETesting
import Testing

@Suite("mTLS server and connections", .timeLimit(.minutes(1))) struct MTLSServerTests {
    private let acme: TestAuthority
    private let server: TestX509Source
    private let client: TestX509Source

    init() throws {
        self.acme = try TestAuthority("acme.test")
        self.server = try TestX509Source(self.acme, "/server")
        self.client = try TestX509Source(self.acme, "/client")
    }

    /// Runs a server that greets and echoes, while the body runs.
    private func with(
        _ authorizer: Authorizer, errors: NIOLockedValueBox<[String]> = .init([]),
        maximumConnections: Int = 10, handshakeTimeout: Duration = .seconds(10),
        _ body: @escaping @Sendable (Int) async throws -> Void
    ) async throws {
        let server = MTLSServer(
            host: "127.0.0.1", port: 0,
            configuration: MTLSServerConfiguration(
                svid: self.server, bundles: self.server, authorizer: authorizer),
            maximumConnections: maximumConnections, handshakeTimeout: handshakeTimeout)
        let (ports, port) = AsyncStream.makeStream(of: Int.self)
        try await withThrowingTaskGroup(of: Void.self) { group in
            defer { group.cancelAll() }
            group.addTask {
                try await server.run(
                    onListening: { port.yield($0) },
                    onError: { error in
                        let code = (error as? MTLSConnectionError)?.code.description ?? "\(error)"
                        errors.withLockedValue { $0.append(code) }
                    }
                ) { connection in
                    try await connection.write("hello \(connection.peer.id.path)\n")
                    for try await bytes in connection.inbound {
                        try await connection.outbound.write(bytes)
                    }
                }
            }
            for await port in ports {
                try await body(port)
                break
            }
        }
    }

    private func call(
        _ port: Int, _ source: TestX509Source? = nil, server path: String = "/server",
        _ body: @Sendable (MTLSConnection) async throws -> Void = { _ in }
    ) async throws -> String {
        let source = source ?? self.client
        return try await MTLSConnection.connect(
            host: "127.0.0.1", port: port,
            configuration: MTLSClientConfiguration(
                svid: source, bundles: source, authorizer: .exactly(try self.acme.id(path)))
        ) { connection in
            var text = ""
            var inbound = connection.inbound.makeAsyncIterator()
            // In TLS 1.3 a client is ready before the server has looked at its certificate; the greeting
            // says that it has.
            while !text.hasSuffix("\n"), let bytes = try await inbound.next() {
                text += String(buffer: bytes)
            }
            try await body(connection)
            try await connection.write("ping\n")
            while !text.hasSuffix("ping\n"), let bytes = try await inbound.next() {
                text += String(buffer: bytes)
            }
            return text
        }
    }

    @Test("Both ends know each other, and bytes go both ways")
    func conversation() async throws {
        try await self.with(.allowingAny) { port in
            let text = try await self.call(port) { connection in
                #expect(connection.peer.id.path == "/server")
            }
            #expect(text == "hello /client\nping\n")
        }
    }

    @Test("A server that is not the wanted one is refused, with the reason")
    func wrongServer() async throws {
        try await self.with(.allowingAny) { port in
            let error = try await #require(throws: MTLSConnectionError.self) {
                try await self.call(port, server: "/other")
            }
            #expect(error.code == .refusedPeer)
            #expect(error.cause is AuthorizationError)
        }
    }

    @Test("A client that is refused gets nothing; the server hears why and goes on")
    func wrongClient() async throws {
        let errors = NIOLockedValueBox<[String]>([])
        let other = try TestX509Source(self.acme, "/other")
        try await self.with(.exactly(try self.acme.id("/client")), errors: errors) { port in
            await #expect(throws: (any Error).self) { try await self.call(port, other) }
            let text = try await self.call(port)
            #expect(text == "hello /client\nping\n")
            #expect(errors.withLockedValue { $0 } == ["refusedPeer"])
        }
    }

    @Test(
        "Without an identity of its own the server refuses connections, and serves again with one")
    func noIdentity() async throws {
        let errors = NIOLockedValueBox<[String]>([])
        let svid = try self.server.x509SVID()
        try await self.with(.allowingAny, errors: errors) { port in
            self.server.set(svid: nil)
            await #expect(throws: (any Error).self) { try await self.call(port) }
            self.server.set(svid: svid)
            #expect(try await self.call(port) == "hello /client\nping\n")
            #expect(errors.withLockedValue { $0 } == ["noIdentity"])
            self.client.set(svid: nil)
            let error = try await #require(throws: MTLSConnectionError.self) {
                try await self.call(port)
            }
            #expect(error.code == .noIdentity)
        }
    }

    @Test("One connection more than allowed is closed, and its place is free again later")
    func tooMany() async throws {
        try await self.with(.allowingAny, maximumConnections: 1) { port in
            let first = try await self.call(port) { _ in
                let second = try? await self.call(port)
                #expect(second?.isEmpty ?? true)
            }
            #expect(first == "hello /client\nping\n")
            while (try? await self.call(port)) != first { await Task.yield() }
        }
    }

    @Test("Rotation counts from the next connection on, and the open one goes on")
    func rotation() async throws {
        try await self.with(.member(of: self.acme.trustDomain)) { port in
            let text = try await self.call(port) { _ in
                try self.acme.rotate()
                self.acme.dropOldAuthorities()
                for (source, path) in [(self.server, "/server"), (self.client, "/new")] {
                    source.set(svid: try self.acme.x509SVID(path))
                    source.set(bundles: [try self.acme.x509Bundle])
                }
                #expect(try await self.call(port) == "hello /new\nping\n")
            }
            #expect(text == "hello /client\nping\n")
        }
    }

    @Test("A client that says nothing is disconnected")
    func silence() async throws {
        let errors = NIOLockedValueBox<[String]>([])
        try await self.with(.allowingAny, errors: errors, handshakeTimeout: .milliseconds(50)) {
            port in
            try await SilentClient.waitUntilClosed(port: port)
            while errors.withLockedValue({ $0.isEmpty }) { await Task.yield() }
            #expect(errors.withLockedValue { $0 } == ["handshake"])
        }
    }
}
