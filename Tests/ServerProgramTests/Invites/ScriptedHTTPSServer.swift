import NIOConcurrencyHelpers
import NIOCore
import NIOPosix
import NIOSSL

/// An HTTPS server on the loopback interface that answers each request with the bytes that it is told.
final class ScriptedHTTPSServer: Sendable {
    struct State: Sendable {
        var answer: [UInt8] = []
        /// Requests, each as it came.
        var requests: [String] = []
    }

    let port: Int
    private let state: NIOLockedValueBox<State>

    private init(port: Int, _ state: NIOLockedValueBox<State>) {
        self.port = port
        self.state = state
    }

    var url: String { "https://localhost:\(self.port)/bundle" }
    var requests: [String] { self.state.withLockedValue { $0.requests } }

    /// Sets what every request from now on is answered with.
    func answer(_ body: [UInt8], status: String = "200 OK", headers: [String] = []) {
        let lines = ["HTTP/1.1 \(status)", "content-length: \(body.count)"] + headers
        self.answer(raw: Array((lines.joined(separator: "\r\n") + "\r\n\r\n").utf8) + body)
    }

    func answer(raw bytes: [UInt8]) { self.state.withLockedValue { $0.answer = bytes } }

    /// Runs a server while the body runs.
    static func with<Result: Sendable>(
        _ certificate: EndpointCertificate, _ body: (ScriptedHTTPSServer) async throws -> Result
    ) async throws -> Result {
        let configuration = TLSConfiguration.makeServerConfiguration(
            certificateChain: try certificate.chain.map {
                .certificate(try NIOSSLCertificate(bytes: $0, format: .der))
            },
            privateKey: .privateKey(
                try NIOSSLPrivateKey(bytes: certificate.keyDER, format: .der)))
        let context = try NIOSSLContext(configuration: configuration)
        let state = NIOLockedValueBox(State())
        let channel = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    let pipeline = channel.pipeline.syncOperations
                    try pipeline.addHandler(NIOSSLServerHandler(context: context))
                    try pipeline.addHandler(Responder(state))
                }
            }
            .bind(host: "127.0.0.1", port: 0).get()
        let server = ScriptedHTTPSServer(port: channel.localAddress?.port ?? 0, state)
        do {
            let result = try await body(server)
            try await channel.close()
            return result
        } catch {
            try? await channel.close()
            throw error
        }
    }

    private final class Responder: ChannelInboundHandler {
        typealias InboundIn = ByteBuffer
        typealias OutboundOut = ByteBuffer

        private let state: NIOLockedValueBox<State>
        private var received = ""

        init(_ state: NIOLockedValueBox<State>) { self.state = state }

        func channelRead(context: ChannelHandlerContext, data: NIOAny) {
            self.received += String(buffer: self.unwrapInboundIn(data))
            guard self.received.hasSuffix("\r\n\r\n") else { return }
            let request = self.received
            self.received = ""
            let answer = self.state.withLockedValue { state in
                state.requests.append(request)
                return state.answer
            }
            // What is shorter than it says ends with the connection.
            let promise = context.eventLoop.makePromise(of: Void.self)
            promise.futureResult.assumeIsolated().whenComplete { _ in
                context.close(promise: nil)
            }
            context.writeAndFlush(self.wrapOutboundOut(ByteBuffer(bytes: answer)), promise: promise)
        }

        func errorCaught(context: ChannelHandlerContext, error: any Error) {
            context.close(promise: nil)
        }
    }
}
