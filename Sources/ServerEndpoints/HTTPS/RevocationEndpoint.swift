package import Logging
package import ServiceRuntime

/// The lists of what was taken back, over HTTP without TLS: each is signed, and whoever needs a CRL to check the
/// certificate of an HTTPS server cannot fetch it from there.
package struct RevocationEndpoint: Sendable {
    private let listener: DocumentListener

    /// - Parameters:
    ///   - routes: Finds the lists.
    ///   - place: Where to listen.
    ///   - limits: What clients may take up.
    package init(
        _ routes: RevocationRoutes, place: DocumentListener.Place,
        limits: DocumentLimits = DocumentLimits(), logger: Logger
    ) {
        self.listener = DocumentListener(
            purpose: "revocation lists", place: place, limits: limits, logger: logger
        ) { routes.response(to: $0) }
    }

    /// Serves until the task is cancelled.
    ///
    /// - Parameter onBound: Told the port once it is bound.
    /// - Throws: ``CommandError`` when the address cannot be bound.
    package func run(onBound: @Sendable (Int) -> Void = { _ in }) async throws {
        try await self.listener.run(onBound: onBound)
    }
}
