public import NIOCore
import NIOHTTP1
public import NIOPosix
public import SPIFFE
import SPIFFEHTTP
import SPIFFETLS

/// Fetches bundles from bundle endpoints, in both profiles of SPIFFE Federation §5.2.
///
/// Each fetch begins at the configured URL on a new connection, so that the newest bundle decides who the endpoint may
/// be, and redirections are never remembered. The rules of the profile hold for each server on the way. No profile
/// falls back to the other, and no client certificate is ever presented.
///
/// ```swift
/// let partner = try BundleEndpoint(
///     trustDomain: try TrustDomain("partner.example"),
///     url: "https://bundles.partner.example/spiffe", profile: .httpsWeb)
/// let response = try await BundleEndpointClient().fetch(
///     partner, authenticatingWith: X509BundleSet())
/// ```
public final class BundleEndpointClient: Sendable {
    private let configuration: BundleEndpointClientConfiguration
    private let webPKI: WebPKIClientConfiguration
    private let group: any EventLoopGroup

    /// - Parameters:
    ///   - configuration: Limits, waits and trust roots.
    ///   - eventLoopGroup: Where connections live; of the Posix kind.
    public init(
        configuration: BundleEndpointClientConfiguration = .init(),
        eventLoopGroup: any EventLoopGroup = MultiThreadedEventLoopGroup.singleton
    ) {
        self.configuration = configuration
        self.webPKI = WebPKIClientConfiguration(
            usesSystemTrustRoots: configuration.usesSystemTrustRoots,
            additionalTrustRoots: configuration.additionalTrustRoots,
            lifetime: configuration.trustRootsLifetime)
        self.group = eventLoopGroup
    }

    /// Fetches the newest bundle.
    ///
    /// - Parameters:
    ///   - endpoint: Where, and how it is recognised.
    ///   - bundles: Has the newest bundle of the trust domain that an `https_spiffe` endpoint's ID is in; asked at
    ///     each handshake. Not asked for `https_web`.
    ///   - entityTag: That of the bundle at hand; an endpoint that has no other answers `notModified`. One that is no
    ///     entity tag of HTTP is not sent.
    ///   - patience: How long the endpoint may hold the answer back until its bundle is another one
    ///     (`Prefer: wait`, RFC 7240 §4.3), in whole seconds; endpoints that know nothing of it answer at once. Added to
    ///     the time that a response may take. Zero asks only whether the endpoint does that; the answer is
    ///     ``BundleEndpointResponse/appliedWait``.
    /// - Throws: ``BundleEndpointError``. Of bundles that cannot be read nothing is handed out.
    public func fetch(
        _ endpoint: BundleEndpoint, authenticatingWith bundles: any X509BundleSource,
        entityTag: String? = nil, waitingUpTo patience: Duration? = nil
    ) async throws(BundleEndpointError) -> BundleEndpointResponse {
        let server = try self.server(endpoint, bundles)
        let tag = entityTag.flatMap { ResponseHeaders.isEntityTag($0) ? $0 : nil }
        let (response, url) = try await self.exchange(
            endpoint, self.headers(tag, patience), server, self.limits(patience))
        let read = ResponseHeaders(response.headers)
        switch response.status.code {
        case 200:
            return try Self.bundle(endpoint, url, response, isPatient: patience != nil)
        case 304 where tag != nil:
            return BundleEndpointResponse(
                content: .notModified, entityTag: read.entityTag ?? tag, maxAge: read.maxAge,
                appliedWait: patience == nil ? nil : read.appliedWait, url: url)
        default:
            throw BundleEndpointError(
                .status, endpoint, at: url,
                "status \(response.status.code) came; expected 200 with a bundle",
                status: Int(response.status.code), retryAfter: read.retryAfter)
        }
    }

    /// One request, and those that redirections lead to.
    ///
    /// - Returns: the first answer that is no redirection, and where it came from.
    func exchange(
        _ endpoint: BundleEndpoint, _ headers: HTTPHeaders, _ server: SingleHTTPSRequest.Server,
        _ limits: SPIFFEHTTPClient.Limits
    ) async throws(BundleEndpointError) -> (SingleHTTPSRequest.Response, BundleEndpointURL) {
        var url = endpoint.url
        var redirections = 0
        while true {
            let response = try await self.get(endpoint, url, headers, server, limits)
            guard [301, 302, 303, 307, 308].contains(response.status.code) else {
                return (response, url)
            }
            redirections += 1
            url = try self.next(endpoint, url, response, redirections)
        }
    }

    // MARK: Request

    /// How the server is to be recognised, for the first one and for those it redirects to.
    func server(
        _ endpoint: BundleEndpoint, _ bundles: any X509BundleSource
    ) throws(BundleEndpointError) -> SingleHTTPSRequest.Server {
        guard let id = endpoint.endpointSPIFFEID else {
            do {
                try self.webPKI.prepare()
            } catch {
                throw BundleEndpointError(
                    .trustRoots, endpoint,
                    "the trust roots for https_web cannot be read: \(error); install the system's "
                        + "certificates or configure others", cause: error)
            }
            return .webPKI(self.webPKI)
        }
        // Never trust on first use: without a bundle there is no contact (§5.2.2.2).
        guard let bundle = bundles.x509Bundle(for: id.trustDomain), !bundle.authorities.isEmpty
        else {
            throw BundleEndpointError(
                .noBundle, endpoint,
                "there is no X.509 authority of \(id.trustDomain) to verify \(id) with; give a "
                    + (endpoint.isSelfServing
                        ? "bundle of it for the first contact" : "bundle of that trust domain"))
        }
        return .spiffe(MTLSClientConfiguration(bundleEndpoint: id, bundles: bundles))
    }

    func limits(_ patience: Duration?) -> SPIFFEHTTPClient.Limits {
        var limits = SPIFFEHTTPClient.Limits()
        limits.connectTimeout = self.configuration.connectTimeout
        limits.responseTimeout = self.configuration.responseTimeout + Self.bounded(patience)
        limits.maximumResponseBytes = self.configuration.maximumBodyBytes
        return limits
    }

    func headers(
        _ entityTag: String?, _ patience: Duration?, mediaType: String = "application/json"
    ) -> HTTPHeaders {
        // A bundle that would unpack to more than its limit must not come packed.
        var headers: HTTPHeaders = [
            "accept": mediaType, "accept-encoding": "identity",
            "user-agent": self.configuration.userAgent,
        ]
        if let entityTag { headers.add(name: "if-none-match", value: entityTag) }
        if patience != nil {
            let seconds = Self.bounded(patience).components.seconds
            headers.add(name: "prefer", value: "wait=\(seconds)")
            if seconds > 0, let trustDomain = self.configuration.announcedTrustDomain {
                headers.add(name: "cygnet-trust-domain", value: trustDomain.name)
            }
        }
        return headers
    }

    /// At most an hour, which is more than servers wait.
    private static func bounded(_ patience: Duration?) -> Duration {
        min(max(patience ?? .zero, .zero), .seconds(3600))
    }

    private func get(
        _ endpoint: BundleEndpoint, _ url: BundleEndpointURL, _ headers: HTTPHeaders,
        _ server: SingleHTTPSRequest.Server, _ limits: SPIFFEHTTPClient.Limits
    ) async throws(BundleEndpointError) -> SingleHTTPSRequest.Response {
        do {
            return try await SingleHTTPSRequest(get: url.parts, headers: headers)
                .send(to: server, limits: limits, group: self.group)
        } catch is CancellationError {
            throw BundleEndpointError(.cancelled, endpoint, at: url, "the fetch was cancelled")
        } catch let error as SPIFFEHTTPError {
            let code: BundleEndpointError.Code =
                switch error.code {
                case .refusedServer: .refusedServer
                case .timedOut: .timedOut
                case .responseTooLarge: .tooLarge
                default: .unreachable
                }
            throw BundleEndpointError(
                code, endpoint, at: url, error.message, cause: error.cause ?? error)
        } catch {
            throw BundleEndpointError(.unreachable, endpoint, at: url, "\(error)", cause: error)
        }
    }

    // MARK: Response

    private func next(
        _ endpoint: BundleEndpoint, _ url: BundleEndpointURL,
        _ response: SingleHTTPSRequest.Response, _ redirections: Int
    ) throws(BundleEndpointError) -> BundleEndpointURL {
        let locations = response.headers["location"]
        guard let location = locations.first, locations.count == 1 else {
            throw BundleEndpointError(
                .redirect, endpoint, at: url,
                "status \(response.status.code) came with \(locations.count) locations; expected one"
            )
        }
        guard redirections <= self.configuration.maximumRedirects else {
            throw BundleEndpointError(
                .redirect, endpoint, at: url,
                "it redirects to \(BundleEndpointError.quoted(location)); followed are at most "
                    + "\(max(0, self.configuration.maximumRedirects)) redirections")
        }
        do {
            return try url.redirected(to: location)
        } catch {
            throw BundleEndpointError(
                .redirect, endpoint, at: url,
                "it redirects to what is no bundle endpoint: \(error.message)", cause: error)
        }
    }

    private static func bundle(
        _ endpoint: BundleEndpoint, _ url: BundleEndpointURL,
        _ response: SingleHTTPSRequest.Response, isPatient: Bool
    ) throws(BundleEndpointError) -> BundleEndpointResponse {
        let headers = ResponseHeaders(response.headers)
        if let coding = headers.unwantedCoding {
            throw BundleEndpointError(
                .encoding, endpoint, at: url,
                "the body has the coding \(BundleEndpointError.quoted(coding)), which was not asked "
                    + "for; expected a plain body")
        }
        guard !response.body.isEmpty else {
            throw BundleEndpointError(
                .bundle, endpoint, at: url, "the body is empty; expected a JWK Set")
        }
        guard String(validating: response.body, as: UTF8.self) != nil else {
            throw BundleEndpointError(.bundle, endpoint, at: url, "the body is no UTF-8")
        }
        var warnings: [String] = []
        let bundle: SPIFFEBundle
        do throws(BundleError) {
            bundle = try SPIFFEBundle(
                trustDomain: endpoint.trustDomain, json: response.body,
                onIgnoredKey: { warning in
                    if warnings.count < BundleEndpointResponse.maximumWarnings {
                        warnings.append(warning)
                    }
                })
        } catch {
            throw BundleEndpointError(.bundle, endpoint, at: url, error.message, cause: error)
        }
        return BundleEndpointResponse(
            content: .bundle(bundle), entityTag: headers.entityTag, maxAge: headers.maxAge,
            appliedWait: isPatient ? headers.appliedWait : nil, url: url, warnings: warnings)
    }
}
