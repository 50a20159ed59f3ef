import NIOCore
import SPIFFE
import SPIFFETLS
import SPIFFETesting
import Testing

@Suite("Reading text", .timeLimit(.minutes(1))) struct ReadTextTests {
    /// What a client reads of a server that says this and hangs up.
    private func read(_ said: String, atMost limit: Int) async throws -> String {
        let authority = try TestAuthority("acme.test")
        let source = try TestX509Source(authority, "/both")
        let server = MTLSServer(
            host: "127.0.0.1", port: 0,
            configuration: MTLSServerConfiguration(
                svid: source, bundles: source, authorizer: .allowingAny))
        let (ports, port) = AsyncStream.makeStream(of: Int.self)
        return try await withThrowingTaskGroup(of: Void.self) { group in
            defer { group.cancelAll() }
            group.addTask {
                try await server.run(onListening: { port.yield($0) }) { connection in
                    try await connection.write(said)
                }
            }
            for await port in ports {
                return try await MTLSConnection.connect(
                    host: "127.0.0.1", port: port,
                    configuration: MTLSClientConfiguration(
                        svid: source, bundles: source, authorizer: .allowingAny)
                ) { try await $0.readText(atMost: limit) }
            }
            return ""
        }
    }

    @Test("All that was said is read, up to the limit")
    func limit() async throws {
        let long = String(repeating: "ä", count: 50_000)
        #expect(try await self.read(long, atMost: 100_000) == long)
        #expect(try await self.read("", atMost: 0).isEmpty)
        let error = try await #require(throws: MTLSConnectionError.self) {
            try await self.read(long, atMost: 99_999)
        }
        #expect(error.code == .tooLong)
    }
}
