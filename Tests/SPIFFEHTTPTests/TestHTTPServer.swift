import LoopbackTestSupport
import NIOConcurrencyHelpers
import NIOCore
import NIOHTTP1
import NIOSSL
import SPIFFE
import SPIFFEHTTP
import SPIFFETLS
import SPIFFETesting
import Testing

/// An HTTPS server on the loopback interface whose paths say how it behaves.
final class TestHTTPServer: Sendable {
    /// What the server saw.
    struct Seen: Sendable {
        var connections = 0
        var requests: [HTTPRequestHead] = []
        var refused: [String] = []
    }

    let port: Int
    private let box: NIOLockedValueBox<Seen>

    var seen: Seen { self.box.withLockedValue { $0 } }

    private init(_ port: Int, _ box: NIOLockedValueBox<Seen>) {
        self.port = port
        self.box = box
    }

    func url(_ path: String) -> String { "https://127.0.0.1:\(self.port)\(path)" }

    /// Runs a server while the body runs.
    static func with<Result: Sendable>(
        _ source: TestX509Source, authorizer: Authorizer,
        clientCertificate: MTLSServerConfiguration.ClientCertificate = .required,
        tokens: JWTSVIDAuthenticator? = nil, proofs: WITSVIDAuthenticator? = nil,
        _ body: (TestHTTPServer) async throws -> Result
    ) async throws -> Result {
        let box = NIOLockedValueBox(Seen())
        let tls = MTLSServerConfiguration(
            svid: source, bundles: source, authorizer: authorizer,
            applicationProtocols: ["http/1.1"], clientCertificate: clientCertificate)
        return try await LoopbackServer.with { channel in
            box.withLockedValue { $0.connections += 1 }
            let peer = NIOLockedValueBox("nobody")
            let pipeline = channel.pipeline.syncOperations
            try pipeline.addHandler(
                try tls.makeHandler(onVerified: { verified in
                    peer.withLockedValue { $0 = verified.id.string }
                }))
            try pipeline.configureHTTPServerPipeline()
            if let proofs {
                try pipeline.addHandler(
                    WITSVIDServerHandler(proofs, maximumBodyBytes: 100_000) { error in
                        box.withLockedValue { $0.refused.append(error.code.description) }
                    })
            }
            if let tokens {
                try pipeline.addHandler(
                    JWTSVIDServerHandler(tokens) { error in
                        box.withLockedValue { $0.refused.append(error.code.description) }
                    })
            }
            try pipeline.addHandler(BehaviourHandler(peer: peer, box: box))
        } _: { port in
            try await body(TestHTTPServer(port, box))
        }
    }
}

private final class BehaviourHandler: ChannelInboundHandler {
    typealias InboundIn = HTTPServerRequestPart
    typealias OutboundOut = HTTPServerResponsePart

    private let peer: NIOLockedValueBox<String>
    private let box: NIOLockedValueBox<TestHTTPServer.Seen>
    private var head: HTTPRequestHead?
    private var body = ByteBuffer()
    private var caller = ""
    private var prover = ""
    private var count = 0

    init(peer: NIOLockedValueBox<String>, box: NIOLockedValueBox<TestHTTPServer.Seen>) {
        self.peer = peer
        self.box = box
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if let event = event as? JWTSVIDAuthenticated { self.caller = " for \(event.svid.id)" }
        if let event = event as? WITSVIDAuthenticated { self.prover = " proven \(event.svid.id)" }
        context.fireUserInboundEventTriggered(event)
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        switch self.unwrapInboundIn(data) {
        case .head(let head):
            self.head = head
            self.body = ByteBuffer()
            self.box.withLockedValue { $0.requests.append(head) }
        case .body(var bytes): self.body.writeBuffer(&bytes)
        case .end: self.answer(context)
        }
    }

    private func answer(_ context: ChannelHandlerContext) {
        self.count += 1
        let peer = self.peer.withLockedValue { $0 } + self.caller + self.prover
        switch self.head?.uri {
        case "/echo": self.respond(context, self.body)
        case "/big": self.respond(context, ByteBuffer(repeating: 1, count: 100_000))
        case "/close":
            self.respond(context, ByteBuffer(string: peer), headers: ["connection": "close"])
        case "/redirect":
            self.respond(
                context, ByteBuffer(), status: .found, headers: ["location": "http://elsewhere/"])
        case "/hang-up": context.close(promise: nil)
        // Answers once on a connection, and hangs up at the second request.
        case "/once" where self.count > 1: context.close(promise: nil)
        case "/half":
            let head = HTTPResponseHead(
                version: .http1_1, status: .ok, headers: ["content-length": "10"])
            context.write(self.wrapOutboundOut(.head(head)), promise: nil)
            context.writeAndFlush(
                self.wrapOutboundOut(.body(.byteBuffer(ByteBuffer(string: "half")))), promise: nil)
            context.close(promise: nil)
        case "/never": break
        default: self.respond(context, ByteBuffer(string: peer))
        }
    }

    private func respond(
        _ context: ChannelHandlerContext, _ body: ByteBuffer, status: HTTPResponseStatus = .ok,
        headers: HTTPHeaders = [:]
    ) {
        var headers = headers
        headers.add(name: "content-length", value: "\(body.readableBytes)")
        let head = HTTPResponseHead(version: .http1_1, status: status, headers: headers)
        context.write(self.wrapOutboundOut(.head(head)), promise: nil)
        if self.head?.method != .HEAD {
            context.write(self.wrapOutboundOut(.body(.byteBuffer(body))), promise: nil)
        }
        context.writeAndFlush(self.wrapOutboundOut(.end(nil)), promise: nil)
        if headers["connection"] == ["close"] { context.close(promise: nil) }
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        context.close(promise: nil)
    }
}
