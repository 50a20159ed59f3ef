public import GRPCCore
public import SPIFFE

/// Puts a JWT-SVID on every call, as `authorization: Bearer`.
///
/// The source is asked for each call; wrap it in `JWTSVIDCache` so that not every call asks the Workload API. A
/// call for which there is no token fails and is not sent. Neither is one over another transport than
/// ``SPIFFEClientTransport``: whoever reads a token off the wire can use it.
///
/// ```swift
/// let client = GRPCClient(
///     transport: transport,
///     interceptors: [JWTSVIDClientInterceptor(JWTSVIDCache(source), audience: ["reports"])])
/// ```
public struct JWTSVIDClientInterceptor: ClientInterceptor {
    private let source: any JWTSVIDSource
    private let audience: [String]
    private let id: SPIFFEID?
    private let assumesSecureTransport: Bool

    /// - Parameters:
    ///   - source: Where tokens come from.
    ///   - audience: Whom the tokens are for: the name that the server goes by.
    ///   - id: Whom they speak for; nil takes the default identity.
    public init(_ source: any JWTSVIDSource, audience: [String], id: SPIFFEID? = nil) {
        self.init(source, audience: audience, id: id, assumesSecureTransport: false)
    }

    /// For another transport, which the caller knows to be encrypted and to verify the server. Nobody checks
    /// that it is.
    public static func assumingSecureTransport(
        _ source: any JWTSVIDSource, audience: [String], id: SPIFFEID? = nil
    ) -> JWTSVIDClientInterceptor {
        JWTSVIDClientInterceptor(
            source, audience: audience, id: id, assumesSecureTransport: true)
    }

    private init(
        _ source: any JWTSVIDSource, audience: [String], id: SPIFFEID?,
        assumesSecureTransport: Bool
    ) {
        self.source = source
        self.audience = audience
        self.id = id
        self.assumesSecureTransport = assumesSecureTransport
    }

    /// Fetches the token and hands the call on with it.
    ///
    /// - Throws: `RPCError` `unauthenticated` when there is no token, `failedPrecondition` over a transport that
    ///   may not carry one.
    public func intercept<Input: Sendable, Output: Sendable>(
        request: StreamingClientRequest<Input>, context: ClientContext,
        next: (StreamingClientRequest<Input>, ClientContext) async throws
            -> StreamingClientResponse<Output>
    ) async throws -> StreamingClientResponse<Output> {
        guard self.assumesSecureTransport || SPIFFEClientTransport.carries(context) else {
            throw RPCError(
                code: .failedPrecondition,
                message:
                    "a JWT-SVID is not sent over a transport that is not known to be secure; use "
                    + "SPIFFEClientTransport")
        }
        let svid: JWTSVID
        do {
            svid = try await self.source.jwtSVID(audience: self.audience, id: self.id)
        } catch is CancellationError {
            throw CancellationError()
        } catch {
            throw RPCError(
                code: .unauthenticated, message: "there is no JWT-SVID for this call", cause: error)
        }
        var request = request
        request.metadata.replaceOrAddString("Bearer \(svid.token)", forKey: "authorization")
        return try await next(request, context)
    }
}
