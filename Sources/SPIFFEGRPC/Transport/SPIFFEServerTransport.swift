package import GRPCCore
package import GRPCNIOTransportHTTP2Posix
import NIOCore
import NIOPosix

/// A gRPC server transport for Unix sockets and for TLS that tells handlers who calls.
///
/// Every call's `ServerContext.transportSpecific` is a ``PeerContext``. A call whose connection is not in
/// the registry is answered UNAVAILABLE and never reaches a handler.
package final class SPIFFEServerTransport: ServerTransport {
    package typealias Bytes = GRPCNIOTransportBytes

    /// Limits and timings of a listener.
    package struct Settings: Sendable {
        /// Streams one connection may have open. Never the library's default: without a number nothing is
        /// advertised and the 101st stream ends the whole connection.
        package var maxConcurrentStreams: Int
        /// Longest request message in bytes.
        package var maxRequestBytes: Int
        /// After this time a connection is asked to close; nil means never.
        package var maxConnectionAge: Duration?
        /// How long calls may go on after the connection was asked to close.
        package var maxGraceTime: Duration?
        /// Whether flushes of several calls are joined: better under load, slower for a lone call.
        package var joinsFlushes: Bool

        package init(
            maxConcurrentStreams: Int = 1_000, maxRequestBytes: Int = 4 * 1024 * 1024,
            maxConnectionAge: Duration? = nil, maxGraceTime: Duration? = nil,
            joinsFlushes: Bool = false
        ) {
            self.maxConcurrentStreams = maxConcurrentStreams
            self.maxRequestBytes = maxRequestBytes
            self.maxConnectionAge = maxConnectionAge
            self.maxGraceTime = maxGraceTime
            self.joinsFlushes = joinsFlushes
        }
    }

    private let base: HTTP2ServerTransport.Custom<PeerListenerFactory>
    private let registry = ConnectionRegistry()

    package init(listener: PeerListener, settings: Settings = Settings()) {
        var config = HTTP2ServerTransport.Custom<PeerListenerFactory>.Config.defaults
        config.http2.maxConcurrentStreams = settings.maxConcurrentStreams
        config.rpc.maxRequestPayloadSize = settings.maxRequestBytes
        config.connection.maxAge = settings.maxConnectionAge
        config.connection.maxGraceTime = settings.maxGraceTime
        if !settings.joinsFlushes { config.connection.flushCoalescing = nil }
        self.base = HTTP2ServerTransport.Custom(
            listenerFactory: PeerListenerFactory(
                eventLoopGroup: MultiThreadedEventLoopGroup.singleton, listener: listener,
                registry: self.registry),
            config: config)
    }

    /// The port bound on TCP (useful with port 0); nil for a Unix socket or after closing. Waits until bound.
    package var boundPort: Int? {
        get async {
            let address = await self.base.listeningAddress
            return address?.ipv4?.port ?? address?.ipv6?.port
        }
    }

    /// How many connections are open.
    package var connectionCount: Int { self.registry.count }

    package func configure(context: GRPCServerContext) { self.base.configure(context: context) }

    package func listen(
        streamHandler:
            @escaping @Sendable (_ stream: RPCStream<Inbound, Outbound>, _ context: ServerContext)
            async ->
            Void
    ) async throws {
        let registry = self.registry
        try await self.base.listen { stream, context in
            guard let peer = registry.peer(forTag: context.remotePeer) else {
                let status = Status(code: .unavailable, message: "connection is closing")
                try? await stream.outbound.write(.status(status, [:]))
                await stream.outbound.finish()
                return
            }
            var context = context
            let peerContext = peer.context
            context.transportSpecific = peerContext
            switch peerContext.peer {
            case .local(let local): context.remotePeer = "unix:pid=\(local.pid)"
            case .tls: context.remotePeer = "tcp:\(peer.remoteIPAddress ?? "unknown")"
            }
            await streamHandler(stream, context)
        }
    }

    package func beginGracefulShutdown() { self.base.beginGracefulShutdown() }
}
