public import Hummingbird
public import SPIFFE

/// Lets only clients in whose X509-SVID the authorizer lets in; for routes that are for fewer than may connect.
///
/// Others are answered 403, those without certificate 401.
public struct PeerAuthorizationMiddleware<Context: SPIFFERequestContext>: RouterMiddleware {
    private let authorizer: Authorizer

    /// - Parameter authorizer: Who may pass.
    public init(_ authorizer: Authorizer) { self.authorizer = authorizer }

    /// Checks who is at the other end and hands the request on.
    ///
    /// - Throws: `HTTPError` 401 or 403.
    public func handle(
        _ request: Request, context: Context,
        next: (Request, Context) async throws -> Response
    ) async throws -> Response {
        let id = try context.requirePeerSPIFFEID()
        do throws(AuthorizationError) {
            try self.authorizer.authorize(id)
        } catch {
            throw HTTPError(.forbidden)
        }
        return try await next(request, context)
    }
}
