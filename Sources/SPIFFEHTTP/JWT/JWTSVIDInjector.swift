public import SPIFFE

/// Makes the `authorization` header of requests: a bearer JWT-SVID, and only for `https`.
///
/// ``SPIFFEHTTPClient`` takes one; with another client ask it for the header's value:
///
/// ```swift
/// let injector = JWTSVIDInjector(JWTSVIDCache(source), audience: ["reports"])
/// request.headers["authorization"] = try await injector.authorization(for: url)
/// ```
///
/// A client that follows redirections must ask anew for each URL, or drop the header.
public struct JWTSVIDInjector: Sendable {
    private let source: any JWTSVIDSource
    private let audience: [String]
    private let id: SPIFFEID?

    /// - Parameters:
    ///   - source: Asked for each request; wrap it in `JWTSVIDCache` so that not every one asks the Workload API.
    ///   - audience: Whom the tokens are for: the name that the server goes by.
    ///   - id: Whom they speak for; nil takes the default identity.
    public init(_ source: any JWTSVIDSource, audience: [String], id: SPIFFEID? = nil) {
        self.source = source
        self.audience = audience
        self.id = id
    }

    /// The value of the header for a request to this URL: `Bearer` and a token. A secret: never log it.
    ///
    /// - Throws: ``SPIFFEHTTPError`` `insecureURL` without asking for a token, `invalidURL`, or `noIdentity` when there
    ///   is none; `CancellationError`.
    public func authorization(for url: String) async throws -> String {
        _ = try HTTPSURL(url)
        do {
            let svid = try await self.source.jwtSVID(audience: self.audience, id: self.id)
            return "Bearer \(svid.token)"
        } catch is CancellationError {
            throw CancellationError()
        } catch {
            throw SPIFFEHTTPError(.noIdentity, "there is no JWT-SVID for the request", error)
        }
    }
}
