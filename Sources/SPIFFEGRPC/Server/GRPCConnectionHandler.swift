import GRPCCore
import HTTP2
import NIOCore
import NIOHPACK
import NIOTLS

/// What all connections of a listener share.
final class GRPCListenerContext: Sendable {
    let http2: HTTP2ServerConnection.Configuration
    let settings: SPIFFEServerTransport.Settings
    let services: [String: any EventLoopService]
    /// Takes the calls of all other services.
    let router: RoutedCall.Router
    let connections: ConnectionSet
    let budget: CallBudget

    init(
        settings: SPIFFEServerTransport.Settings, services: [any EventLoopService],
        router: @escaping RoutedCall.Router, connections: ConnectionSet
    ) {
        var limits = HTTP2Limits()
        limits.maxConcurrentStreams = settings.maxConcurrentStreams
        limits.streamWindow = settings.streamWindow
        self.http2 = HTTP2ServerConnection.Configuration(limits: limits)
        self.settings = settings
        self.services = Dictionary(services.map { ($0.name, $0) }) { first, _ in first }
        self.router = router
        self.connections = connections
        self.budget = CallBudget(
            CallBudget.Limits(
                calls: settings.maxCalls, callsPerUser: settings.maxCallsPerUser,
                heldBytes: settings.maxHeldBytes, heldBytesPerUser: settings.maxHeldBytesPerUser))
    }
}

/// One connection: carries bytes between the socket and ``HTTP2ServerConnection``, and calls between
/// that and their handlers.
final class GRPCConnectionHandler: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    /// A connection that has not begun to speak HTTP/2 by then is closed.
    private static let establishmentTimeout = TimeAmount.seconds(20)
    /// How much is done for one connection before the others of its event loop get their turn.
    private static let eventsPerTurn = 64
    /// After so many bytes they are written, whatever may still come in this turn.
    private static let outputPerWrite = 64 * 1024
    /// How long a goodbye may take to be read by a peer that broke the protocol.
    private static let farewellTimeout = TimeAmount.milliseconds(500)
    /// How long a peer may take to answer that it knows of the connection's end.
    private static let announcementTimeout = TimeAmount.seconds(1)

    let listener: GRPCListenerContext
    private let isTLS: Bool
    private let origin: ConnectionOrigin?
    /// What the listener's budget knows of this connection.
    private var load = CallBudget.Load()
    private let makePeer: () -> PeerContext
    private lazy var peer: PeerContext = self.makePeer()
    private var http2: HTTP2ServerConnection
    private var calls: [HTTP2ServerConnection.StreamID: GRPCCall] = [:]
    private var context: ChannelHandlerContext?
    private var timers: [Scheduled<Void>?] = []
    private var establishment: Scheduled<Void>?
    private var isReading = false
    private var isFlushScheduled = false
    private var isClosing = false
    private var hasFailed = false
    private var isRenewing = false
    private var isWritable = true
    private var isPaused = false
    private var isAutoReading = true
    /// Bytes of incomplete messages in all calls.
    private var bufferedBytes = 0

    init(
        listener: GRPCListenerContext, isTLS: Bool, from origin: ConnectionOrigin?,
        makePeer: @escaping () -> PeerContext
    ) {
        self.origin = origin
        self.listener = listener
        self.isTLS = isTLS
        self.makePeer = makePeer
        self.http2 = HTTP2ServerConnection(listener.http2)
    }

    // MARK: Channel events

    func handlerAdded(context: ChannelHandlerContext) {
        self.context = context
        if context.channel.isActive { self.begin(context) }
    }

    func channelActive(context: ChannelHandlerContext) {
        self.begin(context)
        context.fireChannelActive()
    }

    private func begin(_ context: ChannelHandlerContext) {
        if self.establishment != nil { return }
        self.establishment = self.schedule(after: Self.establishmentTimeout) { handler in
            handler.closeChannel()
        }
        if let age = self.listener.settings.maxConnectionAge {
            // A tenth more or less, so that a fleet does not come back all at once.
            let nanoseconds = Double(TimeAmount(age).nanoseconds) * Double.random(in: 0.9...1.1)
            let timer = self.schedule(after: .nanoseconds(Int64(nanoseconds))) { handler in
                handler.beginClosing(cancelsCalls: false)
            }
            self.timers.append(timer)
        }
        if !self.isTLS { self.flush() }
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        self.isReading = true
        self.http2.receive(self.unwrapInboundIn(data))
        if !self.isPaused { self.work() }
    }

    /// Does what the client asked for, a bounded part of it at a time: the other connections of the event
    /// loop get their turn, however much one client sends at once.
    private func work() {
        for _ in 0..<Self.eventsPerTurn {
            guard let event = self.http2.next() else { return }
            self.handle(event)
            // A client that does not read is noticed before its next request is answered.
            if self.http2.outputBytes > Self.outputPerWrite { self.flush() }
        }
        guard let context = self.context else { return }
        self.isPaused = true
        self.updateReading(context)
        context.eventLoop.assumeIsolated().execute {
            self.isPaused = false
            self.isReading = true
            self.work()
            self.isReading = false
            self.flush()
            if let context = self.context { self.updateReading(context) }
        }
    }

    /// A client that does not read, or has sent more than its share, is not read from: what it sends stays
    /// in the socket.
    private func updateReading(_ context: ChannelHandlerContext) {
        let reads = self.isWritable && !self.isPaused
        if reads == self.isAutoReading { return }
        self.isAutoReading = reads
        try? context.channel.syncOptions?.setOption(.autoRead, value: reads)
    }

    func channelReadComplete(context: ChannelHandlerContext) {
        self.isReading = false
        if self.http2.isEstablished, let establishment = self.establishment {
            establishment.cancel()
            self.establishment = nil
        }
        self.flush()
        context.fireChannelReadComplete()
    }

    func channelWritabilityChanged(context: ChannelHandlerContext) {
        self.isWritable = context.channel.isWritable
        self.updateReading(context)
        if self.isWritable {
            for call in self.calls.values where !self.http2.isBlocked(call.streamID) {
                call.handler?.unblocked()
            }
            self.flush()
        }
        context.fireChannelWritabilityChanged()
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if case .handshakeCompleted(let negotiated)? = event as? TLSUserEvent {
            if negotiated == "h2" { self.flush() } else { self.closeChannel() }
        }
        context.fireUserInboundEventTriggered(event)
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        // The socket or TLS below it: there is nobody left to talk to.
        self.closeChannel()
    }

    func channelInactive(context: ChannelHandlerContext) {
        self.end()
        context.fireChannelInactive()
    }

    func handlerRemoved(context: ChannelHandlerContext) { self.end() }

    private func end() {
        self.context = nil
        self.establishment?.cancel()
        self.establishment = nil
        for timer in self.timers { timer?.cancel() }
        self.timers = []
        let calls = self.calls
        self.calls = [:]
        for call in calls.values { self.release(call)?.cancelled() }
        self.reportChange()
    }

    // MARK: Requests

    private func handle(_ event: HTTP2ServerConnection.Event) {
        switch event {
        case .request(let id, let head, let isComplete):
            self.begin(id, head)
            if isComplete { self.receive(id, ByteBuffer(), isComplete: true) }
        case .body(let id, let bytes, let isComplete):
            self.receive(id, bytes, isComplete: isComplete)
        case .reset(let id):
            if let call = self.calls.removeValue(forKey: id) { self.release(call)?.cancelled() }
        case .drained(let id):
            if self.isWritable { self.calls[id]?.handler?.unblocked() }
        case .failed:
            self.hasFailed = true
            let calls = self.calls
            self.calls = [:]
            for call in calls.values { self.release(call)?.cancelled() }
        }
    }

    private func begin(_ id: HTTP2ServerConnection.StreamID, _ head: RequestHead) {
        if self.report(self.currentLoad).hasTooManyCalls {
            return self.refuse(
                id, .resourceExhausted, "too many calls are open here; end some and try again")
        }
        guard head.method == "POST" else { return self.refuse(id, httpStatus: 405) }
        guard let type = head.fields.first(name: "content-type"), Self.isGRPC(type) else {
            return self.refuse(id, httpStatus: 415)
        }
        let path = head.path.utf8
        guard path.first == UInt8(ascii: "/"), let slash = path.dropFirst().firstIndex(of: 0x2f)
        else { return self.refuse(id, .unimplemented, "no such method") }
        let encoding = head.fields.first(name: "grpc-encoding") ?? "identity"
        if encoding != "identity" {
            return self.refuse(
                id, .unimplemented, "messages compressed as \(encoding) are not supported",
                ["grpc-accept-encoding": "identity"])
        }
        guard let context = self.context else { return }
        let call = GRPCCall(
            streamID: id, eventLoop: context.eventLoop, peer: self.peer,
            service: String(head.path[path.index(after: path.startIndex)..<slash]),
            method: String(head.path[path.index(after: slash)...]), connection: self)
        self.calls[id] = call
        if let service = self.listener.services[call.service], service.serves(call.method) {
            guard let handler = service.handler(for: call, fields: head.fields) else {
                return call.finish(Status(code: .unimplemented, message: "no such method"))
            }
            // It may have ended the call already.
            guard self.calls[id] === call else { return }
            call.handler = handler
        } else {
            call.handler = RoutedCall(call, fields: head.fields, listener: self.listener)
        }
        // gRPC's router keeps deadlines as well, but not of a call whose request never comes.
        self.armDeadline(call, head.fields)
    }

    private func receive(
        _ id: HTTP2ServerConnection.StreamID, _ bytes: ByteBuffer, isComplete: Bool
    ) {
        guard let call = self.calls[id], let handler = call.handler else { return }
        call.reader.append(bytes)
        do throws(RPCError) {
            while let message = try call.reader.next(
                maxBytes: self.listener.settings.maxRequestBytes)
            {
                handler.receive(message)
                if self.calls[id] == nil { return }
            }
            self.count(call, call.reader.bufferedBytes)
            if self.bufferedBytes > self.listener.settings.maxBufferedBytes {
                throw RPCError(
                    code: .resourceExhausted,
                    message: "too many incomplete requests on one connection")
            }
            if isComplete, call.reader.bufferedBytes > 0 {
                throw RPCError(code: .internalError, message: "request ends inside a message")
            }
        } catch {
            self.calls[id] = nil
            call.finish(Status(code: Status.Code(error.code), message: error.message))
            self.release(call)?.cancelled()
            return
        }
        self.credit(call, bytes.readableBytes)
        if isComplete { handler.receiveEnd() }
    }

    private func count(_ call: GRPCCall, _ bytes: Int) {
        self.bufferedBytes += bytes - call.countedBytes
        call.countedBytes = bytes
    }

    /// Lets the client send on, unless the handler is behind.
    private func credit(_ call: GRPCCall, _ count: Int) {
        if let routed = call.handler as? RoutedCall, routed.isBehind {
            call.withheld += count
        } else {
            self.http2.consumed(count, on: call.streamID)
        }
    }

    /// The handler has caught up.
    func creditWithheld(_ call: GRPCCall) {
        if call.withheld == 0 || self.calls[call.streamID] !== call { return }
        self.http2.consumed(call.withheld, on: call.streamID)
        call.withheld = 0
        self.scheduleFlush()
    }

    private static func isGRPC(_ contentType: String) -> Bool {
        let prefix = "application/grpc"
        guard contentType.hasPrefix(prefix) else { return false }
        let next = contentType.utf8.dropFirst(prefix.utf8.count).first
        return next == nil || next == UInt8(ascii: "+") || next == UInt8(ascii: ";")
    }

    private func refuse(_ id: HTTP2ServerConnection.StreamID, httpStatus: Int) {
        self.http2.send(block: HeaderBlocks.http(status: httpStatus), on: id, endsStream: true)
    }

    private func refuse(
        _ id: HTTP2ServerConnection.StreamID, _ code: Status.Code, _ message: String,
        _ metadata: Metadata = [:]
    ) {
        let block = HeaderBlocks.trailersOnly(Status(code: code, message: message), metadata)
        self.http2.send(block: block, on: id, endsStream: true)
    }

    private func armDeadline(_ call: GRPCCall, _ fields: HPACKHeaders) {
        guard let text = fields.first(name: "grpc-timeout"), let after = Timeout.parse(text)
        else { return }
        let id = call.streamID
        call.deadline = self.schedule(after: after) { handler in
            guard let call = handler.calls.removeValue(forKey: id) else { return }
            call.finish(Status(code: .deadlineExceeded, message: "deadline exceeded"))
            handler.release(call)?.cancelled()
        }
    }

    // MARK: Answers

    func isBlocked(_ id: HTTP2ServerConnection.StreamID) -> Bool {
        !self.isWritable || self.http2.isBlocked(id)
    }

    func send(block: ByteBuffer, on id: HTTP2ServerConnection.StreamID, endsStream: Bool) {
        self.http2.send(block: block, on: id, endsStream: endsStream)
        self.scheduleFlush()
    }

    func send(_ bytes: ByteBuffer, on id: HTTP2ServerConnection.StreamID) {
        self.http2.send(bytes, on: id)
        self.scheduleFlush()
    }

    /// Sends a message that is kept for this call alone, unless the client does not take it and there is too much
    /// of that already.
    func send(own bytes: ByteBuffer, for call: GRPCCall) {
        let leaves =
            self.isWritable && self.http2.hasRoom(for: bytes.readableBytes, on: call.streamID)
        if !leaves, self.report(self.currentLoad).holdsTooMuch {
            self.calls[call.streamID] = nil
            call.finish(
                Status(
                    code: .resourceExhausted,
                    message: "too many answers wait to be read; read them and try again"))
            self.release(call)?.cancelled()
            return
        }
        call.sendHead()
        self.http2.send(bytes, on: call.streamID, isOwn: true)
        self.scheduleFlush()
    }

    /// What this connection costs now; nothing once it has ended.
    private var currentLoad: CallBudget.Load {
        guard let context = self.context else { return CallBudget.Load() }
        var load = CallBudget.Load(
            calls: self.http2.streamCount,
            heldBytes: self.http2.ownPendingBytes + self.bufferedBytes)
        if !self.isWritable, let options = context.channel.syncOptions {
            load.heldBytes += (try? options.getOption(.bufferedWritableBytes)) ?? 0
        }
        return load
    }

    /// Tells the listener what this connection costs now.
    private func report(_ load: CallBudget.Load) -> CallBudget.Verdict {
        let verdict = self.listener.budget.update(self.origin, from: self.load, to: load)
        self.load = load
        return verdict
    }

    private func reportChange() {
        let load = self.currentLoad
        if load != self.load { _ = self.report(load) }
    }

    func finish(_ call: GRPCCall, _ block: ByteBuffer) {
        self.send(block: block, on: call.streamID, endsStream: true)
        if self.calls[call.streamID] === call {
            self.calls[call.streamID] = nil
            _ = self.release(call)
        }
    }

    /// Lets go of a call that has left `calls`; gives its handler, for the caller to say why.
    private func release(_ call: GRPCCall) -> (any GRPCCallHandler)? {
        self.count(call, 0)
        call.reader = MessageReader()
        call.deadline?.cancel()
        call.deadline = nil
        call.connection = nil
        let handler = call.handler
        call.handler = nil
        return handler
    }

    // MARK: Writing

    /// Everything that is sent in one turn of the event loop leaves in one write.
    private func scheduleFlush() {
        if self.isReading || self.isFlushScheduled { return }
        guard let context = self.context else { return }
        self.isFlushScheduled = true
        context.eventLoop.assumeIsolated().execute {
            self.isFlushScheduled = false
            self.flush()
        }
    }

    private func flush() {
        guard let context = self.context else { return }
        defer { self.reportChange() }
        let bytes = self.http2.takeOutput()
        guard self.http2.isFinished, !self.isClosing else {
            if let bytes { context.writeAndFlush(self.wrapOutboundOut(bytes), promise: nil) }
            return
        }
        self.isClosing = true
        let timer = self.schedule(after: Self.farewellTimeout) { $0.closeChannel() }
        self.timers.append(timer)
        let written = context.eventLoop.makePromise(of: Void.self)
        context.writeAndFlush(self.wrapOutboundOut(bytes ?? ByteBuffer()), promise: written)
        // After a mistake of the peer's the timer closes: closing at once, with bytes of the peer's
        // unread, would destroy the goodbye on its way.
        if self.hasFailed { return }
        written.futureResult.assumeIsolated().whenComplete { _ in self.closeChannel() }
    }

    // MARK: The end

    /// Begins a graceful end of the connection.
    ///
    /// - Parameter cancelsCalls: Whether handlers are told to come to an end, too.
    func beginClosing(cancelsCalls: Bool) {
        if !self.http2.isEstablished { return self.closeChannel() }
        self.http2.beginClosing()
        self.timers.append(
            self.schedule(after: Self.announcementTimeout) { handler in
                handler.http2.close()
                handler.flush()
            })
        if let grace = self.listener.settings.maxGraceTime {
            self.timers.append(
                self.schedule(after: TimeAmount(grace)) { handler in handler.closeChannel() })
        }
        if cancelsCalls {
            for call in self.calls.values { (call.handler as? RoutedCall)?.stop() }
        }
        self.flush()
    }

    /// Begins a graceful end once, however many calls ask for it.
    func renew() {
        if self.isRenewing { return }
        self.isRenewing = true
        self.beginClosing(cancelsCalls: false)
    }

    /// Closes the socket; what is open ends without an answer.
    func closeChannel() { self.context?.close(promise: nil) }

    private func schedule(
        after delay: TimeAmount, _ action: @escaping (GRPCConnectionHandler) -> Void
    ) -> Scheduled<Void>? {
        guard let context = self.context else { return nil }
        return context.eventLoop.assumeIsolated().scheduleTask(in: delay) { [weak self] in
            if let self { action(self) }
        }
    }
}
