import NIOConcurrencyHelpers
import NIOCore
import NIOPosix
import NIOSSL

/// An HTTPS server on the loopback interface that answers with the bytes it is told to, however wrong.
final class TestBundleServer: Sendable {
    /// What the server does once a request has come.
    enum Answer: Sendable {
        /// Sends the bytes and leaves the connection open.
        case bytes([UInt8])
        /// Sends the bytes and closes, with TLS's farewell.
        case close([UInt8])
        /// Sends the bytes and cuts the connection without farewell, as somebody in between would.
        case cut([UInt8])
        /// Sends the first bytes and then the others for ever, as fast as the client takes them.
        case flood([UInt8], [UInt8])
        /// Sends the bytes one at a time, with pauses, and begins anew.
        case trickle([UInt8])

        /// A response with a body.
        static func response(
            _ status: String = "200 OK", _ headers: [String] = [], body: [UInt8] = []
        ) -> Answer {
            let head = ["HTTP/1.1 \(status)"] + headers + ["content-length: \(body.count)"]
            return .bytes(Array((head.joined(separator: "\r\n") + "\r\n\r\n").utf8) + body)
        }

        static func redirect(_ location: String, _ status: String = "302 Found") -> Answer {
            .response(status, ["location: \(location)"])
        }

        static func text(_ text: String) -> Answer { .bytes(Array(text.utf8)) }
    }

    /// A request as it came.
    struct Request: Sendable {
        /// The first line and the headers in lower case, as lines.
        let lines: [String]
        /// The target of the request line.
        var target: String {
            let words = (self.lines.first ?? "").split(separator: " ")
            return words.count == 3 ? String(words[1]) : ""
        }
        func value(_ name: String) -> String? {
            self.lines.first { $0.hasPrefix(name + ": ") }
                .map { String($0.dropFirst(name.utf8.count + 2)) }
        }
    }

    /// What the server shows and does, and what it has seen; may be changed at any time.
    struct Behaviour: Sendable {
        var certificate: ServerCertificate
        var adjust: @Sendable (inout TLSConfiguration) -> Void = { _ in }
        var answer: @Sendable (Request) -> Answer = { _ in .response() }
        var connections = 0
        var requests: [Request] = []
    }

    let port: Int
    private let channel: any Channel
    fileprivate let box: NIOLockedValueBox<Behaviour>

    private init(_ channel: any Channel, _ box: NIOLockedValueBox<Behaviour>) {
        self.channel = channel
        self.port = channel.localAddress?.port ?? 0
        self.box = box
    }

    var connections: Int { self.box.withLockedValue { $0.connections } }
    var requests: [Request] { self.box.withLockedValue { $0.requests } }

    /// An address of the server by the name `localhost`.
    func url(_ target: String = "/bundle") -> String { "https://localhost:\(self.port)\(target)" }
    /// An address of the server by its IP address.
    func addressURL(_ target: String = "/bundle") -> String {
        "https://127.0.0.1:\(self.port)\(target)"
    }

    func set(_ certificate: ServerCertificate) {
        self.box.withLockedValue { $0.certificate = certificate }
    }
    func adjustTLS(_ adjust: @escaping @Sendable (inout TLSConfiguration) -> Void) {
        self.box.withLockedValue { $0.adjust = adjust }
    }
    func answer(_ answer: Answer) { self.answer { _ in answer } }
    func answer(_ answer: @escaping @Sendable (Request) -> Answer) {
        self.box.withLockedValue { $0.answer = answer }
    }

    /// Runs a server while the body runs.
    static func with<Result: Sendable>(
        _ certificate: ServerCertificate, _ body: (TestBundleServer) async throws -> Result
    ) async throws -> Result {
        let box = NIOLockedValueBox(Behaviour(certificate: certificate))
        let channel = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    let behaviour = box.withLockedValue { behaviour in
                        behaviour.connections += 1
                        return behaviour
                    }
                    var configuration = TLSConfiguration.makeServerConfiguration(
                        certificateChain: behaviour.certificate.chain.map { .certificate($0) },
                        privateKey: .privateKey(behaviour.certificate.key))
                    behaviour.adjust(&configuration)
                    let context = try NIOSSLContext(configuration: configuration)
                    let pipeline = channel.pipeline.syncOperations
                    try pipeline.addHandler(NIOSSLServerHandler(context: context))
                    try pipeline.addHandler(AnswerHandler(box))
                }
            }
            .bind(host: "127.0.0.1", port: 0).get()
        let server = TestBundleServer(channel, box)
        do {
            let result = try await body(server)
            try await channel.close()
            return result
        } catch {
            try? await channel.close()
            throw error
        }
    }
}

private final class AnswerHandler: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    private let box: NIOLockedValueBox<TestBundleServer.Behaviour>
    private var received: [UInt8] = []

    init(_ box: NIOLockedValueBox<TestBundleServer.Behaviour>) { self.box = box }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        self.received.append(contentsOf: self.unwrapInboundIn(data).readableBytesView)
        let text = String(decoding: self.received, as: UTF8.self)
        guard text.hasSuffix("\r\n\r\n") else { return }
        self.received = []
        // Header names are lower-cased with their values; the request line is kept.
        let lines = text.split(separator: "\r\n").enumerated().map {
            $0.offset == 0 ? String($0.element) : $0.element.lowercased()
        }
        let request = TestBundleServer.Request(lines: lines)
        let answer = self.box.withLockedValue { behaviour in
            behaviour.requests.append(request)
            return behaviour.answer
        }
        self.give(answer(request), context)
    }

    private func give(_ answer: TestBundleServer.Answer, _ context: ChannelHandlerContext) {
        switch answer {
        case .bytes(let bytes): self.send(bytes, context, nil)
        case .close(let bytes):
            self.send(bytes, context, nil)
            context.close(promise: nil)
        case .cut(let bytes):
            self.send(bytes, context, nil)
            // Past TLS: it would say goodbye.
            let tls = try? context.pipeline.syncOperations.context(
                handlerType: NIOSSLServerHandler.self)
            tls?.close(promise: nil)
        case .flood(let first, let more):
            self.send(first, context, nil)
            self.flood(more, context)
        case .trickle(let bytes): self.trickle(bytes[...], bytes, context)
        }
    }

    private func send(
        _ bytes: [UInt8], _ context: ChannelHandlerContext, _ promise: EventLoopPromise<Void>?
    ) {
        context.writeAndFlush(self.wrapOutboundOut(ByteBuffer(bytes: bytes)), promise: promise)
    }

    private func flood(_ bytes: [UInt8], _ context: ChannelHandlerContext) {
        let promise = context.eventLoop.makePromise(of: Void.self)
        // Not from within the write that has just been flushed.
        promise.futureResult.assumeIsolated().whenSuccess {
            context.eventLoop.assumeIsolated().execute { self.flood(bytes, context) }
        }
        self.send(bytes, context, promise)
    }

    private func trickle(
        _ rest: ArraySlice<UInt8>, _ all: [UInt8], _ context: ChannelHandlerContext
    ) {
        guard context.channel.isActive else { return }
        self.send(Array(rest.prefix(1)), context, nil)
        let next = rest.count > 1 ? rest.dropFirst() : all[...]
        context.eventLoop.assumeIsolated().scheduleTask(in: .milliseconds(5)) {
            self.trickle(next, all, context)
        }
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        context.close(promise: nil)
    }
}
