import LoopbackTestSupport
import NIOConcurrencyHelpers
import NIOCore
import NIOPosix
import NIOSSL
import SPIFFE
import SPIFFETLS

/// What one side learnt of its peers.
struct Seen: Sendable {
    var verified: [String] = []
    var refused: [String] = []
}

/// A server on the loopback interface that answers with what it gets and then closes.
final class EchoServer: Sendable {
    let port: Int
    private let box: NIOLockedValueBox<Seen>

    /// What the server learnt so far.
    var seen: Seen { self.box.withLockedValue { $0 } }

    private init(_ port: Int, _ box: NIOLockedValueBox<Seen>) {
        self.port = port
        self.box = box
    }

    /// Runs a server while the body runs.
    static func with<Result>(
        _ configuration: MTLSServerConfiguration, _ body: (EchoServer) async throws -> Result
    ) async throws -> Result {
        let box = NIOLockedValueBox(Seen())
        return try await LoopbackServer.with { channel in
            let handler = try configuration.makeHandler(
                onVerified: { peer in
                    box.withLockedValue { $0.verified.append(peer.id.string) }
                },
                onRefused: { error in box.withLockedValue { $0.refused.append("\(error)") } })
            try channel.pipeline.syncOperations.addHandlers([handler, EchoHandler()])
        } _: { port in
            try await body(EchoServer(port, box))
        }
    }

    /// Connects, sends a word and waits for it to come back.
    ///
    /// - Returns: What the client learnt of the server.
    /// - Throws: When the word did not come back.
    func call(_ configuration: MTLSClientConfiguration) async throws -> Seen {
        let box = NIOLockedValueBox(Seen())
        let answer = MultiThreadedEventLoopGroup.singleton.any().makePromise(of: Void.self)
        let handler = try configuration.makeHandler(
            onVerified: { peer in box.withLockedValue { $0.verified.append(peer.id.string) } },
            onRefused: { error in box.withLockedValue { $0.refused.append("\(error)") } })
        let bound = NIOLoopBoundHandler(handler)
        do {
            _ = try await ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton)
                .channelInitializer { channel in
                    channel.eventLoop.makeCompletedFuture {
                        try channel.pipeline.syncOperations.addHandlers([
                            bound.handler, CallHandler(answer),
                        ])
                    }
                }
                .connect(host: "127.0.0.1", port: self.port).get()
        } catch {
            answer.fail(error)
        }
        try await answer.futureResult.get()
        return box.withLockedValue { $0 }
    }

    /// Carries a handler that nobody has used yet to the event loop it will live on.
    private final class NIOLoopBoundHandler: @unchecked Sendable {
        // Invariant: made here, handed to exactly one pipeline, never touched by its maker again.
        let handler: NIOSSLClientHandler
        init(_ handler: NIOSSLClientHandler) { self.handler = handler }
    }
}

private final class EchoHandler: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        context.writeAndFlush(data, promise: nil)
        context.close(promise: nil)
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        context.close(promise: nil)
    }
}

private final class CallHandler: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer
    private let answer: EventLoopPromise<Void>

    init(_ answer: EventLoopPromise<Void>) { self.answer = answer }

    func channelActive(context: ChannelHandlerContext) {
        context.writeAndFlush(self.wrapOutboundOut(ByteBuffer(string: "ping")), promise: nil)
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        self.answer.succeed()
        context.close(promise: nil)
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        self.answer.fail(error)
        context.close(promise: nil)
    }

    func channelInactive(context: ChannelHandlerContext) {
        self.answer.fail(ChannelError.eof)
    }
}

/// A client that connects and never sends a byte.
enum SilentClient {
    /// Returns when the server has hung up.
    static func waitUntilClosed(port: Int) async throws {
        let channel = try await ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .connect(host: "127.0.0.1", port: port).get()
        try await channel.closeFuture.get()
    }
}
