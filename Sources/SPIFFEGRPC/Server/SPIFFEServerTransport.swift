public import GRPCCore
import NIOConcurrencyHelpers
import NIOCore
import NIOPosix

/// A gRPC server transport that tells handlers who calls: over mutual TLS between SPIFFE identities.
///
/// Give it to a `GRPCServer`. A client whose X509-SVID does not verify, or whom the authorizer does not let in, is
/// refused in the TLS handshake; in a handler `ServerContext.peerSPIFFEID` is who called.
///
/// ```swift
/// let server = GRPCServer(
///     transport: SPIFFEServerTransport(
///         host: "0.0.0.0", port: 8443, svid: source, bundles: source,
///         authorizer: .member(of: trustDomain)),
///     services: [service])
/// try await server.serve()
/// ```
///
/// The sources are asked at each handshake, so X509-SVIDs and bundles rotate without restart and no connection
/// is dropped for it. A connection keeps the identities of its handshake until it ends, for which
/// ``Settings/maxConnectionAge`` is there.
// HTTP/2 is our own (target HTTP2). Calls of an EventLoopService are answered on the event loop of their
// connection; all others go to gRPC's router. Every call's transportSpecific is a PeerContext.
public final class SPIFFEServerTransport: ServerTransport {
    /// Messages as they leave and arrive.
    public typealias Bytes = [UInt8]

    /// Limits and timings of a listener.
    public struct Settings: Sendable {
        /// Streams one connection may have open; more are refused, and the others stay.
        public var maxConcurrentStreams: Int
        /// Longest request message in bytes; a longer one is answered RESOURCE_EXHAUSTED.
        public var maxRequestBytes: Int
        /// Bytes of messages of one connection that have arrived in part.
        public var maxBufferedBytes: Int
        /// Bytes of one request that may be under way and not yet read; at least 65,535.
        public var streamWindow: Int
        /// After about this time a connection is asked to close: calls go on, new ones take a new connection. Nil
        /// means never.
        public var maxConnectionAge: Duration?
        /// How long calls may go on after the connection was asked to close; nil is as long as they like.
        public var maxGraceTime: Duration?
        /// Connections that one IPv4 address, or one IPv6 network of 64 bits, may have open over TCP; one more is
        /// closed before its handshake. Nil means any number. Clients behind one address translator count as one.
        public var maxConnectionsPerAddress: Int?
        /// Connections that the processes of one user may have open on a Unix socket.
        package var maxConnectionsPerUser: Int?
        /// Connections altogether; nil means any number.
        package var maxConnections: Int?
        /// Calls open altogether, and those of the processes of one user on a Unix socket. One more
        /// is answered RESOURCE_EXHAUSTED. Nil means any number.
        package var maxCalls: Int?
        package var maxCallsPerUser: Int?
        /// Bytes held altogether, and for one user: of requests that have come in part and of answers that are not
        /// read, but for messages that many streams share. Beyond it an answer that its client does not take
        /// at once is replaced by RESOURCE_EXHAUSTED. Nil means any number.
        package var maxHeldBytes: Int?
        package var maxHeldBytesPerUser: Int?
        /// Full paths (`/service/method`) of calls that are short and never block a thread: they are run
        /// on the event loop of their connection. All others run on the shared pool of threads.
        package var eventLoopMethods: Set<String>

        /// - Parameters:
        ///   - maxConcurrentStreams: See the property of this name, as for all of them.
        ///   - maxRequestBytes: In bytes.
        ///   - maxBufferedBytes: Nil is twice `maxRequestBytes`.
        ///   - streamWindow: In bytes.
        ///   - maxConnectionAge: Nil means that connections may last for ever.
        ///   - maxGraceTime: Nil means that calls may.
        ///   - maxConnectionsPerAddress: Nil means any number.
        public init(
            maxConcurrentStreams: Int = 1_000, maxRequestBytes: Int = 4 * 1024 * 1024,
            maxBufferedBytes: Int? = nil, streamWindow: Int = 256 * 1024,
            maxConnectionAge: Duration? = nil, maxGraceTime: Duration? = nil,
            maxConnectionsPerAddress: Int? = nil
        ) {
            self.init(
                maxConcurrentStreams: maxConcurrentStreams, maxRequestBytes: maxRequestBytes,
                maxBufferedBytes: maxBufferedBytes, streamWindow: streamWindow,
                maxConnectionAge: maxConnectionAge, maxGraceTime: maxGraceTime,
                maxConnectionsPerAddress: maxConnectionsPerAddress, maxConnectionsPerUser: nil,
                eventLoopMethods: [])
        }

        /// As the public initialiser, with what only our own daemons need.
        package init(
            maxConcurrentStreams: Int = 1_000, maxRequestBytes: Int = 4 * 1024 * 1024,
            maxBufferedBytes: Int? = nil, streamWindow: Int = 256 * 1024,
            maxConnectionAge: Duration? = nil, maxGraceTime: Duration? = nil,
            maxConnectionsPerAddress: Int? = nil, maxConnectionsPerUser: Int? = nil,
            maxConnections: Int? = nil, maxCalls: Int? = nil, maxCallsPerUser: Int? = nil,
            maxHeldBytes: Int? = nil, maxHeldBytesPerUser: Int? = nil,
            eventLoopMethods: Set<String> = []
        ) {
            self.maxConcurrentStreams = maxConcurrentStreams
            self.maxRequestBytes = maxRequestBytes
            self.maxBufferedBytes = maxBufferedBytes ?? maxRequestBytes * 2
            self.streamWindow = streamWindow
            self.maxConnectionAge = maxConnectionAge
            self.maxGraceTime = maxGraceTime
            self.maxConnectionsPerAddress = maxConnectionsPerAddress
            self.maxConnectionsPerUser = maxConnectionsPerUser
            self.maxConnections = maxConnections
            self.maxCalls = maxCalls
            self.maxCallsPerUser = maxCallsPerUser
            self.maxHeldBytes = maxHeldBytes
            self.maxHeldBytesPerUser = maxHeldBytesPerUser
            self.eventLoopMethods = eventLoopMethods
        }

        func runsOnEventLoop(_ service: String, _ method: String) -> Bool {
            !self.eventLoopMethods.isEmpty
                && self.eventLoopMethods.contains("/\(service)/\(method)")
        }
    }

    private enum State {
        case idle
        case listening(any Channel)
        case closed
    }

    private let listener: PeerListener
    private let settings: Settings
    private let services: [any EventLoopService]
    private let group = MultiThreadedEventLoopGroup.singleton
    private let connections: ConnectionSet
    private let state = NIOLockedValueBox(State.idle)
    private let bound: EventLoopPromise<Int?>

    /// - Parameter services: Services that are answered on the event loop.
    package init(
        listener: PeerListener, settings: Settings = Settings(),
        services: [any EventLoopService] = []
    ) {
        self.listener = listener
        self.settings = settings
        self.services = services
        self.connections = ConnectionSet(
            maxPerUser: settings.maxConnectionsPerUser,
            maxPerAddress: settings.maxConnectionsPerAddress, max: settings.maxConnections)
        self.bound = self.group.any().makePromise(of: Int?.self)
    }

    deinit { self.bound.succeed(nil) }

    /// The port bound on TCP (useful with port 0); nil for a Unix socket or after closing. Waits until bound.
    public var boundPort: Int? {
        get async {
            if case .closed = self.state.withLockedValue({ $0 }) { return nil }
            return try? await self.bound.futureResult.get()
        }
    }

    /// How many connections are open.
    public var connectionCount: Int { self.connections.count }

    /// Serves calls until the server ends; `GRPCServer` calls it.
    ///
    /// - Throws: Why the address cannot be bound.
    public func listen(
        streamHandler:
            @escaping @Sendable (_ stream: RPCStream<Inbound, Outbound>, _ context: ServerContext)
            async ->
            Void
    ) async throws {
        defer {
            self.state.withLockedValue { $0 = .closed }
            self.bound.succeed(nil)
        }
        let context = GRPCListenerContext(
            settings: self.settings, services: self.services, router: streamHandler,
            connections: self.connections)
        let channel = try await self.listener.bind(self.group, context)
        let isWanted = self.state.withLockedValue { state in
            guard case .idle = state else { return false }
            state = .listening(channel)
            return true
        }
        self.bound.succeed(channel.localAddress?.port)
        if !isWanted { channel.close(promise: nil) }
        await withTaskCancellationHandler {
            try? await channel.closeFuture.get()
            await self.connections.waitUntilEmpty()
        } onCancel: {
            channel.close(promise: nil)
            self.connections.stop()
        }
    }

    /// Accepts no more connections; calls that are open may finish. `GRPCServer` calls it.
    public func beginGracefulShutdown() {
        let channel = self.state.withLockedValue { state -> (any Channel)? in
            defer { if case .idle = state { state = .closed } }
            if case .listening(let channel) = state { return channel }
            return nil
        }
        channel?.close(promise: nil)
        self.connections.beginStopping()
    }
}
