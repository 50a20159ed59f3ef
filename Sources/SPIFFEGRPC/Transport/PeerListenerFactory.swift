import CPeer
import GRPCNIOTransportHTTP2Posix
import NIOConcurrencyHelpers
import NIOCore
import NIOPosix
package import NIOSSL
package import SPIFFE

/// Where a ``SPIFFEServerTransport`` listens, and how it learns who calls.
package enum PeerListener: Sendable {
    /// A Unix socket. The path must be free; after binding its mode becomes `mode`.
    case unixSocket(path: String, mode: UInt16)
    /// TLS on TCP. `makeHandler` gives the handler of one connection, with a fresh context each time (see
    /// docs/divergences.md on resumption), and calls its argument once the client's chain is verified.
    case tls(
        host: String, port: Int,
        makeHandler:
            @Sendable (_ onVerified: @escaping @Sendable (VerifiedX509SVID) -> Void) throws ->
            NIOSSLServerHandler)
}

/// Accepts connections and notes who is at the other end before gRPC sees a byte.
struct PeerListenerFactory: HTTP2ServerTransport.ListenerFactory {
    let eventLoopGroup: any EventLoopGroup
    let listener: PeerListener
    let registry: ConnectionRegistry

    func makeListeningChannel(
        listenerConfigurator: HTTP2ServerTransport.ListenerConfigurator,
        connectionConfigurator: HTTP2ServerTransport.ConnectionConfigurator
    ) async throws -> NIOAsyncChannel<
        HTTP2ServerTransport.ConnectionConfigurator.ConnectionChannel, Never
    > {
        let bootstrap = ServerBootstrap(group: self.eventLoopGroup)
            .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
            .serverChannelOption(.backlog, value: 1024)
            .serverChannelInitializer { listenerConfigurator.configure(channel: $0) }
        switch self.listener {
        case .unixSocket(let path, let mode):
            let channel = try await bootstrap.bind(unixDomainSocketPath: path) { channel in
                self.acceptLocal(channel, connectionConfigurator)
            }
            // The umask decides the mode at bind; without this other users would get EACCES.
            guard path.withCString({ chmod($0, mode_t(mode)) }) == 0 else {
                throw IOError(errnoCode: errno, reason: "chmod of socket \(path)")
            }
            return channel
        case .tls(let host, let port, let makeHandler):
            return try await bootstrap.childChannelOption(.tcpOption(.tcp_nodelay), value: 1)
                .bind(host: host, port: port) { channel in
                    self.acceptTLS(channel, makeHandler, connectionConfigurator)
                }
        }
    }

    private func acceptLocal(
        _ channel: any Channel, _ configurator: HTTP2ServerTransport.ConnectionConfigurator
    ) -> EventLoopFuture<HTTP2ServerTransport.ConnectionConfigurator.ConnectionChannel> {
        channel.eventLoop.makeCompletedFuture { () throws -> any Channel in
            let peer = try channel.pipeline.syncOperations.withUnsafeTransportIfAvailable(
                of: NIOBSDSocket.Handle.self
            ) { descriptor in
                try LocalPeer(socketDescriptor: descriptor)
            }
            guard let peer else { throw ChannelError.operationUnsupported }
            return try self.register(
                ConnectionPeer(kind: .local(peer), remoteIPAddress: nil), channel)
        }.flatMap { tagged in
            configurator.configure(channel: tagged, tls: .none)
        }
    }

    private func acceptTLS(
        _ channel: any Channel,
        _ makeHandler:
            @Sendable (@escaping @Sendable (VerifiedX509SVID) -> Void) throws -> NIOSSLServerHandler,
        _ configurator: HTTP2ServerTransport.ConnectionConfigurator
    ) -> EventLoopFuture<HTTP2ServerTransport.ConnectionConfigurator.ConnectionChannel> {
        channel.eventLoop.makeCompletedFuture { () throws -> any Channel in
            let verified = NIOLockedValueBox<VerifiedX509SVID?>(nil)
            let handler = try makeHandler { svid in verified.withLockedValue { $0 = svid } }
            try channel.pipeline.syncOperations.addHandler(handler)
            return try self.register(
                ConnectionPeer(
                    kind: .tls(verified), remoteIPAddress: channel.remoteAddress?.ipAddress),
                channel)
        }.flatMap { tagged in
            configurator.configure(channel: tagged, tls: .configured(requireALPN: true))
        }
    }

    /// Enters the connection into the registry for as long as it is open.
    private func register(_ peer: ConnectionPeer, _ channel: any Channel) throws -> any Channel {
        let id = self.registry.add(peer)
        channel.closeFuture.whenComplete { _ in self.registry.remove(id) }
        return try TaggedChannel(channel, tag: "#\(id)")
    }
}
