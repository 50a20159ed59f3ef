package import Logging
import SPIFFE
package import ServerCore
package import ServiceRuntime

/// The SPIFFE bundle endpoint: the server's own bundle at `/`, for anybody, over HTTPS (SPIFFE Federation §5). Beside it,
/// the lists of what was taken back, and a listing of them.
///
/// Who has the bundle or the listing may wait for the next one (`Prefer: wait`, RFC 7240 §4.3).
package struct BundleEndpoint: Sendable {
    private let listener: DocumentListener

    /// - Parameters:
    ///   - directory: Has the bundle.
    ///   - revocations: The lists that are served beside it; nil serves none.
    ///   - listing: The listing that is served beside it; nil serves none.
    ///   - refreshHint: How often partners shall look, for the document.
    ///   - place: Where to listen.
    ///   - limits: What clients may take up.
    ///   - certificate: What the endpoint shows: of profile `https_spiffe` or `https_web`.
    ///   - holders: Is told which partners wait, and with which bundle.
    package init(
        _ directory: Directory, revocations: RevocationRoutes? = nil,
        listing: RevocationListingRoute? = nil, refreshHint: Duration,
        place: DocumentListener.Place, limits: DocumentLimits = BundleEndpoint.limits,
        certificate: any ServingCertificate, holders: PartnerHolders? = nil, logger: Logger
    ) {
        let published = PublishedBundle(directory, refreshHint: refreshHint, logger: logger)
        let waits = DocumentWaits()
        let trustDomain = directory.trustDomain
        directory.onBundleChange { bundle in
            if bundle.trustDomain == trustDomain { waits.changed() }
        }
        listing?.onChange { waits.changed() }
        self.listener = DocumentListener(
            purpose: "the bundle endpoint", place: place, limits: limits,
            makeTLSHandler: { try certificate.makeHandler() }, logger: logger,
            waits: waits
        ) { request in
            guard request.path == "/" else {
                return listing?.response(to: request) ?? revocations?.response(to: request)
            }
            let (response, sequenceNumber) = published.current
            if let holders {
                Self.note(request, response, sequenceNumber, in: holders)
            }
            return response
        }
    }

    /// A partner may wait for the bundle and for the listing. Twice as many connections as may wait, so that those who wait
    /// keep nobody out.
    package static let limits: DocumentLimits = {
        var limits = DocumentLimits()
        limits.maximumWaiting = 2_048
        limits.maximumWaitingPerAddress = 128
        limits.maximumConnections = 2 * limits.maximumWaiting
        return limits
    }()

    /// Notes a partner that waits for the next bundle.
    private static func note(
        _ request: DocumentRequest, _ response: DocumentResponse, _ sequenceNumber: UInt64?,
        in holders: PartnerHolders
    ) {
        guard let wait = request.preferredWait, wait > 0, let name = request.announcedTrustDomain,
            let address = request.client, let trustDomain = try? TrustDomain(name)
        else { return }
        let isHeld = response.entityTag.map(request.names) ?? false
        holders.note(
            trustDomain, at: address, holds: isHeld ? sequenceNumber : nil,
            patience: min(.seconds(Int64(wait)), Self.limits.maximumWait))
    }

    /// Serves until the task is cancelled.
    ///
    /// - Parameter onBound: Told the port once it is bound.
    /// - Throws: ``CommandError`` when the address cannot be bound.
    package func run(onBound: @Sendable (Int) -> Void = { _ in }) async throws {
        try await self.listener.run(onBound: onBound)
    }
}
