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
        let identity = NIOLockedValueBox<(any Error)?>(nil)
        let eventLoop = group.next()
        let handshake = eventLoop.makePromise(of: Void.self)
        let channel: any Channel
        do {
            channel = try await ClientBootstrap(group: eventLoop)
                .connectTimeout(TimeAmount(timeout))
                .channelOption(.tcpOption(.tcp_nodelay), value: 1)
                .channelInitializer { channel in
                    channel.eventLoop.makeCompletedFuture {
                        let handler: NIOSSLClientHandler
                        do {
                            handler = try tls.makeHandler(
                                onVerified: { peer in
                                    learnt.withLockedValue { $0 = .success(peer) }
                                },
                                onRefused: { error in
                                    learnt.withLockedValue { $0 = .failure(error) }
                                })
                        } catch {
                            identity.withLockedValue { $0 = error }
                            throw error
                        }
                        let pipeline = channel.pipeline.syncOperations
                        try pipeline.addHandler(handler)
                        try pipeline.addHandler(HTTPHandshakeHandler(handshake))
                        try pipeline.addHTTPClientHandlers()
                        try pipeline.addHandler(HTTPExchangeHandler())
                    }
                }
                .connect(host: origin.host, port: origin.port).get()
        } catch {
            handshake.fail(error)
            if let cause = identity.withLockedValue({ $0 }) {
                throw SPIFFEHTTPError(.noIdentity, "there is no X509-SVID for \(place)", cause)
            }
            if case .connectTimeout? = error as? ChannelError {
                throw SPIFFEHTTPError(.timedOut, "connecting to \(place) took too long")
            }
            throw SPIFFEHTTPError(.connection, "cannot connect to \(place)", error)
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
            if case .failure(let refusal) = learnt.withLockedValue({ $0 }) {
                throw SPIFFEHTTPError(.refusedServer, "the server at \(place) is refused", refusal)
            }
            throw SPIFFEHTTPError(.connection, "the TLS handshake with \(place) failed", error)
        }
        // Verification comes before the end of the handshake, and a server always has a certificate.
        guard case .success(let peer) = learnt.withLockedValue({ $0 }) else {
            channel.close(promise: nil)
            throw SPIFFEHTTPError(.connection, "the server at \(place) showed no X509-SVID")
        }
        return HTTPConnection(origin: origin, channel: channel, peer: peer, openedAt: .now())
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
