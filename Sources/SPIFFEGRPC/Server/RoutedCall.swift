import GRPCCore
import NIOConcurrencyHelpers
import NIOCore
import NIOHPACK

/// A call on its way to gRPC's router: a task reads the request as a sequence and writes the answer,
/// with back-pressure both ways.
final class RoutedCall: GRPCCallHandler {
    typealias Bytes = [UInt8]
    typealias Inbound = RPCAsyncSequence<RPCRequestPart<Bytes>, any Error>
    typealias Outbound = RPCWriter<RPCResponsePart<Bytes>>.Closable
    typealias Router =
        @Sendable (_ stream: RPCStream<Inbound, Outbound>, _ context: ServerContext) async -> Void

    /// Bytes a handler may have before it without having taken them.
    private static let inboundBytes = 64 * 1024
    /// What a message costs beside its bytes. An empty one costs the client five.
    private static let messageBytes = 64

    private let request: RequestParts
    private let responder: Responder

    /// Whether the handler has not taken what is there already.
    var isBehind: Bool { self.request.unread > Self.inboundBytes }

    init(_ call: GRPCCall, fields: HPACKHeaders, listener: GRPCListenerContext) {
        let bound = NIOLoopBound(call, eventLoop: call.eventLoop)
        let request = RequestParts {
            bound.value.connection?.creditWithheld(bound.value)
        } schedule: {
            [eventLoop = call.eventLoop] work in
            eventLoop.execute(work)
        }
        let responder = Responder(bound, eventLoop: call.eventLoop)
        self.request = request
        self.responder = responder
        var metadata = Metadata()
        for (name, value, _) in fields where name.utf8.first != UInt8(ascii: ":") {
            // gRPC's own reader of this field ends the process over a negative number.
            if name == "grpc-timeout", Timeout.parse(value) == nil { continue }
            metadata.addString(value, forKey: name)
        }
        request.append(.metadata(metadata), bytes: 0)
        let descriptor = MethodDescriptor(
            service: ServiceDescriptor(fullyQualifiedService: call.service), method: call.method)
        let peer = call.peer
        let isShort = listener.settings.runsOnEventLoop(call.service, call.method)
        let router = listener.router
        listener.connections.run(on: isShort ? EventLoopExecutor.of(call.eventLoop) : nil) {
            await withServerContextRPCCancellationHandle { handle in
                responder.setCancellation(handle)
                var context = ServerContext(
                    descriptor: descriptor, remotePeer: peer.description, localPeer: "",
                    cancellation: handle)
                context.transportSpecific = peer
                let stream = RPCStream(
                    descriptor: descriptor, inbound: RPCAsyncSequence(wrapping: request),
                    outbound: RPCWriter.Closable(wrapping: responder))
                await router(stream, context)
            }
            responder.handlerReturned()
        }
    }

    func receive(_ message: ByteBuffer) {
        self.request.append(
            .message(Array(buffer: message)), bytes: message.readableBytes + Self.messageBytes)
    }

    func receiveEnd() { self.request.finish(nil) }

    func cancelled() {
        self.responder.cancel()
        self.request.finish(RPCError(code: .cancelled, message: "the call has ended"))
    }

    func unblocked() { self.responder.unblocked() }

    /// The server is about to end: the handler is told, and may still answer.
    func stop() { self.responder.stop() }
}

/// A request as a sequence for one reader.
final class RequestParts: AsyncSequence, Sendable {
    typealias Element = RPCRequestPart<[UInt8]>
    typealias Failure = any Error

    private typealias Entry = (part: Element, bytes: Int)

    private let unreadBytes = NIOLockedValueBox(0)
    private let stream: AsyncThrowingStream<(part: Element, bytes: Int), any Error>
    private let continuation:
        AsyncThrowingStream<(part: Element, bytes: Int), any Error>.Continuation
    private let onRead: @Sendable () -> Void

    /// - Parameters:
    ///   - caughtUp: Called on the event loop after the reader has taken something.
    ///   - schedule: Runs work on the event loop.
    init(
        caughtUp: @escaping @Sendable () -> Void,
        schedule: @escaping @Sendable (@escaping @Sendable () -> Void) -> Void
    ) {
        (self.stream, self.continuation) = AsyncThrowingStream.makeStream()
        self.onRead = { schedule(caughtUp) }
    }

    /// Bytes of messages that were not taken yet.
    var unread: Int { self.unreadBytes.withLockedValue { $0 } }

    func append(_ part: Element, bytes: Int) {
        if bytes > 0 { self.unreadBytes.withLockedValue { $0 += bytes } }
        self.continuation.yield((part, bytes))
    }

    func finish(_ error: (any Error)?) {
        if let error {
            self.continuation.finish(throwing: error)
        } else {
            self.continuation.finish()
        }
    }

    struct AsyncIterator: AsyncIteratorProtocol {
        typealias Element = RPCRequestPart<[UInt8]>
        typealias Failure = any Error

        fileprivate let parts: RequestParts
        fileprivate var base:
            AsyncThrowingStream<(part: RPCRequestPart<[UInt8]>, bytes: Int), any Error>.Iterator

        mutating func next() async throws -> Element? {
            guard let entry = try await self.base.next() else { return nil }
            self.parts.took(entry.bytes)
            return entry.part
        }

        mutating func next(
            isolation actor: isolated (any Actor)?
        ) async throws(any Error) -> Element? {
            guard let entry = try await self.base.next(isolation: actor) else { return nil }
            self.parts.took(entry.bytes)
            return entry.part
        }
    }

    func makeAsyncIterator() -> AsyncIterator {
        AsyncIterator(parts: self, base: self.stream.makeAsyncIterator())
    }

    fileprivate func took(_ bytes: Int) {
        if bytes == 0 { return }
        let (before, after) = self.unreadBytes.withLockedValue { unread in
            unread -= bytes
            return (unread + bytes, unread)
        }
        // Worth a word to the event loop only when it may have held something back.
        if before > Self.worthTelling || after == 0 && before > Self.worthTelling / 2 {
            self.onRead()
        }
    }

    private static let worthTelling = 32 * 1024
}
