import HTTPTypes
public import Hummingbird
import NIOCore
public import SPIFFE

/// Lets only requests in that carry a WIT-SVID of an authorized caller and a proof of it.
///
/// Incubating; the drafts of WIMSE that it follows may change. Handlers find the identity in the context as
/// ``SPIFFERequestContext/witSVID``; WIT-SVID and proof token do not reach them, so that neither gets into a log. Others are
/// answered with the status of the error and nothing about the reason, which `onRefused` is told. There is no
/// `www-authenticate`: a WIT-SVID has no place in `authorization`.
///
/// The body of a request with an HTTP message signature is read before the request is handed on: the signature covers it.
/// With a ``JWTSVIDMiddleware`` this one comes first: proofs are about the `authorization` header too.
public struct WITSVIDMiddleware<Context: SPIFFERequestContext>: RouterMiddleware {
    private let authenticator: WITSVIDAuthenticator
    private let isSecuredOtherwise: Bool
    private let maximumBodyBytes: Int
    private let onRefused: (@Sendable (WITAuthenticationError, Context) -> Void)?

    /// - Parameters:
    ///   - authenticator: Whom to believe and to let in. One for all routes of an audience: it remembers proofs.
    ///   - isSecuredOtherwise: Says that something else than a server made by `.spiffe(…)` keeps requests from being read on
    ///     the way. Without it every request that comes to another kind of server is refused.
    ///   - maximumBodyBytes: The longest body that a signature may cover; it is held in memory.
    ///   - onRefused: Told about each request that was refused, for a log.
    public init(
        _ authenticator: WITSVIDAuthenticator, isSecuredOtherwise: Bool = false,
        maximumBodyBytes: Int = 1024 * 1024,
        onRefused: (@Sendable (WITAuthenticationError, Context) -> Void)? = nil
    ) {
        self.authenticator = authenticator
        self.isSecuredOtherwise = isSecuredOtherwise
        self.maximumBodyBytes = max(0, maximumBodyBytes)
        self.onRefused = onRefused
    }

    /// Checks a request and hands it on with the identity in its context.
    ///
    /// - Throws: `HTTPError` with the status of the `WITAuthenticationError`: 400, 403, 413, 501 or 503.
    public func handle(
        _ request: Request, context: Context,
        next: (Request, Context) async throws -> Response
    ) async throws -> Response {
        var request = request
        let fields = Self.fields(request)
        var bodySHA256: [UInt8]?
        if self.authenticator.needsBody(of: fields) {
            let body = try await self.body(of: &request, context)
            if body.readableBytes > 0 {
                bodySHA256 = ProofRequest.sha256(of: Array(body.readableBytesView))
            }
        }
        let svid: ProvenWITSVID
        do throws(WITAuthenticationError) {
            svid = try self.authenticate(request, fields, bodySHA256, context)
        } catch {
            throw self.refusal(error, context)
        }
        var head = request.head
        for name in ["workload-identity-token", "workload-proof-token"] {
            if let name = HTTPField.Name(name) { head.headerFields[values: name] = [] }
        }
        var context = context
        context.caller.witSVID = svid
        return try await next(Request(head: head, body: request.body), context)
    }

    private func authenticate(
        _ request: Request, _ fields: [ProofRequest.Field], _ bodySHA256: [UInt8]?,
        _ context: Context
    ) throws(WITAuthenticationError) -> ProvenWITSVID {
        let channel: ProofRequest.Channel =
            if context.caller.isOverTLS {
                .tls
            } else {
                self.isSecuredOtherwise ? .securedOtherwise : .plaintext
            }
        let described: ProofRequest
        do throws(WorkloadProofError) {
            described = try ProofRequest(
                method: request.method.rawValue, requestTarget: request.head.path ?? "",
                fields: fields, bodySHA256: bodySHA256, channel: channel)
        } catch {
            throw WITAuthenticationError(error)
        }
        return try self.authenticator.authenticate(described)
    }

    /// Reads the whole body and leaves it where handlers read it.
    private func body(of request: inout Request, _ context: Context) async throws -> ByteBuffer {
        do {
            return try await request.collectBody(upTo: self.maximumBodyBytes)
        } catch is NIOTooManyBytesError {
            throw self.refusal(.bodyTooLarge(self.maximumBodyBytes), context)
        } catch let error as any HTTPResponseError where error.status == .contentTooLarge {
            throw self.refusal(.bodyTooLarge(self.maximumBodyBytes), context)
        }
    }

    private func refusal(_ error: WITAuthenticationError, _ context: Context) -> HTTPError {
        self.onRefused?(error, context)
        return HTTPError(HTTPResponse.Status(code: error.httpStatus))
    }

    /// The fields as they came; the first `host` has become the authority on the way here.
    private static func fields(_ request: Request) -> [ProofRequest.Field] {
        let host = request.head.authority.map { [ProofRequest.Field(name: "host", value: $0)] }
        return (host ?? [])
            + request.headers.map { ProofRequest.Field(name: $0.name.rawName, value: $0.value) }
    }
}
