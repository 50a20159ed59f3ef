import NIOCore
import NIOPosix
import SPIFFE
import SPIFFETLS
import SPIFFETesting
import Testing

@Suite("Revoked peers", .timeLimit(.minutes(1))) struct RevocationTests {
    private let acme: TestAuthority
    private let server: TestX509Source
    private let client: TestX509Source

    init() throws {
        self.acme = try TestAuthority("acme.test")
        self.server = try TestX509Source(self.acme, "/server")
        self.client = try TestX509Source(self.acme, "/client")
    }

    private func serverSide(_ policy: RevocationPolicy = .standard) -> MTLSServerConfiguration {
        MTLSServerConfiguration(
            svid: self.server, bundles: self.server, authorizer: .member(of: self.acme.trustDomain),
            revocation: policy)
    }

    private var clientSide: MTLSClientConfiguration {
        MTLSClientConfiguration(
            svid: self.client, bundles: self.client, authorizer: .member(of: self.acme.trustDomain))
    }

    private func revokeClient() throws {
        self.acme.revoke(try self.client.x509SVID(), reason: 1)
        self.server.set(revocations: [try self.acme.trustDomainRevocations()])
    }

    @Test("a new handshake refuses a client whose SVID was taken back, until that is lifted")
    func refused() async throws {
        try self.revokeClient()
        try await EchoServer.with(self.serverSide()) { running in
            await #expect(throws: (any Error).self) { try await running.call(self.clientSide) }
            #expect(running.seen.refused.count == 1)
            self.acme.liftRevocations()
            self.server.set(revocations: [try self.acme.trustDomainRevocations()])
            _ = try await running.call(self.clientSide)
        }
    }

    @Test("without checking, a client whose SVID was taken back connects")
    func off() async throws {
        try self.revokeClient()
        try await EchoServer.with(self.serverSide(.off)) { running in
            _ = try await running.call(self.clientSide)
        }
    }

    @Test("a live connection ends when its client's SVID is taken back")
    func closed() async throws {
        let (ports, listening) = AsyncStream.makeStream(of: Int.self)
        let tls = MTLSServer(host: "127.0.0.1", port: 0, configuration: self.serverSide())
        try await withThrowingTaskGroup(of: Void.self) { group in
            defer { group.cancelAll() }
            group.addTask {
                try await tls.run(onListening: { listening.yield($0) }) { connection in
                    for try await bytes in connection.inbound {
                        try await connection.outbound.write(bytes)
                    }
                }
            }
            let port = try #require(await ports.first { _ in true })
            try await MTLSConnection.connect(
                host: "127.0.0.1", port: port, configuration: self.clientSide
            ) { connection in
                try await connection.write("ping")
                var pieces = connection.inbound.makeAsyncIterator()
                #expect(try await pieces.next() == ByteBuffer(string: "ping"))
                try self.revokeClient()
                // The end, with or without TLS's farewell; without closing this would wait for ever.
                let more = try? await pieces.next()
                #expect(more == nil)
            }
        }
    }
}
