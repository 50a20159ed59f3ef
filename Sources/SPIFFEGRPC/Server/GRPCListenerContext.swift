import HTTP2

/// What all connections of a listener share.
final class GRPCListenerContext: Sendable {
    let http2: HTTP2ServerConnection.Configuration
    let settings: SPIFFEServerTransport.Settings
    let services: [String: any EventLoopService]
    /// Takes the calls of all other services.
    let router: RoutedCall.Router
    let connections: ConnectionSet
    let budget: CallBudget

    init(
        settings: SPIFFEServerTransport.Settings, services: [any EventLoopService],
        router: @escaping RoutedCall.Router, connections: ConnectionSet
    ) {
        var limits = HTTP2Limits()
        limits.maxConcurrentStreams = settings.maxConcurrentStreams
        limits.streamWindow = settings.streamWindow
        self.http2 = HTTP2ServerConnection.Configuration(limits: limits)
        self.settings = settings
        self.services = Dictionary(services.map { ($0.name, $0) }) { first, _ in first }
        self.router = router
        self.connections = connections
        self.budget = CallBudget(
            CallBudget.Limits(
                calls: settings.maxCalls, callsPerUser: settings.maxCallsPerUser,
                heldBytes: settings.maxHeldBytes, heldBytesPerUser: settings.maxHeldBytesPerUser))
    }
}
