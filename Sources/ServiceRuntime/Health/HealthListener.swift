package import Logging
import NIOCore
import NIOHTTP1
import NIOPosix

/// Answers liveness and readiness checks over plain HTTP: 200 when all is well, 500 when not.
///
/// One request a connection, no body, nothing that is secret in the answer. For orchestrators that cannot call
/// `grpc.health.v1`.
package struct HealthListener: Sendable {
    /// What the checks ask; called on an event loop, so it must not wait.
    package struct Checks: Sendable {
        let isLive: @Sendable () -> Bool
        let isReady: @Sendable () -> Bool

        package init(
            isLive: @escaping @Sendable () -> Bool, isReady: @escaping @Sendable () -> Bool
        ) {
            self.isLive = isLive
            self.isReady = isReady
        }
    }

    private let configuration: HealthCheckConfiguration
    private let checks: Checks
    private let logger: Logger

    package init(_ configuration: HealthCheckConfiguration, checks: Checks, logger: Logger) {
        self.configuration = configuration
        self.checks = checks
        self.logger = logger
    }

    /// Serves until the task is cancelled; when the listener is not enabled, only waits for that.
    ///
    /// - Parameter onBound: Called with the TCP port once it is bound.
    /// - Throws: ``CommandError`` when the address cannot be bound.
    package func run(onBound: @Sendable (Int) -> Void = { _ in }) async throws {
        guard self.configuration.listenerEnabled else {
            return try await Task.sleep(for: .seconds(Int64(Int32.max)))
        }
        let (host, port) = (self.configuration.bindAddress, self.configuration.bindPort)
        let channel: any Channel
        do {
            channel = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
                .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
                .childChannelInitializer { channel in
                    channel.eventLoop.makeCompletedFuture {
                        let pipeline = channel.pipeline.syncOperations
                        try pipeline.configureHTTPServerPipeline(withErrorHandling: true)
                        try pipeline.addHandler(
                            HealthHandler(configuration: self.configuration, checks: self.checks))
                    }
                }.bind(host: host, port: port).get()
        } catch {
            throw CommandError("cannot listen for health checks on \(host):\(port): \(error)")
        }
        let bound = channel.localAddress?.port ?? port
        self.logger.info("serving health checks", metadata: ["address": "\(host):\(bound)"])
        onBound(bound)
        try await withTaskCancellationHandler {
            try await channel.closeFuture.get()
        } onCancel: {
            channel.close(promise: nil)
        }
    }
}

/// One connection of whoever asks.
private final class HealthHandler: ChannelInboundHandler {
    typealias InboundIn = HTTPServerRequestPart
    typealias OutboundOut = HTTPServerResponsePart

    /// From the connection to the end of its one request.
    private static let timeout = TimeAmount.seconds(10)

    private let configuration: HealthCheckConfiguration
    private let checks: HealthListener.Checks
    private var head: HTTPRequestHead?
    private var timer: Scheduled<Void>?

    init(configuration: HealthCheckConfiguration, checks: HealthListener.Checks) {
        self.configuration = configuration
        self.checks = checks
    }

    func channelActive(context: ChannelHandlerContext) {
        self.timer = context.eventLoop.assumeIsolated().scheduleTask(in: Self.timeout) {
            context.close(promise: nil)
        }
        context.fireChannelActive()
    }

    func channelInactive(context: ChannelHandlerContext) {
        self.timer?.cancel()
        context.fireChannelInactive()
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        switch self.unwrapInboundIn(data) {
        case .head(let head): self.head = head
        // A check has no body; whoever sends a long one is cut off.
        case .body: context.close(promise: nil)
        case .end:
            guard let head = self.head else { return }
            self.head = nil
            self.answer(head, context)
        }
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        context.close(promise: nil)
    }

    private func answer(_ request: HTTPRequestHead, _ context: ChannelHandlerContext) {
        let (status, text) = self.result(request)
        let body = ByteBuffer(string: "{\"status\":\"\(text)\"}\n")
        let head = HTTPResponseHead(
            version: .http1_1, status: status,
            headers: [
                "content-type": "application/json", "content-length": "\(body.readableBytes)",
                "cache-control": "no-store", "connection": "close",
            ])
        context.write(self.wrapOutboundOut(.head(head)), promise: nil)
        if request.method != .HEAD {
            context.write(self.wrapOutboundOut(.body(.byteBuffer(body))), promise: nil)
        }
        let written = context.eventLoop.makePromise(of: Void.self)
        context.writeAndFlush(self.wrapOutboundOut(.end(nil)), promise: written)
        written.futureResult.assumeIsolated().whenComplete { _ in context.close(promise: nil) }
    }

    private func result(_ request: HTTPRequestHead) -> (HTTPResponseStatus, String) {
        guard request.method == .GET || request.method == .HEAD else {
            return (.methodNotAllowed, "use GET")
        }
        let path = request.uri.prefix { $0 != "?" }
        let isGood: Bool
        switch path {
        case self.configuration.livePath: isGood = self.checks.isLive()
        case self.configuration.readyPath: isGood = self.checks.isReady()
        default: return (.notFound, "no such check")
        }
        return isGood ? (.ok, "ok") : (.internalServerError, "not ok")
    }
}
