import NIOConcurrencyHelpers
public import NIOCore
public import NIOPosix
import SPIFFE

/// A server for connections over mutual TLS, each of which gets a task of its own.
///
/// ```swift
/// let server = MTLSServer(
///     host: "0.0.0.0", port: 8443,
///     configuration: MTLSServerConfiguration(
///         svid: source, bundles: source, authorizer: .member(of: trustDomain)))
/// try await server.run { connection in
///     try await connection.write("hello \(connection.peer.id)\n")
/// }
/// ```
///
/// For protocols of one's own. HTTP and gRPC have their own modules.
public struct MTLSServer: Sendable {
    private let host: String
    private let port: Int
    private let configuration: MTLSServerConfiguration
    private let maximumConnections: Int
    private let handshakeTimeout: Duration
    private let group: any EventLoopGroup

    /// - Parameters:
    ///   - host: The IP address or name to bind.
    ///   - port: Zero takes a free one, which `onListening` is told.
    ///   - configuration: Who this server is, and who may connect.
    ///   - maximumConnections: More are closed at once.
    ///   - handshakeTimeout: A client that takes longer is disconnected.
    ///   - group: Where connections live; of the Posix kind.
    public init(
        host: String, port: Int, configuration: MTLSServerConfiguration,
        maximumConnections: Int = 10_000, handshakeTimeout: Duration = .seconds(10),
        group: any EventLoopGroup = MultiThreadedEventLoopGroup.singleton
    ) {
        self.host = host
        self.port = port
        self.configuration = configuration
        self.maximumConnections = maximumConnections
        self.handshakeTimeout = handshakeTimeout
        self.group = group
    }

    /// Accepts connections until the task is cancelled; then closes them all and returns.
    ///
    /// - Parameters:
    ///   - onListening: Told the port once it is bound.
    ///   - onError: Told why a connection ended with an error: an ``MTLSConnectionError`` for a handshake that failed,
    ///     else what `handle` has thrown. The server goes on.
    ///   - handle: Serves one connection, which is closed when it returns.
    /// - Throws: Why the address cannot be bound.
    public func run(
        onListening: (@Sendable (Int) -> Void)? = nil,
        onError: @escaping @Sendable (any Error) -> Void = { _ in },
        _ handle: @escaping @Sendable (MTLSConnection) async throws -> Void
    ) async throws {
        let configuration = self.configuration
        let timeout = self.handshakeTimeout
        let listener = try await ServerBootstrap(group: self.group)
            .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
            .serverChannelOption(.backlog, value: 1024)
            .childChannelOption(.tcpOption(.tcp_nodelay), value: 1)
            .bind(host: self.host, port: self.port) { channel in
                channel.eventLoop.makeCompletedFuture {
                    try PendingConnection(channel, timeout: timeout) {
                        try configuration.makeHandler(
                            for: channel, onVerified: $0, onRefused: $1)
                    }
                }
            }
        let open = NIOLockedValueBox(0)
        do {
            try await listener.executeThenClose { inbound in
                onListening?(listener.channel.localAddress?.port ?? self.port)
                try await withThrowingDiscardingTaskGroup { group in
                    for try await pending in inbound {
                        let isOneTooMany = open.withLockedValue { open in
                            open += 1
                            return open > self.maximumConnections
                        }
                        group.addTask {
                            defer { open.withLockedValue { $0 -= 1 } }
                            do {
                                if isOneTooMany { return try await pending.close() }
                                try await pending.serve(handle)
                            } catch {
                                if !Task.isCancelled { onError(error) }
                            }
                        }
                    }
                    group.cancelAll()
                }
            }
        } catch {
            if !Task.isCancelled { throw error }
        }
    }
}
