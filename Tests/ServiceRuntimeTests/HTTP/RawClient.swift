import NIOCore
import NIOPosix

/// A client that sends bytes as they are and keeps what comes.
struct RawClient: Sendable {
    private let channel: any Channel
    private let received: EventLoopFuture<String>
    private let answered: EventLoopFuture<Void>

    /// Connects to a port of this machine, and sends the text at once: a task that waits for its turn on a busy machine
    /// might be later than the server's patience.
    ///
    /// - Parameter pause: for how long nothing is read; nil to read from the beginning.
    static func connect(
        _ port: Int, sending text: String? = nil, readingAfter pause: TimeAmount? = nil
    ) async throws -> RawClient {
        let loop = MultiThreadedEventLoopGroup.singleton.any()
        let promise = loop.makePromise(of: String.self)
        let answered = loop.makePromise(of: Void.self)
        do {
            let channel = try await ClientBootstrap(group: loop)
                .channelOption(.autoRead, value: pause == nil)
                .channelInitializer { channel in
                    channel.eventLoop.makeCompletedFuture {
                        try channel.pipeline.syncOperations.addHandler(
                            Collector(promise, answered, first: text))
                    }
                }.connect(host: "127.0.0.1", port: port).get()
            if let pause {
                loop.scheduleTask(in: pause) {
                    channel.setOption(.autoRead, value: true).whenSuccess { channel.read() }
                }
            }
            return RawClient(
                channel: channel, received: promise.futureResult, answered: answered.futureResult)
        } catch {
            promise.fail(error)
            answered.fail(error)
            throw error
        }
    }

    /// Connects, sends and reads until the server closes.
    static func exchange(_ port: Int, _ text: String) async throws -> String {
        try await Self.connect(port, sending: text).all
    }

    /// What goes wrong shows in ``all``: the server may have closed already.
    func send(_ text: String) {
        self.channel.writeAndFlush(ByteBuffer(string: text), promise: nil)
    }

    /// Everything that the server has sent; waits until it closes.
    var all: String { get async throws { try await self.received.get() } }

    /// Returns once the server has sent something, or has closed.
    var isAnswered: Void { get async throws { try await self.answered.get() } }

    func close() { self.channel.close(promise: nil) }

    private final class Collector: ChannelInboundHandler {
        typealias InboundIn = ByteBuffer
        private let promise: EventLoopPromise<String>
        private let answered: EventLoopPromise<Void>
        private var bytes = ByteBuffer()

        private let first: String?

        init(
            _ promise: EventLoopPromise<String>, _ answered: EventLoopPromise<Void>, first: String?
        ) {
            self.promise = promise
            self.answered = answered
            self.first = first
        }

        func channelActive(context: ChannelHandlerContext) {
            guard let first = self.first else { return }
            context.writeAndFlush(NIOAny(ByteBuffer(string: first)), promise: nil)
        }

        func channelRead(context: ChannelHandlerContext, data: NIOAny) {
            var buffer = self.unwrapInboundIn(data)
            self.bytes.writeBuffer(&buffer)
            self.answered.succeed()
        }

        func errorCaught(context: ChannelHandlerContext, error: any Error) {
            context.close(promise: nil)
        }

        func channelInactive(context: ChannelHandlerContext) {
            self.answered.succeed()
            self.promise.succeed(String(buffer: self.bytes))
        }

        func handlerRemoved(context: ChannelHandlerContext) {
            self.answered.succeed()
            self.promise.succeed(String(buffer: self.bytes))
        }
    }
}
