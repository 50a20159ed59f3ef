public import NIOCore
public import NIOHTTP1
import NIOSSL
public import SPIFFE

/// Lets only requests in that carry a WIT-SVID of an authorized caller and a proof of it.
///
/// Incubating; the drafts of WIMSE that it follows may change. Goes into the pipeline of an HTTP/1.1 server behind
/// `configureHTTPServerPipeline`, with its assistance for pipelining, and before the handlers of the program. These get a
/// ``WITSVIDAuthenticated`` event before the head of each request that is let in, and the head without WIT-SVID and proof
/// token. Other requests are answered here, with nothing about the reason.
///
/// The body of a request with an HTTP message signature is read before anything is handed on: the signature covers it.
/// With a ``JWTSVIDServerHandler`` this one comes first: proofs are about the `authorization` header too.
///
/// For other frameworks ask a `WITSVIDAuthenticator` directly; for Hummingbird there is `SPIFFEHummingbird`.
public final class WITSVIDServerHandler: ChannelInboundHandler, RemovableChannelHandler {
    /// Requests.
    public typealias InboundIn = HTTPServerRequestPart
    /// Requests that are let in.
    public typealias InboundOut = HTTPServerRequestPart
    /// Refusals.
    public typealias OutboundOut = HTTPServerResponsePart

    private enum State {
        case passing
        /// The body of a request with a signature is collected, up to a limit.
        case collecting(HTTPRequestHead)
        /// The body of a request that is refused is thrown away, up to a limit.
        case refusing(WITAuthenticationError, isKeepAlive: Bool, discarded: Int)
        case closed
    }

    /// Who sends more to a server that refuses it is disconnected.
    private static let maximumDiscarded = 64 * 1024

    private let authenticator: WITSVIDAuthenticator
    private let isSecuredOtherwise: Bool
    private let maximumBodyBytes: Int
    private let onRefused: (@Sendable (WITAuthenticationError) -> Void)?
    private var state = State.passing
    /// What has been collected.
    private var body = ByteBuffer()

    /// - Parameters:
    ///   - authenticator: Whom to believe and to let in. One for all connections: it remembers proofs.
    ///   - isSecuredOtherwise: Says that something else than TLS in this pipeline keeps requests from being read on the
    ///     way, such as a Unix socket. Without it every request that comes without TLS is refused.
    ///   - maximumBodyBytes: The longest body that a signature may cover; it is held in memory.
    ///   - onRefused: Told about each request that was refused, for a log. Must not block.
    public init(
        _ authenticator: WITSVIDAuthenticator, isSecuredOtherwise: Bool = false,
        maximumBodyBytes: Int = 1024 * 1024,
        onRefused: (@Sendable (WITAuthenticationError) -> Void)? = nil
    ) {
        self.authenticator = authenticator
        self.isSecuredOtherwise = isSecuredOtherwise
        self.maximumBodyBytes = max(0, maximumBodyBytes)
        self.onRefused = onRefused
    }

    /// Checks a request and hands its parts on, or answers it.
    public func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        let part = self.unwrapInboundIn(data)
        switch (self.state, part) {
        case (.closed, _):
            break
        case (_, .head(let head)):
            self.begin(head, context)
        case (.passing, _):
            context.fireChannelRead(data)
        case (.collecting(let head), .body(var bytes)):
            guard self.body.readableBytes + bytes.readableBytes <= self.maximumBodyBytes else {
                self.body = ByteBuffer()
                return self.refuse(.bodyTooLarge(self.maximumBodyBytes), head, context)
            }
            self.body.writeBuffer(&bytes)
        case (.collecting(let head), .end):
            let body = self.body
            self.body = ByteBuffer()
            self.finish(head, body, data, context)
        case (.refusing(let error, let isKeepAlive, let discarded), .body(let bytes)):
            let count = discarded + bytes.readableBytes
            self.state = .refusing(error, isKeepAlive: isKeepAlive, discarded: count)
            if count > Self.maximumDiscarded { self.answer(error, isKeepAlive: false, context) }
        case (.refusing(let error, let isKeepAlive, _), .end):
            self.answer(error, isKeepAlive: isKeepAlive, context)
        }
    }

    private func begin(_ head: HTTPRequestHead, _ context: ChannelHandlerContext) {
        if self.authenticator.needsBody(of: Self.fields(head)) {
            self.state = .collecting(head)
            // Whoever asks before sending the body would wait for ever: nobody behind us sees the question yet.
            if head.headers[canonicalForm: "expect"].contains(where: {
                $0.lowercased() == "100-continue"
            }) {
                context.writeAndFlush(
                    self.wrapOutboundOut(.head(.init(version: .http1_1, status: .continue))),
                    promise: nil)
            }
            return
        }
        do throws(WITAuthenticationError) {
            self.passOn(head, try self.authenticate(head, nil, context), context)
        } catch {
            self.refuse(error, head, context)
        }
    }

    private func finish(
        _ head: HTTPRequestHead, _ body: ByteBuffer, _ end: NIOAny, _ context: ChannelHandlerContext
    ) {
        do throws(WITAuthenticationError) {
            let digest =
                body.readableBytes == 0
                ? nil : ProofRequest.sha256(of: Array(body.readableBytesView))
            self.passOn(head, try self.authenticate(head, digest, context), context)
        } catch {
            self.onRefused?(error)
            return self.answer(error, isKeepAlive: head.isKeepAlive, context)
        }
        if body.readableBytes > 0 { context.fireChannelRead(self.wrapInboundOut(.body(body))) }
        context.fireChannelRead(end)
    }

    private func passOn(
        _ head: HTTPRequestHead, _ svid: ProvenWITSVID, _ context: ChannelHandlerContext
    ) {
        var head = head
        for name in ["workload-identity-token", "workload-proof-token"] {
            head.headers.remove(name: name)
        }
        // Answered here, when the body was asked for.
        if case .collecting = self.state { head.headers.remove(name: "expect") }
        self.state = .passing
        context.fireUserInboundEventTriggered(WITSVIDAuthenticated(svid: svid))
        context.fireChannelRead(self.wrapInboundOut(.head(head)))
    }

    private func authenticate(
        _ head: HTTPRequestHead, _ bodySHA256: [UInt8]?, _ context: ChannelHandlerContext
    ) throws(WITAuthenticationError) -> ProvenWITSVID {
        let channel: ProofRequest.Channel =
            if (try? context.pipeline.syncOperations.context(handlerType: NIOSSLServerHandler.self))
                != nil
            {
                .tls
            } else {
                self.isSecuredOtherwise ? .securedOtherwise : .plaintext
            }
        let request: ProofRequest
        do throws(WorkloadProofError) {
            request = try ProofRequest(
                method: head.method.rawValue, requestTarget: head.uri, fields: Self.fields(head),
                bodySHA256: bodySHA256, channel: channel)
        } catch {
            throw WITAuthenticationError(error)
        }
        return try self.authenticator.authenticate(request)
    }

    private static func fields(_ head: HTTPRequestHead) -> [ProofRequest.Field] {
        head.headers.map { ProofRequest.Field(name: $0.name, value: $0.value) }
    }

    private func refuse(
        _ error: WITAuthenticationError, _ head: HTTPRequestHead, _ context: ChannelHandlerContext
    ) {
        self.onRefused?(error)
        self.state = .refusing(error, isKeepAlive: head.isKeepAlive, discarded: 0)
    }

    private func answer(
        _ error: WITAuthenticationError, isKeepAlive: Bool, _ context: ChannelHandlerContext
    ) {
        var headers = HTTPHeaders([("content-length", "0")])
        if !isKeepAlive { headers.add(name: "connection", value: "close") }
        let head = HTTPResponseHead(
            version: .http1_1, status: HTTPResponseStatus(statusCode: error.httpStatus),
            headers: headers)
        self.state = isKeepAlive ? .passing : .closed
        context.write(self.wrapOutboundOut(.head(head)), promise: nil)
        let end = context.writeAndFlush(self.wrapOutboundOut(.end(nil)))
        if !isKeepAlive {
            let channel = context.channel
            end.whenComplete { _ in channel.close(promise: nil) }
        }
    }
}

/// Comes through the pipeline before the head of a request that ``WITSVIDServerHandler`` has let in.
public struct WITSVIDAuthenticated: Sendable {
    /// Who sent the request, proven.
    public let svid: ProvenWITSVID
}
