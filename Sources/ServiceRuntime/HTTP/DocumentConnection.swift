import NIOCore
import NIOHTTP1
import NIOPosix

/// One connection of a document listener: reads requests, answers each at once, and ends when a limit is passed.
///
/// Answers come from memory, and pipelined requests are answered in their order. A request waits only when it prefers
/// to, has the document that there is, and finds a place; the next request on the connection ends its wait. What is not
/// read by the client is not piled up: long content is shared by all connections and goes out in parts, the next when the
/// one before is on its way, and a client that asks on without reading is disconnected.
final class DocumentConnection: ChannelInboundHandler {
    typealias InboundIn = HTTPServerRequestPart
    typealias OutboundOut = ByteBuffer

    private let routes: DocumentRoutes
    private let slowRoutes: SlowDocumentRoutes?
    let posts: DocumentPosts?
    let limits: DocumentLimits
    private let clock: HTTPDate
    /// Nil when nobody may wait.
    private let waits: DocumentWaits?
    private(set) var client: String?
    private var waiting: WaitingRequest?
    private var context: ChannelHandlerContext?
    private var head: HTTPRequestHead?
    /// A request whose body is coming.
    var upload: DocumentUpload?
    /// Bytes that came since the last complete request.
    private var unfinishedBytes = 0
    /// Bytes of answers that were written and not flushed.
    private var unflushedBytes = 0
    private static let mostUnflushedBytes = 64 * 1024
    private var isIdle = false
    private var isClosing = false
    private var endOfLife = NIODeadline.distantFuture
    private var deadline = NIODeadline.distantFuture
    private var timer: Scheduled<Void>?

    /// Whether an answer is being made on another thread; further requests wait for it.
    private var isAnswering = false
    /// What the client has not taken yet of a long answer; further requests wait for it, too.
    private var unsent: ByteBuffer?
    private var closesBehindUnsent = false
    private var isSendingParts = false
    private static let partLength = 32 * 1024
    private var queued: [HTTPRequestHead] = []
    private static let mostQueued = 64
    private static let mostQueuedBehindUnsent = 8

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

    /// A request whose answer is held back.
    private struct WaitingRequest {
        let request: DocumentRequest
        let head: HTTPRequestHead
        let seconds: Int
        let place: DocumentWaits.Place
        let timer: Scheduled<Void>
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

    private func flush(_ context: ChannelHandlerContext) {
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

    private func answer(_ head: HTTPRequestHead, _ context: ChannelHandlerContext) {
        // It may be long, and this answer comes behind it.
        self.endWaiting(context)
        guard !self.isBusy else {
            self.queued.append(head)
            let most = self.unsent == nil ? Self.mostQueued : Self.mostQueuedBehindUnsent
            if self.queued.count > most { self.end(context) }
            return
        }
        self.respond(to: head, context)
    }

    private func respond(to head: HTTPRequestHead, _ context: ChannelHandlerContext) {
        guard self.isReady(context) else { return }
        guard let request = DocumentRequest(head, client: self.client) else {
            return self.refuse(.refusal(400, "a request names a path and one host"), context)
        }
        guard let response = self.routes(request) else {
            if head.method == .GET || head.method == .HEAD, let work = self.slowRoutes?(request) {
                return self.make(by: work, head, request, context)
            }
            return self.refuse(.refusal(404, "there is nothing here"), context, head.method)
        }
        guard head.method == .GET || head.method == .HEAD else {
            return self.refuse(
                .refusal(405, "use GET", fields: [("allow", "GET, HEAD")]), context)
        }
        guard let seconds = self.wait(request, response) else {
            return self.send(response, to: head, request, appliedWait: nil, context)
        }
        guard seconds > 0, response.entityTag.map(request.has) == true else {
            return self.send(response, to: head, request, appliedWait: seconds, context)
        }
        if !self.hold(request, head, seconds, context) {
            self.send(response, to: head, request, appliedWait: nil, context)
        }
    }

    /// Ends a wait, and says whether a further answer can be sent.
    private func isReady(_ context: ChannelHandlerContext) -> Bool {
        self.endWaiting(context)
        guard !self.isClosing else { return false }
        if !context.channel.isWritable {
            // Many answers at once: the kernel may still take them. If not, somebody asks on without reading.
            self.flush(context)
            guard context.channel.isWritable else {
                self.end(context)
                return false
            }
        }
        return true
    }

    /// Ends the connection without an answer.
    private func end(_ context: ChannelHandlerContext) {
        self.isClosing = true
        self.unsent = nil
        context.close(promise: nil)
    }

    private func answer(_ upload: DocumentUpload, _ context: ChannelHandlerContext) {
        // Who sends the next before it has the answer to the one before gets neither (RFC 9112 §9.3.2).
        self.endWaiting(context)
        guard !self.isBusy else { return self.end(context) }
        guard self.isReady(context) else { return }
        let (answer, body) = (upload.post.answer, upload.body)
        self.make(by: { answer(body) }, upload.head, upload.request, context)
    }

    /// Has the answer made on another thread, and takes the requests that came meanwhile afterwards.
    private func make(
        by work: @escaping @Sendable () -> DocumentResponse?, _ head: HTTPRequestHead,
        _ request: DocumentRequest, _ context: ChannelHandlerContext
    ) {
        self.isAnswering = true
        NIOThreadPool.singleton.runIfActive(eventLoop: context.eventLoop, work)
            .assumeIsolated().whenComplete { result in
                self.isAnswering = false
                guard !self.isClosing, let context = self.context else { return }
                if case .success(let response?) = result {
                    self.send(response, to: head, request, appliedWait: nil, context)
                } else {
                    self.refuse(.refusal(404, "there is nothing here"), context, head.method)
                }
                self.takeQueued(context)
                self.flush(context)
            }
    }

    /// Answers the requests that had to wait for an answer before theirs.
    private func takeQueued(_ context: ChannelHandlerContext) {
        while !self.isClosing, !self.isAnswering, self.unsent == nil, !self.queued.isEmpty,
            context.channel.isWritable
        {
            self.respond(to: self.queued.removeFirst(), context)
        }
    }

    private func send(
        _ response: DocumentResponse, to head: HTTPRequestHead, _ request: DocumentRequest,
        appliedWait: Int?, _ context: ChannelHandlerContext
    ) {
        // A protocol that somebody wants to change to is not spoken here, and what follows is not understood.
        let closes =
            response.status >= 400 || head.version != .http1_1 || !head.isKeepAlive
            || !self.limits.keepsConnections || head.headers.contains(name: "upgrade")
            || context.eventLoop.now >= self.endOfLife
        self.send(
            response, isUnchanged: response.entityTag.map(request.has) ?? false,
            withBody: head.method != .HEAD, appliedWait: appliedWait, closes: closes, context)
    }

    // MARK: Waiting

    /// For how many seconds the answer may be held back; nil when the client does not ask for it, or nobody may wait.
    private func wait(_ request: DocumentRequest, _ response: DocumentResponse) -> Int? {
        guard let preferred = request.preferredWait, self.waits != nil, response.entityTag != nil
        else { return nil }
        return min(preferred, Int(self.limits.maximumWait.components.seconds))
    }

    /// Holds the answer back until the document is another one; false when there is no place.
    private func hold(
        _ request: DocumentRequest, _ head: HTTPRequestHead, _ seconds: Int,
        _ context: ChannelHandlerContext
    ) -> Bool {
        let loop = context.eventLoop
        let this = NIOLoopBound(self, eventLoop: loop)
        let place = self.waits?.enter(self.client, self.limits) { call in
            loop.execute { this.value.called(call) }
        }
        guard let place else { return false }
        let timer = loop.assumeIsolated().scheduleTask(in: .seconds(Int64(seconds))) {
            self.endWaiting(context)
        }
        self.waiting = WaitingRequest(
            request: request, head: head, seconds: seconds, place: place, timer: timer)
        self.deadline = loop.now + .seconds(Int64(seconds)) + TimeAmount(self.limits.idleTimeout)
        // The document may have changed before the place was taken.
        self.called(.changed)
        return true
    }

    private func called(_ call: DocumentWaits.Call) {
        guard let waiting = self.waiting, let context = self.context else { return }
        switch call {
        case .ending: self.endWaiting(context, closes: true)
        case .changed:
            let tag = self.routes(waiting.request)?.entityTag
            // What is there no more, or not yet again, is no news.
            if let tag, !waiting.request.has(tag) { self.endWaiting(context) }
        }
    }

    private func takeWaiting() -> WaitingRequest? {
        guard let waiting = self.waiting else { return nil }
        self.waiting = nil
        waiting.timer.cancel()
        self.waits?.leave(waiting.place)
        return waiting
    }

    /// Answers the request that waits, if there is one.
    private func endWaiting(_ context: ChannelHandlerContext, closes: Bool = false) {
        guard let waiting = self.takeWaiting(), !self.isClosing else { return }
        if self.isIdle {
            self.deadline = context.eventLoop.now + TimeAmount(self.limits.idleTimeout)
        }
        guard let response = self.routes(waiting.request) else {
            return self.refuse(
                .refusal(404, "there is nothing here"), context, waiting.head.method)
        }
        if closes { self.endOfLife = context.eventLoop.now }
        self.send(
            response, to: waiting.head, waiting.request, appliedWait: waiting.seconds, context)
        self.flush(context)
    }

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

    private func send(
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

/// Stands before the parser and tells the connection how much it is given.
final class DocumentByteCounter: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias InboundOut = ByteBuffer

    private let connection: DocumentConnection

    init(_ connection: DocumentConnection) { self.connection = connection }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        let buffer = self.unwrapInboundIn(data)
        self.connection.willParse(buffer.readableBytes)
        context.fireChannelRead(self.wrapInboundOut(buffer))
        self.connection.didParse()
    }
}
