import GRPCCore
import GRPCNIOTransportHTTP2Posix
import NIOConcurrencyHelpers
import SPIFFE
import SPIFFEGRPC
import SPIFFETesting
import Testing

@Suite("gRPC over mutual TLS", .timeLimit(.minutes(1))) struct MutualTLSCallTests {
    private let acme: TestAuthority
    private let server: TestX509Source
    private let client: TestX509Source
    private let serverID: SPIFFEID
    private let clientID: SPIFFEID

    init() throws {
        self.acme = try TestAuthority("acme.test")
        self.server = try TestX509Source(self.acme, "/server")
        self.client = try TestX509Source(self.acme, "/client")
        self.serverID = try self.acme.id("/server")
        self.clientID = try self.acme.id("/client")
    }

    @Test("A handler finds the client's SPIFFE ID in the context of its call")
    func peer() async throws {
        try await EchoEndpoint.with(self.server, authorizer: .exactly(self.clientID)) { endpoint in
            let answer = try await endpoint.whoAmI(
                self.client, authorizer: .exactly(self.serverID))
            #expect(answer == "spiffe://acme.test/client")
        }
    }

    @Test("A client that is not authorized, or of a foreign authority, makes no call")
    func refusedClient() async throws {
        let refused = NIOLockedValueBox<[String]>([])
        let other = try TestX509Source(self.acme, "/other")
        let impostor = TestX509Source(
            svid: try TestAuthority("acme.test").x509SVID("/client"),
            bundles: [try self.acme.x509Bundle])
        try await EchoEndpoint.with(
            self.server, authorizer: .exactly(self.clientID), refused: refused
        ) { endpoint in
            for source in [other, impostor] {
                let error = try await #require(throws: RPCError.self) {
                    try await endpoint.whoAmI(source, authorizer: .exactly(self.serverID))
                }
                #expect(error.code == .unavailable)
            }
        }
        // A client may try more than once before it reports.
        let reasons = refused.withLockedValue { $0 }
        #expect(reasons.contains { $0.contains("spiffe://acme.test/other is not authorized") })
        #expect(reasons.contains { !$0.contains("not authorized") })
    }

    @Test("A server that is not the wanted one gets no call")
    func refusedServer() async throws {
        let refused = NIOLockedValueBox<[String]>([])
        try await EchoEndpoint.with(self.server, authorizer: .allowingAny) { endpoint in
            let error = try await #require(throws: RPCError.self) {
                try await endpoint.whoAmI(
                    self.client, authorizer: .exactly(try self.acme.id("/db")), refused: refused)
            }
            #expect(error.code == .unavailable)
        }
        let reasons = refused.withLockedValue { $0 }
        #expect(reasons.first?.contains("spiffe://acme.test/server is not authorized") == true)
    }

    @Test("A client without certificate connects only where that is allowed, and is nobody there")
    func unauthenticated() async throws {
        func transport(_ endpoint: EchoEndpoint) throws -> SPIFFEClientTransport {
            try SPIFFEClientTransport(
                target: endpoint.target, unauthenticatedWith: self.client,
                authorizer: .exactly(self.serverID))
        }
        try await EchoEndpoint.with(self.server, authorizer: .allowingAny) { endpoint in
            let error = try await #require(throws: RPCError.self) {
                try await endpoint.whoAmI(try transport(endpoint))
            }
            #expect(error.code == .unavailable)
        }
        try await EchoEndpoint.with(
            self.server, authorizer: .allowingAny, clientCertificateIsOptional: true
        ) { endpoint in
            #expect(try await endpoint.whoAmI(try transport(endpoint)) == "nobody")
            let answer = try await endpoint.whoAmI(
                self.client, authorizer: .exactly(self.serverID))
            #expect(answer == self.clientID.string)
        }
    }

    @Test("Identity and trust rotate without restart, and no open stream is dropped for it")
    func rotation() async throws {
        try await EchoEndpoint.with(self.server, authorizer: .member(of: self.acme.trustDomain)) {
            endpoint in
            let transport = try SPIFFEClientTransport(
                target: endpoint.target, svid: self.client, bundles: self.client,
                authorizer: .exactly(self.serverID))
            try await withGRPCClient(transport: transport) { client in
                let (words, speaker) = AsyncStream.makeStream(of: [UInt8].self)
                let request = StreamingClientRequest<[UInt8]> { writer in
                    for await word in words { try await writer.write(word) }
                }
                try await client.bidirectionalStreaming(
                    request: request, descriptor: EchoService.watch, serializer: Raw(),
                    deserializer: Raw(), options: .defaults
                ) { response in
                    var answers = response.messages.makeAsyncIterator()
                    speaker.yield([1])
                    #expect(try await answers.next() != nil)
                    // A new authority and new SVIDs on both sides; the old authority is trusted no more.
                    try self.acme.rotate()
                    self.acme.dropOldAuthorities()
                    for (source, path) in [(self.server, "/server"), (self.client, "/client-2")] {
                        source.set(svid: try self.acme.x509SVID(path))
                        source.set(bundles: [try self.acme.x509Bundle])
                    }
                    let answer = try await endpoint.whoAmI(
                        self.client, authorizer: .exactly(self.serverID))
                    #expect(answer == "spiffe://acme.test/client-2")
                    speaker.yield([2])
                    let old = try #require(try await answers.next())
                    #expect(String(decoding: old, as: UTF8.self) == self.clientID.string)
                    speaker.finish()
                    #expect(try await answers.next() == nil)
                }
            }
        }
    }

    @Test("Trust that is withdrawn counts from the next connection on")
    func withdrawnTrust() async throws {
        try await EchoEndpoint.with(self.server, authorizer: .allowingAny) { endpoint in
            let call = {
                try await endpoint.whoAmI(self.client, authorizer: .exactly(self.serverID))
            }
            _ = try await call()
            self.server.set(bundles: [])
            await #expect(throws: RPCError.self) { try await call() }
            self.server.set(bundles: [try self.acme.x509Bundle])
            _ = try await call()
            self.server.set(svid: nil)
            await #expect(throws: RPCError.self) { try await call() }
        }
    }
}
