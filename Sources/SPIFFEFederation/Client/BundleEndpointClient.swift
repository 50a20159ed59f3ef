public import NIOCore
public import NIOPosix
public import SPIFFE

/// Fetches bundles from bundle endpoints, in both profiles of SPIFFE Federation §5.2.
///
/// Each fetch begins at the configured URL on a new connection, so that the newest bundle decides who the endpoint may
/// be, and redirections are never remembered. The rules of the profile hold for each server on the way. No profile
/// falls back to the other, and no client certificate is ever presented.
public final class BundleEndpointClient: Sendable {
    private let configuration: BundleEndpointClientConfiguration
    private let group: any EventLoopGroup

    /// - Parameters:
    ///   - configuration: Limits, waits and trust roots.
    ///   - eventLoopGroup: Where connections live; of the Posix kind.
    public init(
        configuration: BundleEndpointClientConfiguration = .init(),
        eventLoopGroup: any EventLoopGroup = MultiThreadedEventLoopGroup.singleton
    ) {
        self.configuration = configuration
        self.group = eventLoopGroup
    }

    /// Fetches the newest bundle.
    ///
    /// - Parameters:
    ///   - endpoint: Where, and how it is recognised.
    ///   - bundles: Has the newest bundle of the trust domain that an `https_spiffe` endpoint's ID is in; asked at
    ///     each handshake. Not asked for `https_web`.
    ///   - entityTag: That of the bundle at hand; an endpoint that has no other answers `notModified`.
    ///   - patience: How long the endpoint may hold the answer back until its bundle is another one
    ///     (`Prefer: wait`, RFC 7240 §4.3); endpoints that know nothing of it answer at once. Added to the time that a
    ///     response may take.
    /// - Throws: ``BundleEndpointError``. Of bundles that cannot be read nothing is handed out.
    public func fetch(
        _ endpoint: BundleEndpoint, authenticatingWith bundles: any X509BundleSource,
        entityTag: String? = nil, waitingUpTo patience: Duration? = nil
    ) async throws(BundleEndpointError) -> BundleEndpointResponse {
        throw BundleEndpointError(.unreachable, endpoint, "fetching comes with the next commit")
    }
}
