package import Logging
package import ServerCore
package import ServiceRuntime

/// The SPIFFE bundle endpoint: the server's own bundle at `/`, for anybody, over HTTPS (SPIFFE Federation §5). Beside it,
/// the lists of what was taken back.
package struct BundleEndpoint: Sendable {
    private let listener: DocumentListener

    /// - Parameters:
    ///   - directory: Has the bundle.
    ///   - revocations: The lists that are served beside it; nil serves none.
    ///   - refreshHint: How often partners shall look, for the document.
    ///   - place: Where to listen.
    ///   - limits: What clients may take up.
    ///   - certificate: What the endpoint shows: of profile `https_spiffe` or `https_web`.
    package init(
        _ directory: Directory, revocations: RevocationRoutes? = nil, refreshHint: Duration,
        place: DocumentListener.Place,
        limits: DocumentLimits = DocumentLimits(), certificate: any ServingCertificate,
        logger: Logger
    ) {
        let published = PublishedBundle(directory, refreshHint: refreshHint, logger: logger)
        self.listener = DocumentListener(
            purpose: "the bundle endpoint", place: place, limits: limits,
            makeTLSHandler: { try certificate.makeHandler() }, logger: logger
        ) { request in
            request.path == "/" ? published.response : revocations?.response(to: request)
        }
    }

    /// Serves until the task is cancelled.
    ///
    /// - Parameter onBound: Told the port once it is bound.
    /// - Throws: ``CommandError`` when the address cannot be bound.
    package func run(onBound: @Sendable (Int) -> Void = { _ in }) async throws {
        try await self.listener.run(onBound: onBound)
    }
}
