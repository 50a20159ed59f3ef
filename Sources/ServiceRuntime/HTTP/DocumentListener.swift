package import Logging
import NIOConcurrencyHelpers
package import NIOCore
import NIOHTTP1
import NIOPosix

#if canImport(Glibc)
    import Glibc
#else
    import Darwin
#endif

/// Finds the answer to a request; nil when there is nothing at its path.
///
/// Called on an event loop, so it must not wait.
package typealias DocumentRoutes = @Sendable (DocumentRequest) -> DocumentResponse?

/// Finds what makes the answer to a request on another thread, where it may wait for a disk; nil when there is nothing
/// at its path. What it finds gives nil for the same reason.
///
/// Asked on an event loop, after ``DocumentRoutes`` had nothing, and for GET and HEAD only.
package typealias SlowDocumentRoutes =
    @Sendable (DocumentRequest) -> (@Sendable () -> DocumentResponse?)?

/// What a listener takes at one path by POST.
package struct DocumentPost: Sendable {
    /// How long a body may be, in bytes.
    package let maximumBytes: Int
    /// Makes the answer to a body, on another thread, where it may wait for a disk.
    package let answer: @Sendable (_ body: [UInt8]) -> DocumentResponse

    package init(
        maximumBytes: Int, answer: @escaping @Sendable (_ body: [UInt8]) -> DocumentResponse
    ) {
        self.maximumBytes = maximumBytes
        self.answer = answer
    }
}

/// Finds what takes a POST; nil when nothing at its path does. Called on an event loop, before the body has come.
package typealias DocumentPosts = @Sendable (DocumentRequest) -> DocumentPost?

/// Serves documents from memory over HTTP/1.1: GET and HEAD, and small POSTs where asked for; bounded in every direction.
///
/// For health checks, bundles and discovery documents. With a handler for TLS it serves HTTPS.
package struct DocumentListener: Sendable {
    /// Where to listen.
    package enum Place: Sendable, Hashable, CustomStringConvertible {
        /// An IP address or host name, and a port; 0 takes a free one.
        case tcp(host: String, port: Int)
        /// A Unix socket and its permission bits.
        case unixSocket(path: String, mode: UInt32)

        package var description: String {
            switch self {
            case .tcp(let host, let port):
                host.contains(":") ? "[\(host)]:\(port)" : "\(host):\(port)"
            case .unixSocket(let path, _): path
            }
        }
    }

    private let purpose: String
    private let place: Place
    private let limits: DocumentLimits
    private let makeTLSHandler: (@Sendable () throws -> any ChannelHandler)?
    private let logger: Logger
    private let waits: DocumentWaits?
    private let routes: DocumentRoutes
    private let slowRoutes: SlowDocumentRoutes?
    private let posts: DocumentPosts?

    /// - Parameters:
    ///   - purpose: What is served, for messages: "health checks".
    ///   - place: Where to listen.
    ///   - limits: What clients may take up.
    ///   - makeTLSHandler: Makes the handler for one connection, on its event loop; nil serves without TLS. When it
    ///     throws, the connection is closed.
    ///   - waits: Those who wait for a document to change; nil answers everybody at once.
    ///   - slowRoutes: Finds answers that are not in memory.
    ///   - posts: Finds what takes POSTs; nil refuses every body.
    ///   - routes: Finds the answers. Asked again for a request that has waited.
    package init(
        purpose: String, place: Place, limits: DocumentLimits = DocumentLimits(),
        makeTLSHandler: (@Sendable () throws -> any ChannelHandler)? = nil, logger: Logger,
        waits: DocumentWaits? = nil, slowRoutes: SlowDocumentRoutes? = nil,
        posts: DocumentPosts? = nil, routes: @escaping DocumentRoutes
    ) {
        self.purpose = purpose
        self.place = place
        self.limits = limits
        self.makeTLSHandler = makeTLSHandler
        self.logger = logger
        self.waits = waits
        self.routes = routes
        self.slowRoutes = slowRoutes
        self.posts = posts
    }

    /// Serves until the task is cancelled; then answers the requests that wait, closes all connections and returns.
    ///
    /// - Parameter onBound: Told the TCP port once it is bound; 0 for a Unix socket.
    /// - Throws: ``CommandError`` when the address cannot be bound, ``FileError`` when the socket's path is not fit.
    package func run(onBound: @Sendable (Int) -> Void = { _ in }) async throws {
        let connections = DocumentConnections(self.limits, purpose: self.purpose, self.logger)
        let listener = try await self.bind(connections)
        let port = listener.localAddress?.port ?? 0
        if case .unixSocket(let path, let mode) = self.place {
            do throws(FileError) {
                try UnixSocketPath(path).setMode(mode)
            } catch {
                listener.close(promise: nil)
                throw error
            }
        }
        self.logger.info(
            "serving \(self.purpose)", metadata: ["address": "\(self.address(port: port))"])
        onBound(port)
        try await withTaskCancellationHandler {
            try await listener.closeFuture.get()
        } onCancel: {
            listener.close(promise: nil)
        }
        self.waits?.end()
        connections.closeAll()
        if case .unixSocket(let path, _) = self.place { unlink(path) }
    }

    private func address(port: Int) -> String {
        guard case .tcp(let host, _) = self.place else { return self.place.description }
        return Place.tcp(host: host, port: port).description
    }

    private func bind(_ connections: DocumentConnections) async throws -> any Channel {
        let clock = HTTPDate()
        let (routes, limits, makeTLSHandler) = (self.routes, self.limits, self.makeTLSHandler)
        let waits = self.waits
        let slowRoutes = self.slowRoutes
        let posts = self.posts
        let bootstrap = ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
            .serverChannelOption(.backlog, value: 512)
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try connections.add(channel)
                    let pipeline = channel.pipeline.syncOperations
                    if let makeTLSHandler { try pipeline.addHandler(try makeTLSHandler()) }
                    let connection = DocumentConnection(
                        routes: routes, slowRoutes: slowRoutes, limits: limits, clock: clock,
                        waits: waits, posts: posts)
                    try pipeline.addHandler(DocumentByteCounter(connection))
                    try pipeline.addHandler(
                        ByteToMessageHandler(
                            HTTPRequestDecoder(leftOverBytesStrategy: .dropBytes)))
                    try pipeline.addHandler(connection)
                }
            }
        if case .unixSocket(let path, _) = self.place {
            // Public documents, so others may come through the directory.
            try UnixSocketPath(path).prepare(directoryMode: 0o755)
        }
        do {
            switch self.place {
            case .tcp(let host, let port):
                return try await bootstrap.childChannelOption(.tcpOption(.tcp_nodelay), value: 1)
                    .bind(host: host, port: port).get()
            case .unixSocket(let path, _):
                return try await bootstrap.bind(unixDomainSocketPath: path).get()
            }
        } catch {
            throw CommandError("cannot listen for \(self.purpose) on \(self.place): \(error)")
        }
    }
}

/// The open connections of a listener, counted.
private final class DocumentConnections: Sendable {
    struct OneTooMany: Error {}

    private struct State {
        var channels: [ObjectIdentifier: any Channel] = [:]
        var perAddress: [String: Int] = [:]
        var lastWarning = NIODeadline.uptimeNanoseconds(0)
        var isClosed = false
    }

    private let limits: DocumentLimits
    private let purpose: String
    private let logger: Logger
    private let state = NIOLockedValueBox(State())

    init(_ limits: DocumentLimits, purpose: String, _ logger: Logger) {
        self.limits = limits
        self.purpose = purpose
        self.logger = logger
    }

    /// - Throws: When the connection is one too many; whoever initialises the channel closes it then.
    func add(_ channel: any Channel) throws {
        let key = ObjectIdentifier(channel)
        let address = channel.remoteAddress.flatMap(DocumentClient.counted)
        let refusal: (isOpen: Bool, warns: Bool) = self.state.withLockedValue { state in
            let ofAddress = address.flatMap { state.perAddress[$0] } ?? 0
            guard !state.isClosed, state.channels.count < self.limits.maximumConnections,
                ofAddress < self.limits.maximumConnectionsPerAddress
            else {
                let now = NIODeadline.now()
                let warns = !state.isClosed && now - state.lastWarning > .seconds(60)
                if warns { state.lastWarning = now }
                return (false, warns)
            }
            state.channels[key] = channel
            if let address { state.perAddress[address] = ofAddress + 1 }
            return (true, false)
        }
        if refusal.warns {
            self.logger.warning(
                "too many connections, further ones are closed",
                metadata: ["purpose": "\(self.purpose)", "address": "\(address ?? "")"])
        }
        guard refusal.isOpen else { throw OneTooMany() }
        channel.closeFuture.whenComplete { _ in self.remove(key, address) }
    }

    func closeAll() {
        let channels = self.state.withLockedValue { state in
            state.isClosed = true
            return Array(state.channels.values)
        }
        for channel in channels { channel.close(promise: nil) }
    }

    private func remove(_ key: ObjectIdentifier, _ address: String?) {
        self.state.withLockedValue { state in
            guard state.channels.removeValue(forKey: key) != nil, let address else { return }
            let left = (state.perAddress[address] ?? 1) - 1
            state.perAddress[address] = left > 0 ? left : nil
        }
    }
}

/// Whom a connection comes from.
enum DocumentClient {
    /// What the limit of an address counts: of IPv6 the network of 64 bits, because who has one address there has
    /// them all; IPv4 that is written as IPv6 is IPv4.
    static func counted(_ address: SocketAddress) -> String? {
        guard let text = address.ipAddress else { return nil }
        var bytes = [UInt8](repeating: 0, count: 16)
        guard inet_pton(AF_INET6, text, &bytes) == 1 else { return text }
        let isIPv4 = bytes[..<12] == [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff]
        return isIPv4 ? text : bytes[..<8].map { String($0, radix: 16) }.joined(separator: ":")
    }
}
