import ControlPlaneProto
import Foundation
import Logging
import SPIFFE
import SPIFFEWorkloadAPI
import ServerCore
import ServerEndpoints
import ServiceRuntime

/// OpenID Connect discovery as a program of its own, as SPIRE's `oidc-discovery-provider`: it takes the keys from a
/// server's local API or from an agent, and serves them.
struct DiscoveryProvider: Sendable {
    private let configuration: DiscoveryProviderConfiguration
    private let certificate: ServingCertificateFiles?
    private let keys: FetchedKeys
    private let logger: Logger

    /// - Throws: ``ServerError`` when a certificate or its key cannot be used.
    init(_ configuration: DiscoveryProviderConfiguration, logger: Logger) throws(ServerError) {
        self.configuration = configuration
        self.certificate = try configuration.discovery.certificate(logger: logger)
        self.keys = FetchedKeys(
            patience: FetchedKeys.patience(interval: configuration.source.interval))
        self.logger = logger
    }

    /// Serves until the task is cancelled.
    ///
    /// - Throws: ``CommandError`` when an address cannot be bound, ``WorkloadAPIError`` when an agent gives an answer
    ///   for which waiting does not help.
    func run() async throws {
        let (configuration, keys) = (self.configuration, self.keys)
        let endpoint = DiscoveryEndpoint(
            configuration.discovery.site, keys: keys, place: configuration.discovery.place,
            certificate: self.certificate, logsRequests: configuration.logsRequests,
            logger: self.logger)
        let health = HealthListener(
            configuration.healthChecks,
            checks: .init(isLive: { keys.isLive() }, isReady: { keys.isReady() }),
            logger: self.logger)
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await self.follow() }
            group.addTask { try await endpoint.run() }
            group.addTask { try await health.run() }
            if let certificate = self.certificate {
                group.addTask { try await certificate.run() }
            }
            defer { group.cancelAll() }
            // None of them ends by itself, except with an error or when all are cancelled.
            try await group.next()
        }
    }

    private func follow() async throws {
        switch self.configuration.source {
        case .serverAPI(let path, let interval):
            try await self.poll(path, every: interval)
        case .workloadAPI(let address, let trustDomain, _):
            try await self.watch(address, trustDomain)
        }
    }

    // MARK: Sources

    private func poll(_ path: String, every interval: Duration) async throws {
        while true {
            do {
                let bundle = try await ServerConnection.with(socketPath: path) { server in
                    try await server.bundles.getBundle(
                        Spire_Api_Server_Bundle_V1_GetBundleRequest(),
                        options: ServerConnection.options)
                }
                self.take(try Self.keys(of: bundle))
            } catch {
                if Task.isCancelled { return }
                self.fail(error)
            }
            try await Task.sleep(for: interval)
        }
    }

    private func watch(_ address: WorkloadAPIAddress, _ trustDomain: TrustDomain) async throws {
        let onUpdate: @Sendable (JWTBundleSet) -> Void = { bundles in
            guard let bundle = bundles.jwtBundle(for: trustDomain) else {
                return self.fail(
                    CommandError(
                        "the Workload API has no JWT bundle of \(trustDomain.name); is trust_domain right?"
                    ))
            }
            self.take(bundle)
        }
        try await WorkloadAPIClient.with(address: address) { client in
            try await client.watchJWTBundles(onUpdate: onUpdate, onError: { self.fail($0) })
        }
    }

    /// The JWT authorities of a server's answer.
    ///
    /// - Throws: When the trust domain's name is none, or an authority is no public key.
    static func keys(of bundle: Spire_Api_Types_Bundle) throws -> JWTBundle {
        var authorities: [String: JWTVerificationKey] = [:]
        for authority in bundle.jwtAuthorities {
            authorities[authority.keyID] = try JWTVerificationKey(
                publicKeyDER: [UInt8](authority.publicKey))
        }
        return JWTBundle(
            trustDomain: try TrustDomain(bundle.trustDomain), authorities: authorities)
    }

    private func take(_ bundle: JWTBundle) {
        guard self.keys.update(bundle) else { return }
        self.logger.info(
            "keys have changed", metadata: [LogKeys.count: "\(bundle.authorities.count)"])
    }

    private func fail(_ error: any Error) {
        let level: Logger.Level = self.keys.failed() ? .error : .debug
        self.logger.log(
            level: level, "cannot fetch keys", metadata: [LogKeys.error: "\(error)"])
    }
}

extension DiscoveryProvider {
    /// How long connections may go on after a signal to stop.
    private static let drainTime = Duration.seconds(5)

    /// Runs as a daemon: log, signals, and a bounded end.
    static func runDaemon(_ configuration: DiscoveryProviderConfiguration) async throws {
        umask(0o027)
        OpenFileLimit.raise()
        let log = try LogSystem(configuration.log)
        let logger = log.logger()
        for note in configuration.notes { logger.warning("\(note)") }
        let provider = try DiscoveryProvider(configuration, logger: logger)
        // Both end with this function: the one is awaited, the other cancelled.
        let running = Task { try await provider.run() }
        var socketPath = ""
        if case .unixSocket(let path) = configuration.discovery.listener { socketPath = path }
        let signals = Task { [socketPath] in
            await DaemonSignals.handle(
                log: log, logger: logger, drainTime: Self.drainTime, socketPath: socketPath,
                stop: { running.cancel() })
        }
        defer { signals.cancel() }
        do {
            try await running.value
        } catch is CancellationError {
            // Somebody stopped it.
        }
        logger.info("provider stopped")
    }
}
