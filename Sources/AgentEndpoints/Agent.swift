package import AgentCore
import ControlPlaneProto
import Foundation
import GRPCCore
package import Logging
import NIOConcurrencyHelpers
package import PluginAPI
import SPIFFE
import SPIFFEGRPC
import ServiceRuntime

/// A whole agent: its identity, its session with the server, the Workload API on a Unix socket, and the Broker
/// Endpoint where one is set up.
///
/// The socket opens at once. Until the server has told the agent its entries, workloads hear
/// UNAVAILABLE; from then on they are served what is held, whatever becomes of the server.
package final class Agent: Sendable {
    /// What the agent knows and serves; for the debug and admin services.
    package let identities: WorkloadIdentities
    private let lifecycle: AgentLifecycle
    private let api: WorkloadAPI
    private let broker: BrokerEndpoint?
    private let settings: AgentSettings
    private let logger: Logger
    private let events: (any AgentEvents)?
    /// The lifecycle, for the identities to report bundles and revocations to; emptied at the end, because each
    /// holds the other.
    private let bundleListener: NIOLockedValueBox<AgentLifecycle?>

    /// - Parameters:
    ///   - keyManager: Keeps the agent's own key.
    ///   - attestors: At least one, or every workload is refused.
    ///   - events: Hears of what a person who watches the agent wants to know.
    package init(
        configuration: AgentSettings, keyManager: any KeyManager, attestors: [any WorkloadAttestor],
        logger: Logger, events: (any AgentEvents)? = nil
    ) {
        self.settings = configuration
        self.logger = logger
        self.events = events
        var settings = WorkloadIdentities.Settings()
        settings.cache.maximumX509SVIDs = configuration.maximumX509SVIDs
        settings.cache.signsAhead = configuration.signsAhead
        settings.cache.allowsUnauthenticatedVerifiers = configuration.allowsUnauthenticatedVerifiers
        settings.cache.rotation = RotationPolicy(
            availabilityTarget: configuration.availabilityTarget)
        settings.maximumJWTSVIDs = configuration.maximumJWTSVIDs
        settings.keyType = configuration.workloadKeyType
        let bundleListener = NIOLockedValueBox<AgentLifecycle?>(nil)
        let observers = RevocationObservers()
        self.bundleListener = bundleListener
        self.identities = WorkloadIdentities(
            trustDomain: configuration.trustDomain, settings: settings, logger: logger,
            events: events,
            servedStore: ServedProcessFile(directory: configuration.dataDirectory),
            onOwnBundle: { bundle in bundleListener.withLockedValue { $0 }?.bundleChanged(bundle) },
            onOwnRevocations: {
                bundleListener.withLockedValue { $0 }?.revocationsChanged()
                observers.notify()
            })
        let bootstrap: ServerTrust
        switch configuration.bootstrap {
        case .authorities(let authorities): bootstrap = .authorities { authorities }
        case .insecure: bootstrap = .insecureNameOnly
        }
        var lifecycleSettings = AgentLifecycle.Settings(
            trustDomain: configuration.trustDomain, bootstrap: bootstrap,
            joinToken: configuration.joinToken)
        lifecycleSettings.rotation = settings.cache.rotation
        self.lifecycle = AgentLifecycle(
            settings: lifecycleSettings,
            server: GRPCServerConnection(
                settings: GRPCServerConnection.Settings(
                    trustDomain: configuration.trustDomain, host: configuration.serverAddress,
                    port: configuration.serverPort, agentVersion: configuration.agentVersion,
                    syncInterval: configuration.syncInterval),
                logger: logger),
            keyManager: keyManager, store: AgentDataFile(directory: configuration.dataDirectory),
            identities: self.identities, logger: logger, events: events)
        self.api = WorkloadAPI(
            settings: WorkloadAPI.Settings(
                trustDomain: configuration.trustDomain,
                allowedForeignJWTClaims: configuration.allowedForeignJWTClaims,
                offersWITSVIDs: configuration.offersWITSVIDs),
            identities: self.identities,
            attestation: WorkloadAttestation(attestors: attestors, logger: logger),
            logger: logger, events: events)
        if let broker = configuration.broker {
            let own = AgentTLS(self.lifecycle, self.identities, observers)
            self.broker = BrokerEndpoint(
                settings: broker, api: self.api, svid: own, bundles: own, logger: logger)
        } else {
            self.broker = nil
        }
        bundleListener.withLockedValue { [lifecycle] in $0 = lifecycle }
    }

    /// The agent's own SVID chain in DER, leaf first; empty while it has none.
    package var ownChain: [[UInt8]] { self.lifecycle.chain }

    /// Runs until the task is cancelled; open streams then end with UNAVAILABLE.
    ///
    /// - Throws: ``AgentError`` when the agent cannot start: no way to attest, unreadable state, a
    ///   socket that cannot be bound. Never for what happens to its identity later.
    package func run() async throws {
        self.identities.restoreServed { RestoredProcess(pid: $0) }
        try await withThrowingTaskGroup(of: Void.self) { group in
            if self.settings.servesWorkloadAPI { group.addTask { try await self.serve() } }
            if let broker = self.broker { group.addTask { try await broker.run() } }
            group.addTask { try await self.lifecycle.run() }
            defer {
                self.identities.stop()
                self.bundleListener.withLockedValue { $0 = nil }
                group.cancelAll()
            }
            // None ends by itself but for an error or because we are to stop.
            try await group.next()
        }
    }

    private func serve() async throws {
        try UnixSocketPath(self.settings.socketPath).prepare(directoryMode: 0o755)
        let transport = SPIFFEServerTransport(
            listener: .unixSocket(path: self.settings.socketPath, mode: 0o777),
            settings: SPIFFEServerTransport.Settings(
                maxConcurrentStreams: 1_000, maxRequestBytes: 64 * 1024,
                maxBufferedBytes: 256 * 1024, streamWindow: 64 * 1024,
                maxConnectionsPerUser: 8_192, maxCalls: 65_536, maxCallsPerUser: 16_384,
                maxHeldBytes: 256 * 1024 * 1024, maxHeldBytesPerUser: 64 * 1024 * 1024),
            services: [
                WorkloadAPIService(self.api), WorkloadRevocationsService(self.api),
                PartnerLimitsService(self.api), CustodyService(self.api),
            ])
        let reflection = ReflectionService(PublicSocketDescriptors.base64)
        let server = GRPCServer(
            transport: transport,
            services: [
                AgentHealthService(identities: self.identities),
                ReflectionV1(service: reflection), ReflectionV1Alpha(service: reflection),
            ])
        self.logger.info(
            "serving the Workload API", metadata: [LogKeys.path: "\(self.settings.socketPath)"])
        defer { unlink(self.settings.socketPath) }
        try await Farewell.serve(server) { [identities] in identities.stop() }
    }
}
