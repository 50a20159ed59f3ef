import NIOCore
import NIOHTTP1

/// One connection of a document listener: reads requests, answers each at once, and ends when a limit is passed.
///
/// Answers come from memory, and pipelined requests are answered in their order. A request waits only when it prefers
/// to, has the document that there is, and finds a place; the next request on the connection ends its wait. What is not
/// read by the client is not piled up: long content is shared by all connections and goes out in parts, the next when the
/// one before is on its way, and a client that asks on without reading is disconnected.
final class DocumentConnection: ChannelInboundHandler {
    typealias InboundIn = HTTPServerRequestPart
    typealias OutboundOut = ByteBuffer

    let routes: DocumentRoutes
    let slowRoutes: SlowDocumentRoutes?
    let posts: DocumentPosts?
    let limits: DocumentLimits
    private let clock: HTTPDate
    /// Nil when nobody may wait.
    let waits: DocumentWaits?
    private(set) var client: String?
    var waiting: WaitingRequest?
    private(set) var context: ChannelHandlerContext?
    private var head: HTTPRequestHead?
    /// A request whose body is coming.
    var upload: DocumentUpload?
    /// Bytes that came since the last complete request.
    private var unfinishedBytes = 0
    /// Bytes of answers that were written and not flushed.
    private var unflushedBytes = 0
    private static let mostUnflushedBytes = 64 * 1024
    private(set) var isIdle = false
    private(set) var isClosing = false
    var endOfLife = NIODeadline.distantFuture
    var deadline = NIODeadline.distantFuture
    private var timer: Scheduled<Void>?

    /// Whether an answer is being made on another thread; further requests wait for it.
    var isAnswering = false
    /// What the client has not taken yet of a long answer; further requests wait for it, too.
    private(set) var unsent: ByteBuffer?
    private var closesBehindUnsent = false
    private var isSendingParts = false
    private static let partLength = 32 * 1024
    var queued: [HTTPRequestHead] = []

    /// Whether an answer is not out yet that comes before any other.
    var isBusy: Bool { self.isAnswering || self.unsent != nil || !self.queued.isEmpty }

    init(
        routes: @escaping DocumentRoutes, slowRoutes: SlowDocumentRoutes?, limits: DocumentLimits,
        clock: HTTPDate, waits: DocumentWaits? = nil, posts: DocumentPosts? = nil
    ) {
        self.routes = routes
        self.slowRoutes = slowRoutes
        self.limits = limits
        self.clock = clock
        self.waits = waits
        self.posts = posts
    }

    // MARK: Life

    func handlerAdded(context: ChannelHandlerContext) {
        self.context = context
        if self.waits != nil {
            self.client = context.channel.remoteAddress.flatMap(DocumentClient.counted)
        }
        let now = context.eventLoop.now
        self.endOfLife = now + TimeAmount(self.limits.maximumAge)
        self.deadline = now + TimeAmount(self.limits.requestTimeout)
        self.watch(context)
    }

    func handlerRemoved(context: ChannelHandlerContext) {
        self.timer?.cancel()
        self.timer = nil
        // Whoever waited is gone.
        _ = self.takeWaiting()
        self.context = nil
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        guard let error = error as? HTTPParserError else { return context.close(promise: nil) }
        let isTooLong = error == .headerOverflow
        self.refuse(
            isTooLong
                ? .refusal(431, "header fields are too long")
                : .refusal(400, "this is no request in HTTP/1.1"), context)
    }

    /// Looks at the deadline now and then instead of moving a timer with every request.
    private func watch(_ context: ChannelHandlerContext) {
        let now = context.eventLoop.now
        let wait = min(self.deadline - now, TimeAmount(self.limits.requestTimeout))
        self.timer = context.eventLoop.assumeIsolated().scheduleTask(in: wait) {
            if context.eventLoop.now >= self.deadline {
                context.close(promise: nil)
            } else {
                self.watch(context)
            }
        }
    }

    // MARK: Requests

    /// Bytes have come and are about to be parsed.
    func willParse(_ count: Int) {
        self.unfinishedBytes += count
        guard self.isIdle, let context = self.context else { return }
        self.isIdle = false
        self.deadline = context.eventLoop.now + TimeAmount(self.limits.requestTimeout)
    }

    /// They have been parsed; what is left of them belongs to a request that is not complete.
    func didParse() {
        let most = self.limits.maximumRequestBytes + (self.upload?.length ?? 0)
        guard self.unfinishedBytes > most, let context = self.context else { return }
        self.refuse(.refusal(431, "the request is too long"), context)
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        guard !self.isClosing else { return }
        switch self.unwrapInboundIn(data) {
        case .head(let head):
            if head.method == .POST, self.beginUpload(head, context) { return }
            if Self.hasBody(head) {
                self.refuse(.refusal(413, "requests have no body here"), context)
            } else if Self.size(of: head) > self.limits.maximumRequestBytes {
                self.refuse(.refusal(431, "header fields are too long"), context)
            } else {
                self.head = head
            }
        case .body(let bytes):
            guard self.upload?.take(bytes) == true else {
                return self.refuse(.refusal(413, "requests have no body here"), context)
            }
        case .end:
            guard let head = self.head ?? self.upload?.head else { return }
            let upload = self.upload
            self.upload = nil
            self.head = nil
            self.unfinishedBytes = 0
            self.isIdle = true
            self.deadline = context.eventLoop.now + TimeAmount(self.limits.idleTimeout)
            if let upload {
                self.answer(upload, context)
            } else {
                self.answer(head, context)
            }
        }
    }

    func flush(_ context: ChannelHandlerContext) {
        self.unflushedBytes = 0
        context.flush()
    }

    func channelReadComplete(context: ChannelHandlerContext) {
        self.flush(context)
        context.fireChannelReadComplete()
    }

    func channelWritabilityChanged(context: ChannelHandlerContext) {
        self.sendParts(context)
        context.fireChannelWritabilityChanged()
    }

    private static func hasBody(_ head: HTTPRequestHead) -> Bool {
        if head.headers.contains(name: "transfer-encoding") { return true }
        return head.headers["content-length"].contains { $0 != "0" }
    }

    static func size(of head: HTTPRequestHead) -> Int {
        head.headers.reduce(head.uri.utf8.count) { $0 + $1.name.utf8.count + $1.value.utf8.count }
    }

    /// Ends the connection without an answer.
    func end(_ context: ChannelHandlerContext) {
        self.isClosing = true
        self.unsent = nil
        context.close(promise: nil)
    }

    // MARK: Sending

    /// Answers and ends the connection.
    func refuse(
        _ response: DocumentResponse, _ context: ChannelHandlerContext, _ method: HTTPMethod = .GET
    ) {
        self.endWaiting(context)
        guard !self.isClosing else { return }
        // In the middle of an answer nothing else can be said.
        guard self.unsent == nil else { return self.end(context) }
        self.send(
            response, isUnchanged: false, withBody: method != .HEAD, appliedWait: nil, closes: true,
            context)
    }

    func send(
        _ response: DocumentResponse, isUnchanged: Bool, withBody: Bool, appliedWait: Int?,
        closes: Bool, _ context: ChannelHandlerContext
    ) {
        let content = withBody && !isUnchanged ? response.content : ByteBuffer()
        let isLong = content.readableBytes > Self.mostUnflushedBytes
        var buffer = context.channel.allocator.buffer(
            capacity: response.headLength(isUnchanged: isUnchanged)
                + (isLong ? 0 : content.readableBytes))
        response.writeHead(
            to: &buffer, date: self.clock.text, isUnchanged: isUnchanged,
            appliedWait: appliedWait, closes: closes)
        guard !isLong else {
            context.write(self.wrapOutboundOut(buffer), promise: nil)
            self.unsent = content
            self.closesBehindUnsent = closes
            return self.sendParts(context)
        }
        buffer.writeImmutableBuffer(content)
        guard closes else {
            // TLS keeps what is not flushed, and the channel does not count it before.
            self.unflushedBytes += buffer.readableBytes
            context.write(self.wrapOutboundOut(buffer), promise: nil)
            if self.unflushedBytes >= Self.mostUnflushedBytes { self.flush(context) }
            return
        }
        self.sendLast(buffer, context)
    }

    /// Sends what closes the connection.
    private func sendLast(_ buffer: ByteBuffer, _ context: ChannelHandlerContext) {
        self.isClosing = true
        let written = context.eventLoop.makePromise(of: Void.self)
        written.futureResult.assumeIsolated().whenComplete { _ in context.close(promise: nil) }
        context.writeAndFlush(self.wrapOutboundOut(buffer), promise: written)
    }

    /// Sends on with a long answer as far as the client takes it, then what waits behind it. TLS makes a copy of what it
    /// is given, so it is given no more than that.
    private func sendParts(_ context: ChannelHandlerContext) {
        // Flushing may call back.
        guard !self.isSendingParts else { return }
        self.isSendingParts = true
        defer { self.isSendingParts = false }
        repeat {
            while !self.isClosing, context.channel.isWritable, var rest = self.unsent {
                let length = min(Self.partLength, rest.readableBytes)
                guard let part = rest.readSlice(length: length) else { return self.end(context) }
                self.unsent = rest.readableBytes > 0 ? rest : nil
                if self.unsent == nil, self.closesBehindUnsent {
                    return self.sendLast(part, context)
                }
                self.unflushedBytes = 0
                context.writeAndFlush(self.wrapOutboundOut(part), promise: nil)
            }
            guard self.unsent == nil, !self.queued.isEmpty else { return }
            self.takeQueued(context)
            self.flush(context)
            // Another long answer may have come, and nobody calls again while the client takes everything.
        } while self.unsent != nil && !self.isClosing && context.channel.isWritable
    }
}
