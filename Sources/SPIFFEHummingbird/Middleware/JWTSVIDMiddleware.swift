import HTTPTypes
public import Hummingbird
public import SPIFFE

/// Lets only requests in that carry a valid JWT-SVID of an authorized caller in `authorization: Bearer`.
///
/// Handlers find it in the context as ``SPIFFERequestContext/jwtSVID``; the header does not reach them, so that no token
/// gets into a log. Others are answered 401, 403 or 400, with nothing about the reason, which `onRefused` is told.
public struct JWTSVIDMiddleware<Context: SPIFFERequestContext>: RouterMiddleware {
    private let authenticator: JWTSVIDAuthenticator
    private let onRefused: (@Sendable (JWTAuthenticationError, Context) -> Void)?

    /// - Parameters:
    ///   - authenticator: Whom to believe and to let in.
    ///   - onRefused: Told about each request that was refused, for a log.
    public init(
        _ authenticator: JWTSVIDAuthenticator,
        onRefused: (@Sendable (JWTAuthenticationError, Context) -> Void)? = nil
    ) {
        self.authenticator = authenticator
        self.onRefused = onRefused
    }

    /// Checks a request and hands it on with the identity in its context.
    ///
    /// - Throws: `HTTPError` 400, 401 or 403.
    public func handle(
        _ request: Request, context: Context,
        next: (Request, Context) async throws -> Response
    ) async throws -> Response {
        let svid: JWTSVID
        do throws(JWTAuthenticationError) {
            svid = try self.authenticator.authenticate(
                authorization: request.headers[values: .authorization])
        } catch {
            self.onRefused?(error, context)
            throw HTTPError(
                HTTPResponse.Status(code: error.httpStatus),
                headers: [.wwwAuthenticate: error.wwwAuthenticate])
        }
        var head = request.head
        head.headerFields[values: .authorization] = []
        var context = context
        context.caller.jwtSVID = svid
        return try await next(Request(head: head, body: request.body), context)
    }
}
