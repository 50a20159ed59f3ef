public import GRPCCore
public import SPIFFE

/// Lets only calls in that carry a valid JWT-SVID of an authorized caller in `authorization: Bearer`.
///
/// Handlers find it in `ServerContext.callerJWTSVID`; the header itself does not reach them, so that no token
/// gets into a log by way of the metadata. A call without valid token ends with `UNAUTHENTICATED`, one of a caller that
/// is not authorized with `PERMISSION_DENIED`; neither says more, the reasons go to `onRefused`.
///
/// ```swift
/// let server = GRPCServer(
///     transport: transport, services: [service],
///     interceptors: [
///         JWTSVIDServerInterceptor(
///             JWTSVIDAuthenticator(
///                 audience: "reports", bundles: source, authorizer: .member(of: trustDomain)))
///     ])
/// ```
public struct JWTSVIDServerInterceptor: ServerInterceptor {
    private let authenticator: JWTSVIDAuthenticator
    private let onRefused: (@Sendable (JWTAuthenticationError, ServerContext) -> Void)?

    /// - Parameters:
    ///   - authenticator: Whom to believe and to let in.
    ///   - onRefused: Told about each call that was refused, for a log.
    public init(
        _ authenticator: JWTSVIDAuthenticator,
        onRefused: (@Sendable (JWTAuthenticationError, ServerContext) -> Void)? = nil
    ) {
        self.authenticator = authenticator
        self.onRefused = onRefused
    }

    /// Checks the call and hands it on with the identity in its context.
    ///
    /// - Throws: `RPCError` `unauthenticated` or `permissionDenied`.
    public func intercept<Input: Sendable, Output: Sendable>(
        request: StreamingServerRequest<Input>, context: ServerContext,
        next:
            @Sendable (StreamingServerRequest<Input>, ServerContext) async throws
            -> StreamingServerResponse<Output>
    ) async throws -> StreamingServerResponse<Output> {
        let values = request.metadata[stringValues: "authorization"].map { String($0) }
        let svid: JWTSVID
        do throws(JWTAuthenticationError) {
            svid = try self.authenticator.authenticate(authorization: values)
        } catch {
            self.onRefused?(error, context)
            throw error.code == .denied
                ? RPCError(code: .permissionDenied, message: "the caller is not authorized")
                : RPCError(code: .unauthenticated, message: "a valid JWT-SVID is required")
        }
        var request = request
        request.metadata.removeAllValues(forKey: "authorization")
        var context = context
        context.transportSpecific = JWTCallContext(
            svid: svid, transport: context.transportSpecific)
        return try await next(request, context)
    }
}
