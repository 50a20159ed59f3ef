import NIOHTTP1
package import SPIFFE
import SPIFFEHTTP

/// What a bundle endpoint has answered to a request for a document beside its bundle.
package struct SiblingResponse: Sendable {
    /// What the answer says.
    package enum Content: Sendable {
        /// The document, as it came.
        case document([UInt8])
        /// The document is the one that the entity tag belongs to.
        case notModified
        /// There is none: status 403, 404 or 410, or a document of another media type, as places answer that have one page
        /// for everything.
        case absent
    }

    /// What the endpoint answered.
    package let content: Content
    /// To be sent with the next request; nil when the endpoint gave none.
    package let entityTag: String?
    /// As ``BundleEndpointResponse/appliedWait``.
    package let appliedWait: Duration?
}

extension BundleEndpointClient {
    /// Fetches a document that lies beside a bundle, under the rules for the bundle: the same profile, the same
    /// limits on redirections, a connection of its own.
    ///
    /// - Parameters:
    ///   - reference: Where it is, relative to the URL of the bundle (RFC 3986 §5.2): `crl/ab12.crl` beside
    ///     `https://example.org/spiffe/bundle` is `https://example.org/spiffe/crl/ab12.crl`. From trusted text.
    ///   - endpoint: Of the bundle.
    ///   - bundles: As for ``fetch(_:authenticatingWith:entityTag:waitingUpTo:)``.
    ///   - mediaType: What is expected; a document of another type counts as absent.
    ///   - entityTag: That of the document at hand.
    ///   - patience: How long the endpoint may hold the answer back until the document is another one.
    ///   - maximumBytes: The longest body.
    /// - Throws: ``BundleEndpointError``.
    package func fetch(
        sibling reference: String, of endpoint: BundleEndpoint,
        authenticatingWith bundles: any X509BundleSource, mediaType: String,
        entityTag: String? = nil, waitingUpTo patience: Duration? = nil, maximumBytes: Int
    ) async throws(BundleEndpointError) -> SiblingResponse {
        let place = try BundleEndpoint(
            trustDomain: endpoint.trustDomain,
            url: try endpoint.url.redirected(to: reference).string, profile: endpoint.profile)
        let server = try self.server(place, bundles)
        let tag = entityTag.flatMap { ResponseHeaders.isEntityTag($0) ? $0 : nil }
        var limits = self.limits(patience)
        limits.maximumResponseBytes = maximumBytes
        var headers = self.headers(tag, patience, mediaType: mediaType)
        // Says who keeps the bundle, of which this request tells nothing.
        headers.remove(name: "cygnet-trust-domain")
        let (response, url) = try await self.exchange(place, headers, server, limits)
        let read = ResponseHeaders(response.headers)
        let wait = patience == nil ? nil : read.appliedWait
        switch response.status.code {
        case 200:
            guard read.hasMediaType(mediaType) else {
                return SiblingResponse(content: .absent, entityTag: nil, appliedWait: nil)
            }
            if let coding = read.unwantedCoding {
                throw BundleEndpointError(
                    .encoding, place, at: url,
                    "the body has the coding \(BundleEndpointError.quoted(coding)), which was not "
                        + "asked for; expected a plain body")
            }
            return SiblingResponse(
                content: .document(response.body), entityTag: read.entityTag, appliedWait: wait)
        case 304 where tag != nil:
            return SiblingResponse(
                content: .notModified, entityTag: read.entityTag ?? tag, appliedWait: wait)
        case 403, 404, 410:
            return SiblingResponse(content: .absent, entityTag: nil, appliedWait: nil)
        default:
            throw BundleEndpointError(
                .status, place, at: url,
                "status \(response.status.code) came; expected 200, or 404 where nothing is published",
                status: Int(response.status.code), retryAfter: read.retryAfter)
        }
    }
}

extension ResponseHeaders {
    /// Whether `content-type` names this media type, with or without parameters (RFC 9110 §8.3).
    func hasMediaType(_ expected: String) -> Bool {
        let types = self.values("content-type")
        guard let type = types.first, types.count == 1 else { return false }
        let name = type.prefix { $0 != ";" }.filter { $0 != " " && $0 != "\t" }
        return name.lowercased() == expected
    }
}
