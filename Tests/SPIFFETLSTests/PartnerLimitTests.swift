import NIOCore
import NIOPosix
import SPIFFE
import SPIFFETLS
import SPIFFETesting
import Testing

@Suite("Peers outside of a partner's limits", .timeLimit(.minutes(1))) struct PartnerLimitTests {
    private let energy: TestAuthority
    private let server: TestX509Source
    private let client: TestX509Source

    init() throws {
        let acme = try TestAuthority("acme.test")
        self.energy = try TestAuthority("energy.test")
        self.server = try TestX509Source(acme, "/server", federatedWith: [self.energy])
        self.client = try TestX509Source(self.energy, "/agents/a", federatedWith: [acme])
    }

    private func serverSide(_ policy: RevocationPolicy = .standard) -> MTLSServerConfiguration {
        MTLSServerConfiguration(
            svid: self.server, bundles: self.server, authorizer: .allowingAny, revocation: policy)
    }

    private var clientSide: MTLSClientConfiguration {
        MTLSClientConfiguration(
            svid: self.client, bundles: self.client, authorizer: .allowingAny)
    }

    private func accept(_ paths: [String]) throws {
        self.server.set(limits: [
            try TrustDomainLimits(of: self.energy.trustDomain, acceptedPaths: paths)
        ])
    }

    @Test("a handshake refuses a partner's client outside of the limits, and accepts it within")
    func refused() async throws {
        try self.accept(["/meters/*"])
        try await EchoServer.with(self.serverSide()) { running in
            await #expect(throws: (any Error).self) { try await running.call(self.clientSide) }
            #expect(running.seen.refused.count == 1)
            #expect(running.seen.refused.first?.contains("outside of the paths") == true)
            try self.accept(["/meters/*", "/agents/*"])
            _ = try await running.call(self.clientSide)
            #expect(running.seen.verified == ["spiffe://energy.test/agents/a"])
        }
    }

    @Test("a client refuses a partner's server outside of the limits")
    func server() async throws {
        self.client.set(limits: [
            try TrustDomainLimits(of: try TrustDomain("acme.test"), allowsX509: false)
        ])
        try await EchoServer.with(self.serverSide()) { running in
            await #expect(throws: (any Error).self) { try await running.call(self.clientSide) }
            self.client.set(limits: [])
            _ = try await running.call(self.clientSide)
        }
    }

    /// What comes back on a live connection when the limits got narrower than its client meanwhile.
    private func afterNarrowing(_ policy: RevocationPolicy) async throws -> ByteBuffer? {
        try self.accept(["/agents/*"])
        let (ports, listening) = AsyncStream.makeStream(of: Int.self)
        let tls = MTLSServer(host: "127.0.0.1", port: 0, configuration: self.serverSide(policy))
        return try await withThrowingTaskGroup(of: Void.self) { group in
            defer { group.cancelAll() }
            group.addTask {
                try await tls.run(onListening: { listening.yield($0) }) { connection in
                    for try await bytes in connection.inbound {
                        try await connection.outbound.write(bytes)
                    }
                }
            }
            let port = try #require(await ports.first { _ in true })
            return try await MTLSConnection.connect(
                host: "127.0.0.1", port: port, configuration: self.clientSide
            ) { connection in
                try await connection.write("ping")
                var pieces = connection.inbound.makeAsyncIterator()
                #expect(try await pieces.next() == ByteBuffer(string: "ping"))
                // Wider limits, and limits that are not known, close nothing.
                try self.accept(["/agents/*", "/meters/*"])
                self.server.set(limits: [.unknown(of: self.energy.trustDomain)])
                try await connection.write("pong")
                #expect(try await pieces.next() == ByteBuffer(string: "pong"))
                try self.accept(["/meters/*"])
                try? await connection.write("more")
                return try? await pieces.next()
            }
        }
    }

    @Test("a live connection ends when the limits get narrower than its client")
    func closed() async throws {
        // The end, with or without TLS's farewell; without closing the echo would come.
        #expect(try await self.afterNarrowing(.standard) == nil)
    }

    @Test("it lives on where connections are not to be closed")
    func kept() async throws {
        let answer = try await self.afterNarrowing(.standard.closingConnections(false))
        #expect(answer == ByteBuffer(string: "more"))
    }
}
