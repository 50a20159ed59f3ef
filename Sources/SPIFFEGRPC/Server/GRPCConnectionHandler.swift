import HTTP2
import NIOCore
import NIOTLS

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
    private(set) lazy var peer: PeerContext = self.makePeer()
    var http2: HTTP2ServerConnection
    var calls: [HTTP2ServerConnection.StreamID: GRPCCall] = [:]
    private(set) var context: ChannelHandlerContext?
    private var timers: [Scheduled<Void>?] = []
    private var establishment: Scheduled<Void>?
    private var isReading = false
    private var isFlushScheduled = false
    private var isClosing = false
    private var hasFailed = false
    private var isRenewing = false
    private(set) var isWritable = true
    private var isPaused = false
    private var isAutoReading = true
    /// Bytes of incomplete messages in all calls.
    private(set) var bufferedBytes = 0

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

    // MARK: Calls

    /// One thing that happened on a stream.
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

    // MARK: Load

    /// Notes how many bytes of an incomplete message a call holds now.
    func count(_ call: GRPCCall, _ bytes: Int) {
        self.bufferedBytes += bytes - call.countedBytes
        call.countedBytes = bytes
    }

    /// What this connection costs now; nothing once it has ended.
    var currentLoad: CallBudget.Load {
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
    func report(_ load: CallBudget.Load) -> CallBudget.Verdict {
        let verdict = self.listener.budget.update(self.origin, from: self.load, to: load)
        self.load = load
        return verdict
    }

    private func reportChange() {
        let load = self.currentLoad
        if load != self.load { _ = self.report(load) }
    }

    // MARK: Writing

    /// Everything that is sent in one turn of the event loop leaves in one write.
    func scheduleFlush() {
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

    /// Does something later, unless the connection has ended by then.
    func schedule(
        after delay: TimeAmount, _ action: @escaping (GRPCConnectionHandler) -> Void
    ) -> Scheduled<Void>? {
        guard let context = self.context else { return nil }
        return context.eventLoop.assumeIsolated().scheduleTask(in: delay) { [weak self] in
            if let self { action(self) }
        }
    }
}
