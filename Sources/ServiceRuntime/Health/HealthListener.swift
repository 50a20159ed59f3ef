package import Logging

/// Answers liveness and readiness checks over plain HTTP: 200 when all is well, 500 when not.
///
/// One request a connection, nothing that is secret in the answer. For orchestrators that cannot call
/// `grpc.health.v1`.
package struct HealthListener: Sendable {
    /// What the checks ask; called on an event loop, so it must not wait.
    package struct Checks: Sendable {
        let isLive: @Sendable () -> Bool
        let isReady: @Sendable () -> Bool

        package init(
            isLive: @escaping @Sendable () -> Bool, isReady: @escaping @Sendable () -> Bool
        ) {
            self.isLive = isLive
            self.isReady = isReady
        }
    }

    private let configuration: HealthCheckConfiguration
    private let checks: Checks
    private let logger: Logger

    package init(_ configuration: HealthCheckConfiguration, checks: Checks, logger: Logger) {
        self.configuration = configuration
        self.checks = checks
        self.logger = logger
    }

    /// Serves until the task is cancelled; when the listener is not enabled, only waits for that.
    ///
    /// - Parameter onBound: Called with the TCP port once it is bound.
    /// - Throws: ``CommandError`` when the address cannot be bound.
    package func run(onBound: @Sendable (Int) -> Void = { _ in }) async throws {
        guard self.configuration.listenerEnabled else {
            return try await Task.sleep(for: .seconds(Int64(Int32.max)))
        }
        var limits = DocumentLimits()
        limits.keepsConnections = false
        let (configuration, checks) = (self.configuration, self.checks)
        try await DocumentListener(
            purpose: "health checks",
            place: .tcp(host: configuration.bindAddress, port: configuration.bindPort),
            limits: limits, logger: self.logger
        ) { request in
            switch request.path {
            case configuration.livePath: checks.isLive() ? Self.good : Self.bad
            case configuration.readyPath: checks.isReady() ? Self.good : Self.bad
            default: nil
            }
        }.run(onBound: onBound)
    }

    private static let good = Self.response(200, "ok")
    private static let bad = Self.response(500, "not ok")

    private static func response(_ status: Int, _ text: String) -> DocumentResponse {
        DocumentResponse(
            status: status, contentType: "application/json",
            body: Array("{\"status\":\"\(text)\"}\n".utf8), cacheControl: "no-store")
    }
}
