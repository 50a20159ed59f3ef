import NIOCore
import NIOHTTP1

/// A request on its way through a connection, and who waits for the response.
struct HTTPExchange: Sendable {
    struct Result: Sendable {
        let head: HTTPResponseHead
        let body: [UInt8]
        /// Whether the connection can take another request.
        let isReusable: Bool
    }

    let head: HTTPRequestHead
    let body: [UInt8]
    let maximumResponseBytes: Int
    let timeout: TimeAmount
    let promise: EventLoopPromise<Result>
}

/// Sends one request at a time and collects its response.
final class HTTPExchangeHandler: ChannelDuplexHandler {
    typealias InboundIn = HTTPClientResponsePart
    typealias OutboundIn = HTTPExchange
    typealias OutboundOut = HTTPClientRequestPart

    private var exchange: HTTPExchange?
    private var head: HTTPResponseHead?
    private var body: [UInt8] = []
    private var timer: Scheduled<Void>?

    func write(
        context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?
    ) {
        let exchange = self.unwrapOutboundIn(data)
        guard self.exchange == nil, context.channel.isActive else {
            exchange.promise.fail(
                HTTPConnectionError(ChannelError.ioOnClosedChannel, cameBeforeResponse: true))
            promise?.succeed()
            return
        }
        self.exchange = exchange
        self.timer = context.eventLoop.assumeIsolated().scheduleTask(in: exchange.timeout) {
            self.fail(SPIFFEHTTPError(.timedOut, "the response took too long"), context)
        }
        context.write(self.wrapOutboundOut(.head(exchange.head)), promise: nil)
        if !exchange.body.isEmpty {
            let bytes = context.channel.allocator.buffer(bytes: exchange.body)
            context.write(self.wrapOutboundOut(.body(.byteBuffer(bytes))), promise: nil)
        }
        context.write(self.wrapOutboundOut(.end(nil)), promise: promise)
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        guard let exchange = self.exchange else {
            // A server that speaks unasked is not to be trusted with the next request.
            context.close(promise: nil)
            return
        }
        switch self.unwrapInboundIn(data) {
        case .head(let head):
            self.head = head
        case .body(let bytes):
            guard self.body.count + bytes.readableBytes <= exchange.maximumResponseBytes else {
                return self.fail(
                    SPIFFEHTTPError(
                        .responseTooLarge,
                        "the response has more than \(exchange.maximumResponseBytes) bytes"),
                    context)
            }
            self.body.append(contentsOf: bytes.readableBytesView)
        case .end:
            guard let head = self.head else { return }
            let isReusable = head.isKeepAlive && head.status != .switchingProtocols
            let result = HTTPExchange.Result(head: head, body: self.body, isReusable: isReusable)
            self.reset()
            exchange.promise.succeed(result)
        }
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        self.fail(HTTPConnectionError(error, cameBeforeResponse: self.head == nil), context)
    }

    func channelInactive(context: ChannelHandlerContext) {
        self.fail(
            HTTPConnectionError(ChannelError.eof, cameBeforeResponse: self.head == nil), context)
        context.fireChannelInactive()
    }

    func handlerRemoved(context: ChannelHandlerContext) {
        let exchange = self.exchange
        self.reset()
        exchange?.promise.fail(
            HTTPConnectionError(ChannelError.ioOnClosedChannel, cameBeforeResponse: true))
    }

    private func fail(_ error: any Error, _ context: ChannelHandlerContext) {
        let exchange = self.exchange
        self.reset()
        exchange?.promise.fail(error)
        context.close(promise: nil)
    }

    private func reset() {
        self.timer?.cancel()
        self.timer = nil
        self.exchange = nil
        self.head = nil
        self.body = []
    }
}
