import CPeer
import NIOConcurrencyHelpers
package import NIOCore
import NIOPosix
package import NIOSSL
package import SPIFFE

#if canImport(Glibc)
    import Glibc
#elseif canImport(Darwin)
    import Darwin
#endif

/// Where a ``SPIFFEServerTransport`` listens, and how it learns who calls.
package enum PeerListener: Sendable {
    /// A Unix socket. The path must be free; after binding its mode becomes `mode`.
    case unixSocket(path: String, mode: UInt16)
    /// TLS on TCP. `makeHandler` gives the handler of the connection that it gets, with a fresh context each time
    /// (see docs/divergences.md on resumption), and calls its other argument once the client's chain is verified.
    case tls(
        host: String, port: Int,
        makeHandler:
            @Sendable (
                _ channel: any Channel,
                _ onVerified: @escaping @Sendable (VerifiedX509SVID) -> Void
            ) throws -> NIOSSLServerHandler)
    /// TLS on a Unix socket: file permissions say who may connect, the certificate says who calls.
    case tlsOnUnixSocket(
        path: String, mode: UInt16,
        makeHandler:
            @Sendable (
                _ channel: any Channel,
                _ onVerified: @escaping @Sendable (VerifiedX509SVID) -> Void
            ) throws -> NIOSSLServerHandler)
}

extension PeerListener {
    /// Binds, and from then on accepts connections and notes who is at the other end before HTTP/2 sees
    /// a byte.
    func bind(_ group: any EventLoopGroup, _ context: GRPCListenerContext) async throws
        -> any Channel
    {
        let bootstrap = ServerBootstrap(group: group)
            .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
            .serverChannelOption(.backlog, value: 1024)
        switch self {
        case .unixSocket(let path, let mode):
            PeerDescriptor.prepare()
            return try await Self.bindUnixSocket(
                bootstrap.childChannelInitializer { channel in
                    Self.acceptLocal(channel, context)
                }, path, mode)
        case .tlsOnUnixSocket(let path, let mode, let makeHandler):
            return try await Self.bindUnixSocket(
                bootstrap.childChannelInitializer { channel in
                    Self.acceptTLS(channel, isUnixSocket: true, makeHandler, context)
                }, path, mode)
        case .tls(let host, let port, let makeHandler):
            return try await bootstrap.childChannelOption(.tcpOption(.tcp_nodelay), value: 1)
                .childChannelOption(.socketOption(.so_keepalive), value: 1)
                .childChannelInitializer { channel in
                    Self.acceptTLS(channel, isUnixSocket: false, makeHandler, context)
                }.bind(host: host, port: port).get()
        }
    }

    private static func bindUnixSocket(
        _ bootstrap: ServerBootstrap, _ path: String, _ mode: UInt16
    ) async throws -> any Channel {
        let channel = try await bootstrap.bind(unixDomainSocketPath: path).get()
        // The umask decides the mode at bind; without this other users would get EACCES.
        guard path.withCString({ chmod($0, mode_t(mode)) }) == 0 else {
            let error = IOError(errnoCode: errno, reason: "chmod of socket \(path)")
            try? await channel.close()
            throw error
        }
        return channel
    }

    private static func acceptLocal(
        _ channel: any Channel, _ context: GRPCListenerContext
    ) -> EventLoopFuture<Void> {
        channel.eventLoop.makeCompletedFuture {
            let peer = try channel.pipeline.syncOperations.withUnsafeTransportIfAvailable(
                of: NIOBSDSocket.Handle.self
            ) { descriptor in
                try LocalPeer(socketDescriptor: descriptor)
            }
            guard let peer else { throw ChannelError.operationUnsupported }
            let known = PeerContext(peer: .local(peer), remoteIPAddress: nil)
            let origin = ConnectionOrigin.user(peer.uid)
            let handler = GRPCConnectionHandler(listener: context, isTLS: false, from: origin) {
                known
            }
            guard context.connections.add(channel, handler, from: origin) else {
                throw ChannelError.ioOnClosedChannel
            }
            try channel.pipeline.syncOperations.addHandler(handler)
        }
    }

    private static func acceptTLS(
        _ channel: any Channel, isUnixSocket: Bool,
        _ makeHandler:
            @Sendable (any Channel, @escaping @Sendable (VerifiedX509SVID) -> Void) throws ->
            NIOSSLServerHandler,
        _ context: GRPCListenerContext
    ) -> EventLoopFuture<Void> {
        channel.eventLoop.makeCompletedFuture {
            let verified = NIOLockedValueBox<VerifiedX509SVID?>(nil)
            let address = channel.remoteAddress
            let origin: ConnectionOrigin? =
                if isUnixSocket { try Self.user(of: channel) } else {
                    address.flatMap { ConnectionOrigin($0) }
                }
            // Asked for with the first request, which is after the handshake.
            let handler = GRPCConnectionHandler(listener: context, isTLS: true, from: origin) {
                PeerContext(
                    peer: .tls(verified: verified.withLockedValue { $0 }),
                    remoteIPAddress: address?.ipAddress, isOnUnixSocket: isUnixSocket)
            }
            // Before TLS is set up: a connection too many is to cost next to nothing.
            guard context.connections.add(channel, handler, from: origin) else {
                throw ChannelError.ioOnClosedChannel
            }
            let tls = try makeHandler(channel) { svid in verified.withLockedValue { $0 = svid } }
            try channel.pipeline.syncOperations.addHandlers(tls, handler)
        }
    }

    /// The user behind a Unix socket, to count connections by; no identity rests on it.
    private static func user(of channel: any Channel) throws -> ConnectionOrigin? {
        let user = try channel.pipeline.syncOperations.withUnsafeTransportIfAvailable(
            of: NIOBSDSocket.Handle.self
        ) { descriptor -> ConnectionOrigin? in
            var pid: Int32 = 0
            var uid: UInt32 = 0
            var gid: UInt32 = 0
            return cygnet_peer_credentials(descriptor, &pid, &uid, &gid) == 0 ? .user(uid) : nil
        }
        return user.flatMap { $0 }
    }
}
