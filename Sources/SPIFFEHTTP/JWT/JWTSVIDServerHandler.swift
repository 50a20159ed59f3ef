public import NIOCore
public import NIOHTTP1
public import SPIFFE

/// Lets only requests in that carry a valid JWT-SVID of an authorized caller.
///
/// Goes into the pipeline of an HTTP/1.1 server behind `configureHTTPServerPipeline`, with its assistance for pipelining, and
/// before the handlers of the program. These get a ``JWTSVIDAuthenticated`` event before the head of each request that
/// is let in, and the head without its `authorization` header. Other requests are answered here: 401, 403 or 400, with
/// nothing about the reason.
///
/// For other frameworks ask a `JWTSVIDAuthenticator` directly; for Hummingbird there is `SPIFFEHummingbird`.
public final class JWTSVIDServerHandler: ChannelInboundHandler, RemovableChannelHandler {
    /// Requests.
    public typealias InboundIn = HTTPServerRequestPart
    /// Requests that are let in.
    public typealias InboundOut = HTTPServerRequestPart
    /// Refusals.
    public typealias OutboundOut = HTTPServerResponsePart

    private enum State {
        case passing
        /// The body of a request that is refused is thrown away, up to a limit.
        case refusing(JWTAuthenticationError, isKeepAlive: Bool, discarded: Int)
        case closed
    }

    /// Who sends more to a server that refuses it is disconnected.
    private static let maximumDiscarded = 64 * 1024

    private let authenticator: JWTSVIDAuthenticator
    private let onRefused: (@Sendable (JWTAuthenticationError) -> Void)?
    private var state = State.passing

    /// - Parameters:
    ///   - authenticator: Whom to believe and to let in.
    ///   - onRefused: Told about each request that was refused, for a log. Must not block.
    public init(
        _ authenticator: JWTSVIDAuthenticator,
        onRefused: (@Sendable (JWTAuthenticationError) -> Void)? = nil
    ) {
        self.authenticator = authenticator
        self.onRefused = onRefused
    }

    /// Checks a request's head and hands its parts on, or answers it.
    public func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        let part = self.unwrapInboundIn(data)
        switch (self.state, part) {
        case (.closed, _):
            break
        case (_, .head(let head)):
            self.begin(head, context)
        case (.passing, _):
            context.fireChannelRead(data)
        case (.refusing(let error, let isKeepAlive, let discarded), .body(let bytes)):
            let count = discarded + bytes.readableBytes
            self.state = .refusing(error, isKeepAlive: isKeepAlive, discarded: count)
            if count > Self.maximumDiscarded { self.answer(error, isKeepAlive: false, context) }
        case (.refusing(let error, let isKeepAlive, _), .end):
            self.answer(error, isKeepAlive: isKeepAlive, context)
        }
    }

    private func begin(_ head: HTTPRequestHead, _ context: ChannelHandlerContext) {
        // Not split at commas: a token has none, and two schemes in one line are refused.
        do throws(JWTAuthenticationError) {
            let svid = try self.authenticator.authenticate(
                authorization: head.headers["authorization"])
            self.state = .passing
            var head = head
            head.headers.remove(name: "authorization")
            context.fireUserInboundEventTriggered(JWTSVIDAuthenticated(svid: svid))
            context.fireChannelRead(self.wrapInboundOut(.head(head)))
        } catch {
            self.onRefused?(error)
            self.state = .refusing(error, isKeepAlive: head.isKeepAlive, discarded: 0)
        }
    }

    private func answer(
        _ error: JWTAuthenticationError, isKeepAlive: Bool, _ context: ChannelHandlerContext
    ) {
        var headers = HTTPHeaders([
            ("content-length", "0"), ("www-authenticate", error.wwwAuthenticate),
        ])
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

/// Comes through the pipeline before the head of a request that ``JWTSVIDServerHandler`` has let in.
public struct JWTSVIDAuthenticated: Sendable {
    /// Who sent the request.
    public let svid: JWTSVID
}
