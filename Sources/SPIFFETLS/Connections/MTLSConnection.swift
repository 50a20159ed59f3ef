import NIOConcurrencyHelpers
public import NIOCore
public import NIOPosix
public import SPIFFE

/// One open connection over mutual TLS, and who is at its other end.
///
/// Comes from ``MTLSServer`` or ``connect(host:port:configuration:timeout:group:_:)`` after the handshake: the peer has
/// proven who it is and the authorizer has let it in. Closed when the body that got it returns.
public struct MTLSConnection: Sendable {
    /// Who is at the other end.
    public let peer: VerifiedX509SVID
    /// What the peer sends, in pieces of any size; ends when it has nothing more to say. May be read once.
    public let inbound: NIOAsyncChannelInboundStream<ByteBuffer>
    /// What is sent to the peer; writing waits when the peer does not read.
    public let outbound: NIOAsyncChannelOutboundWriter<ByteBuffer>

    /// Sends a text as UTF-8.
    ///
    /// - Throws: When the connection is gone.
    public func write(_ text: String) async throws {
        try await self.outbound.write(ByteBuffer(string: text))
    }

    /// Reads all that the peer sends until it has nothing more to say, as UTF-8; what is none is replaced.
    ///
    /// - Parameter limit: In bytes.
    /// - Throws: ``MTLSConnectionError`` `tooLong` beyond the limit, or when the connection breaks: a peer that hangs up
    ///   without TLS's farewell has perhaps said less than it meant to.
    public func readText(atMost limit: Int = 1024 * 1024) async throws -> String {
        var bytes = ByteBuffer()
        for try await var piece in self.inbound {
            guard bytes.readableBytes + piece.readableBytes <= limit else {
                throw MTLSConnectionError(.tooLong, "the peer sent more than \(limit) bytes")
            }
            bytes.writeBuffer(&piece)
        }
        return String(buffer: bytes)
    }

    /// Connects to a server, makes sure that it is the one meant, and closes the connection after the body.
    ///
    /// ```swift
    /// try await MTLSConnection.connect(
    ///     host: "db.internal", port: 8443,
    ///     configuration: MTLSClientConfiguration(
    ///         svid: source, bundles: source, authorizer: .exactly(database))
    /// ) { connection in
    ///     try await connection.write("hello")
    /// }
    /// ```
    ///
    /// - Parameters:
    ///   - host: A name or an IP address; says where the server is and nothing about who it is.
    ///   - port: The TCP port.
    ///   - configuration: Who this client is, and which servers it means to talk to.
    ///   - timeout: How long connecting may take, and again the handshake.
    ///   - group: Where the connection lives; of the Posix kind.
    ///   - body: What uses the connection.
    /// - Throws: ``MTLSConnectionError``, what connecting throws, or what the body throws.
    public nonisolated(nonsending) static func connect<Result: Sendable>(
        host: String, port: Int, configuration: MTLSClientConfiguration,
        timeout: Duration = .seconds(10),
        group: any EventLoopGroup = MultiThreadedEventLoopGroup.singleton,
        _ body: (MTLSConnection) async throws -> Result
    ) async throws -> Result {
        let identity = NIOLockedValueBox<(any Error)?>(nil)
        let pending: PendingConnection
        do {
            pending = try await ClientBootstrap(group: group)
                .connectTimeout(TimeAmount(timeout))
                .channelOption(.tcpOption(.tcp_nodelay), value: 1)
                .connect(host: host, port: port) { channel in
                    channel.eventLoop.makeCompletedFuture {
                        try PendingConnection(channel, timeout: timeout) { onVerified, onRefused in
                            do {
                                return try configuration.makeHandler(
                                    for: channel, onVerified: onVerified, onRefused: onRefused)
                            } catch {
                                identity.withLockedValue { $0 = error }
                                throw error
                            }
                        }
                    }
                }
        } catch {
            // Without an identity the connection was not made; that says more than how it ended.
            if let cause = identity.withLockedValue({ $0 }) {
                throw MTLSConnectionError(
                    .noIdentity, "there is no X509-SVID to present", cause)
            }
            throw error
        }
        return try await pending.serve(body)
    }
}

/// Why a connection did not come about, or could not be used.
public struct MTLSConnectionError: Error, Sendable, CustomStringConvertible {
    /// What went wrong.
    public struct Code: Hashable, Sendable, CustomStringConvertible {
        private enum Value: String, Hashable, Sendable {
            case noIdentity, refusedPeer, handshake, noCertificate, tooLong
        }
        private let value: Value
        private init(_ value: Value) { self.value = value }

        /// The source has no X509-SVID to present.
        public static let noIdentity = Code(.noIdentity)
        /// The peer is not who it says, or may not talk to us; `cause` says why.
        public static let refusedPeer = Code(.refusedPeer)
        /// TLS failed or took too long. A peer that refuses us looks like this, too.
        public static let handshake = Code(.handshake)
        /// The peer has no certificate, which the configuration allows and this use does not.
        public static let noCertificate = Code(.noCertificate)
        /// The peer sent more than it was allowed to.
        public static let tooLong = Code(.tooLong)

        public var description: String { self.value.rawValue }
    }

    /// What went wrong; compare this.
    public let code: Code
    /// The same for people on this side.
    public let message: String
    /// The error below this one, if any.
    public let cause: (any Error)?

    init(_ code: Code, _ message: String, _ cause: (any Error)? = nil) {
        self.code = code
        self.message = cause.map { "\(message): \($0)" } ?? message
        self.cause = cause
    }

    public var description: String { self.message }
}
