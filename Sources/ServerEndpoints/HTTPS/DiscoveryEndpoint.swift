package import Logging
import NIOCore
package import ServerCore
package import ServiceRuntime

/// OpenID Connect discovery for the issuer of JWT-SVIDs, over HTTPS or, behind a proxy, without TLS.
package struct DiscoveryEndpoint: Sendable {
    private let listener: DocumentListener

    /// - Parameters:
    ///   - site: The names and addresses.
    ///   - source: The keys.
    ///   - place: Where to listen.
    ///   - limits: What clients may take up.
    ///   - certificate: What the endpoint shows; nil serves without TLS.
    ///   - logsRequests: Whether each request is a line of the log, at level debug.
    package init(
        _ site: DiscoverySite, keys source: any DiscoveryKeySource, place: DocumentListener.Place,
        limits: DocumentLimits = DocumentLimits(), certificate: (any ServingCertificate)?,
        logsRequests: Bool = false, logger: Logger
    ) {
        let routes = DiscoveryRoutes(site, keys: source, isEncrypted: certificate != nil)
        var makeTLSHandler: (@Sendable () throws -> any ChannelHandler)?
        if let certificate { makeTLSHandler = { try certificate.makeHandler() } }
        self.listener = DocumentListener(
            purpose: "OpenID Connect discovery", place: place, limits: limits,
            makeTLSHandler: makeTLSHandler, logger: logger
        ) { request in
            let response = routes.response(to: request)
            if logsRequests {
                logger.debug(
                    "request",
                    metadata: [
                        "path": "\(quoted(request.path))", "host": "\(quoted(request.host ?? ""))",
                        "status": "\(response?.status ?? 404)",
                    ])
            }
            return response
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
