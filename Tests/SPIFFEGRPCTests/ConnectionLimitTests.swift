import GRPCCore
import NIOConcurrencyHelpers
import NIOCore
import NIOPosix
import SPIFFE
import SPIFFETLS
import SPIFFETesting
import Testing

@testable import SPIFFEGRPC

@Suite("Limits of connections", .timeLimit(.minutes(1))) struct ConnectionLimitTests {
    private static func until(_ condition: () -> Bool) async throws {
        while !condition() { try await Task.sleep(for: .milliseconds(1)) }
    }

    @Test(
        "a connection too many is closed before TLS is set up for it, and there is room again when one ends",
        arguments: [
            SPIFFEServerTransport.Settings(maxConnections: 1),
            SPIFFEServerTransport.Settings(maxConnectionsPerAddress: 1),
        ])
    func beforeTLS(settings: SPIFFEServerTransport.Settings) async throws {
        let source = try TestX509Source(try TestAuthority("acme.test"), "/server")
        let tls = MTLSServerConfiguration(
            svid: source, bundles: source, authorizer: .allowingAny, applicationProtocols: ["h2"])
        let handlers = NIOLockedValueBox(0)
        let transport = SPIFFEServerTransport(
            listener: .tls(
                host: "127.0.0.1", port: 0,
                makeHandler: { channel, onVerified in
                    handlers.withLockedValue { $0 += 1 }
                    return try tls.makeHandler(for: channel, onVerified: onVerified)
                }), settings: settings)
        let server = GRPCServer(transport: transport, services: [])
        try await withThrowingTaskGroup(of: Void.self) { group in
            defer { group.cancelAll() }
            group.addTask { try await server.serve() }
            let port = try #require(await transport.boundPort)
            func connect() async throws -> any Channel {
                try await ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton)
                    .connect(host: "127.0.0.1", port: port).get()
            }
            let first = try await connect()
            try await Self.until { transport.connectionCount == 1 }
            let second = try await connect()
            // The server closes it.
            try await second.closeFuture.get()
            #expect(handlers.withLockedValue { $0 } == 1 && first.isActive)
            try await first.close()
            try await Self.until { transport.connectionCount == 0 }
            let third = try await connect()
            try await Self.until { handlers.withLockedValue { $0 } == 2 }
            #expect(transport.connectionCount == 1)
            try await third.close()
        }
    }

    @Test("an address is one IPv4 address, however it is written, or one IPv6 network")
    func origins() throws {
        func origin(_ address: String) throws -> ConnectionOrigin? {
            ConnectionOrigin(try SocketAddress(ipAddress: address, port: 443))
        }
        #expect(try origin("192.0.2.7") == .ipv4(0xC000_0207))
        #expect(try origin("::ffff:192.0.2.7") == origin("192.0.2.7"))
        #expect(try origin("192.0.2.8") != origin("192.0.2.7"))
        #expect(try origin("2001:db8:0:1::1") == .ipv6Network(0x2001_0db8_0000_0001))
        #expect(try origin("2001:db8:0:1:ffff::2") == origin("2001:db8:0:1::1"))
        #expect(try origin("2001:db8:0:2::1") != origin("2001:db8:0:1::1"))
        #expect(ConnectionOrigin(try SocketAddress(unixDomainSocketPath: "/tmp/s")) == nil)
    }
}
