import NIOConcurrencyHelpers
import NIOCore
import NIOPosix
import NIOSSL
import SPIFFE
import ServerTestSupport
import Testing

/// One request over TLS: sends, and reads until the server closes.
struct HTTPSClient: Sendable {
    /// What the server sent and showed.
    struct Answer: Sendable {
        /// Empty when the handshake failed.
        var text = ""
        /// The server's certificates in DER.
        var chain: [[UInt8]] = []
        /// Why it ended, if not by the server's close.
        var error: (any Error)?

        var head: String { String(self.text.prefix { $0 != "{" }) }
        var body: [UInt8] { Array(self.text.drop { $0 != "{" }.utf8) }
    }

    var port: Int
    /// False: HTTP without TLS.
    var isEncrypted = true
    var maximumVersion: TLSVersion?
    var cipherSuites: String?

    func get(_ path: String = "/", _ fields: String...) async throws -> Answer {
        let fields = fields.map { $0 + "\r\n" }.joined()
        return try await self.send(
            "GET \(path) HTTP/1.1\r\nHost: oidc.test\r\n\(fields)Connection: close\r\n\r\n")
    }

    func send(_ request: String) async throws -> Answer {
        var configuration = TLSConfiguration.makeClientConfiguration()
        configuration.certificateVerification = .none
        configuration.minimumTLSVersion = .tlsv1
        configuration.maximumTLSVersion = self.maximumVersion
        if let cipherSuites { configuration.cipherSuites = cipherSuites }
        let context = try NIOSSLContext(configuration: configuration)
        let loop = MultiThreadedEventLoopGroup.singleton.any()
        let promise = loop.makePromise(of: Answer.self)
        do {
            _ = try await ClientBootstrap(group: loop).channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    let collector = Collector(request, promise)
                    let seen = collector.chain
                    if self.isEncrypted {
                        try channel.pipeline.syncOperations.addHandler(
                            try NIOSSLClientHandler(
                                context: context, serverHostname: nil,
                                customVerificationCallback: { certificates, verified in
                                    let chain = certificates.compactMap { try? $0.toDERBytes() }
                                    seen.withLockedValue { $0 = chain }
                                    verified.succeed(.certificateVerified)
                                }))
                    }
                    try channel.pipeline.syncOperations.addHandler(collector)
                }
            }.connect(host: "127.0.0.1", port: self.port).get()
        } catch {
            promise.fail(error)
        }
        return try await promise.futureResult.get()
    }

    private final class Collector: ChannelInboundHandler {
        typealias InboundIn = ByteBuffer
        typealias OutboundOut = ByteBuffer
        private let request: String
        private let promise: EventLoopPromise<Answer>
        private var bytes = ByteBuffer()
        private var error: (any Error)?
        let chain = NIOLockedValueBox<[[UInt8]]>([])

        init(_ request: String, _ promise: EventLoopPromise<Answer>) {
            self.request = request
            self.promise = promise
        }

        func channelActive(context: ChannelHandlerContext) {
            context.writeAndFlush(
                self.wrapOutboundOut(ByteBuffer(string: self.request)), promise: nil)
            context.fireChannelActive()
        }

        func channelRead(context: ChannelHandlerContext, data: NIOAny) {
            var buffer = self.unwrapInboundIn(data)
            self.bytes.writeBuffer(&buffer)
        }

        func errorCaught(context: ChannelHandlerContext, error: any Error) {
            self.error = error
            context.close(promise: nil)
        }

        func channelInactive(context: ChannelHandlerContext) {
            self.promise.succeed(
                Answer(
                    text: String(buffer: self.bytes), chain: self.chain.withLockedValue { $0 },
                    error: self.error))
        }

        func handlerRemoved(context: ChannelHandlerContext) {
            self.promise.succeed(Answer(error: self.error))
        }
    }
}
