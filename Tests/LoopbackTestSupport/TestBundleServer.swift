import NIOConcurrencyHelpers
import NIOCore
package import NIOSSL

/// An HTTPS server on the loopback interface that answers with the bytes it is told to, however wrong.
package final class TestBundleServer: Sendable {
    /// What the server does once a request has come.
    package enum Answer: Sendable {
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

        /// A response with a body; the connection stays open.
        package static func response(
            _ status: String = "200 OK", _ headers: [String] = [], body: [UInt8] = []
        ) -> Answer {
            .bytes(Self.message(status, headers, body))
        }

        /// A response with a body; the connection ends behind it.
        package static func lastResponse(
            _ status: String = "200 OK", _ headers: [String] = [], body: [UInt8] = []
        ) -> Answer {
            .close(Self.message(status, headers, body))
        }

        private static func message(
            _ status: String, _ headers: [String], _ body: [UInt8]
        ) -> [UInt8] {
            let head = ["HTTP/1.1 \(status)"] + headers + ["content-length: \(body.count)"]
            return Array((head.joined(separator: "\r\n") + "\r\n\r\n").utf8) + body
        }

        package static func redirect(_ location: String, _ status: String = "302 Found") -> Answer {
            .response(status, ["location: \(location)"])
        }

        package static func text(_ text: String) -> Answer { .bytes(Array(text.utf8)) }
    }

    /// A request as it came.
    package struct Request: Sendable {
        /// All of it, to the empty line.
        package let text: String
        /// The first line and the headers, these in lower case.
        package let lines: [String]

        init(_ text: String) {
            self.text = text
            self.lines = text.split(separator: "\r\n").enumerated().map {
                $0.offset == 0 ? String($0.element) : $0.element.lowercased()
            }
        }

        /// The target of the request line.
        package var target: String {
            let words = (self.lines.first ?? "").split(separator: " ")
            return words.count == 3 ? String(words[1]) : ""
        }

        /// A header's value, in lower case; the first of several.
        package func value(_ name: String) -> String? {
            self.lines.first { $0.hasPrefix(name + ": ") }
                .map { String($0.dropFirst(name.utf8.count + 2)) }
        }
    }

    /// What the server shows and does, and what it has seen; may be changed at any time.
    fileprivate struct Behaviour: Sendable {
        var certificate: ServerCertificate
        var adjust: @Sendable (inout TLSConfiguration) -> Void = { _ in }
        var answer: @Sendable (Request) -> Answer = { _ in .response() }
        var connections = 0
        var requests: [Request] = []
    }

    package let port: Int
    private let box: NIOLockedValueBox<Behaviour>

    private init(_ port: Int, _ box: NIOLockedValueBox<Behaviour>) {
        self.port = port
        self.box = box
    }

    /// How many have connected, TLS or not.
    package var connections: Int { self.box.withLockedValue { $0.connections } }
    package var requests: [Request] { self.box.withLockedValue { $0.requests } }

    /// An address of the server by the name `localhost`.
    package func url(_ target: String = "/bundle") -> String {
        "https://localhost:\(self.port)\(target)"
    }

    /// An address of the server by its IP address.
    package func addressURL(_ target: String = "/bundle") -> String {
        "https://127.0.0.1:\(self.port)\(target)"
    }

    package func set(_ certificate: ServerCertificate) {
        self.box.withLockedValue { $0.certificate = certificate }
    }

    package func adjustTLS(_ adjust: @escaping @Sendable (inout TLSConfiguration) -> Void) {
        self.box.withLockedValue { $0.adjust = adjust }
    }

    /// Sets what every request from now on is answered with.
    package func answer(_ answer: Answer) { self.answer { _ in answer } }

    package func answer(_ answer: @escaping @Sendable (Request) -> Answer) {
        self.box.withLockedValue { $0.answer = answer }
    }

    /// Runs a server while the body runs.
    package static func with<Result>(
        _ certificate: ServerCertificate, _ body: (TestBundleServer) async throws -> Result
    ) async throws -> Result {
        let box = NIOLockedValueBox(Behaviour(certificate: certificate))
        return try await LoopbackServer.with { channel in
            let behaviour = box.withLockedValue { behaviour in
                behaviour.connections += 1
                return behaviour
            }
            var configuration = try behaviour.certificate.configuration
            behaviour.adjust(&configuration)
            let context = try NIOSSLContext(configuration: configuration)
            let pipeline = channel.pipeline.syncOperations
            try pipeline.addHandler(NIOSSLServerHandler(context: context))
            try pipeline.addHandler(AnswerHandler(box))
        } _: { port in
            try await body(TestBundleServer(port, box))
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
        let request = TestBundleServer.Request(text)
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
            let promise = context.eventLoop.makePromise(of: Void.self)
            promise.futureResult.assumeIsolated().whenComplete { _ in
                context.close(promise: nil)
            }
            self.send(bytes, context, promise)
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
