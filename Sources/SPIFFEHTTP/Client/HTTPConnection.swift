import NIOConcurrencyHelpers
import NIOCore
import NIOHTTP1
import NIOPosix
import NIOSSL
import NIOTLS
import SPIFFE
import SPIFFETLS

/// A connection to a server that has shown who it is.
struct HTTPConnection: Sendable {
    let origin: HTTPSURL.Origin
    let channel: any Channel
    let peer: VerifiedX509SVID
    let openedAt: NIODeadline

    /// Connects and waits for the end of the handshake.
    static func connect(
        _ origin: HTTPSURL.Origin, _ tls: MTLSClientConfiguration, timeout: Duration,
        group: any EventLoopGroup
    ) async throws -> HTTPConnection {
        let place = "\(origin.host):\(origin.port)"
        let learnt = NIOLockedValueBox<Result<VerifiedX509SVID, any Error>?>(nil)
        let channel = try await self.open(origin, timeout: timeout, group: group) {
            channel in
            do {
                return try tls.makeHandler(
                    for: channel,
                    onVerified: { peer in learnt.withLockedValue { $0 = .success(peer) } },
                    onRefused: { error in learnt.withLockedValue { $0 = .failure(error) } })
            } catch {
                throw SPIFFEHTTPError(.noIdentity, "there is no X509-SVID for \(place)", error)
            }
        } refusal: { _ in
            guard case .failure(let refusal) = learnt.withLockedValue({ $0 }) else { return nil }
            return SPIFFEHTTPError(.refusedServer, "the server at \(place) is refused", refusal)
        }
        // Verification comes before the end of the handshake, and a server always has a certificate.
        guard case .success(let peer) = learnt.withLockedValue({ $0 }) else {
            channel.close(promise: nil)
            throw SPIFFEHTTPError(.connection, "the server at \(place) showed no X509-SVID")
        }
        return HTTPConnection(origin: origin, channel: channel, peer: peer, openedAt: .now())
    }

    /// Connects, with the TLS that the handler stands for.
    ///
    /// - Parameters:
    ///   - makeHandler: Called for each attempt with its connection, on the event loop; what it throws is thrown.
    ///   - refusal: Says whether a handshake has failed because of who the server is.
    static func open(
        _ origin: HTTPSURL.Origin, timeout: Duration, group: any EventLoopGroup,
        makeHandler: @escaping @Sendable (any Channel) throws -> NIOSSLClientHandler,
        refusal: (any Error) -> SPIFFEHTTPError?
    ) async throws -> any Channel {
        let place = "\(origin.host):\(origin.port)"
        let setUp = NIOLockedValueBox<(any Error)?>(nil)
        let eventLoop = group.next()
        // A name may have several addresses, and an attempt at one of them fails while another one succeeds.
        let handshakes = NIOLockedValueBox<[ObjectIdentifier: EventLoopPromise<Void>]>([:])
        let channel: any Channel
        do {
            let connecting = ClientBootstrap(group: eventLoop)
                .connectTimeout(TimeAmount(timeout))
                .channelOption(.tcpOption(.tcp_nodelay), value: 1)
                .channelInitializer { channel in
                    channel.eventLoop.makeCompletedFuture {
                        let handler: NIOSSLClientHandler
                        do {
                            handler = try makeHandler(channel)
                        } catch {
                            setUp.withLockedValue { $0 = error }
                            throw error
                        }
                        let pipeline = channel.pipeline.syncOperations
                        try pipeline.addHandler(handler)
                        let promise = channel.eventLoop.makePromise(of: Void.self)
                        handshakes.withLockedValue { $0[ObjectIdentifier(channel)] = promise }
                        do {
                            try pipeline.addHandler(HTTPHandshakeHandler(promise))
                        } catch {
                            promise.fail(error)
                            throw error
                        }
                        try pipeline.addHTTPClientHandlers()
                        try pipeline.addHandler(HTTPExchangeHandler())
                    }
                }
                .connect(host: origin.host, port: origin.port)
            let connected = eventLoop.makePromise(of: (any Channel).self)
            connecting.cascade(to: connected)
            channel = try await withTaskCancellationHandler {
                try await connected.futureResult.get()
            } onCancel: {
                // An attempt cannot be called off; whatever comes of it is closed.
                connected.fail(CancellationError())
                connecting.whenSuccess { $0.close(promise: nil) }
            }
        } catch {
            if let cause = setUp.withLockedValue({ $0 }) { throw cause }
            if case .connectTimeout? = error as? ChannelError {
                throw SPIFFEHTTPError(.timedOut, "connecting to \(place) took too long")
            }
            throw SPIFFEHTTPError(.connection, "cannot connect to \(place)", error)
        }
        guard let handshake = handshakes.withLockedValue({ $0[ObjectIdentifier(channel)] }) else {
            channel.close(promise: nil)
            throw SPIFFEHTTPError(.connection, "cannot connect to \(place)")
        }
        let timer = eventLoop.scheduleTask(in: TimeAmount(timeout)) {
            handshake.fail(
                SPIFFEHTTPError(.timedOut, "the TLS handshake with \(place) took too long"))
            channel.close(promise: nil)
        }
        defer { timer.cancel() }
        do {
            try await withTaskCancellationHandler {
                try await handshake.futureResult.get()
            } onCancel: {
                channel.close(promise: nil)
            }
        } catch {
            channel.close(promise: nil)
            if error is SPIFFEHTTPError { throw error }
            if let refusal = refusal(error) { throw refusal }
            throw SPIFFEHTTPError(.connection, "the TLS handshake with \(place) failed", error)
        }
        return channel
    }

    /// Sends a request and waits for the whole response.
    ///
    /// - Throws: ``SPIFFEHTTPError``, ``HTTPConnectionError`` or `CancellationError`; then the channel is closed.
    static func exchange(
        _ channel: any Channel, _ head: HTTPRequestHead, _ body: [UInt8],
        limits: SPIFFEHTTPClient.Limits
    ) async throws -> HTTPExchange.Result {
        let promise = channel.eventLoop.makePromise(of: HTTPExchange.Result.self)
        let exchange = HTTPExchange(
            head: head, body: body, maximumResponseBytes: limits.maximumResponseBytes,
            timeout: TimeAmount(limits.responseTimeout), promise: promise)
        do {
            return try await withTaskCancellationHandler {
                channel.writeAndFlush(exchange).whenFailure { promise.fail($0) }
                return try await promise.futureResult.get()
            } onCancel: {
                channel.close(promise: nil)
            }
        } catch {
            channel.close(promise: nil)
            try Task.checkCancellation()
            if error is SPIFFEHTTPError || error is HTTPConnectionError { throw error }
            throw HTTPConnectionError(error, cameBeforeResponse: true)
        }
    }
}

/// A connection broke.
struct HTTPConnectionError: Error {
    let cause: any Error
    /// Nothing of a response had come.
    let cameBeforeResponse: Bool

    init(_ cause: any Error, cameBeforeResponse: Bool) {
        self.cause = cause
        self.cameBeforeResponse = cameBeforeResponse
    }

    /// What the user of the client is told. In TLS 1.3 a server that refuses us says so only now.
    var reported: SPIFFEHTTPError {
        SPIFFEHTTPError(
            .connection,
            self.cameBeforeResponse
                ? "the server hung up without a response" : "the response is incomplete", self.cause
        )
    }
}

/// Tells when the handshake has ended, one way or the other.
final class HTTPHandshakeHandler: ChannelInboundHandler, RemovableChannelHandler {
    typealias InboundIn = NIOAny
    private var promise: EventLoopPromise<Void>?

    init(_ promise: EventLoopPromise<Void>) { self.promise = promise }

    private func complete(_ result: Result<Void, any Error>) {
        self.promise?.completeWith(result)
        self.promise = nil
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if case .handshakeCompleted = event as? TLSUserEvent { self.complete(.success(())) }
        context.fireUserInboundEventTriggered(event)
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        self.complete(.failure(error))
        context.fireErrorCaught(error)
    }

    func channelInactive(context: ChannelHandlerContext) {
        self.complete(.failure(ChannelError.eof))
        context.fireChannelInactive()
    }

    func handlerRemoved(context: ChannelHandlerContext) {
        self.complete(.failure(ChannelError.ioOnClosedChannel))
    }
}
