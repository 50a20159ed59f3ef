import ControlPlaneProto
import Foundation
import GRPCCore
package import Logging
import SPIFFEGRPC
package import SPIFFETLS
package import ServerCore
import ServiceRuntime

/// What the endpoints need to serve the control plane.
package struct ControlPlane: Sendable {
    package let directory: Directory
    package let entries: EntryRegistry
    package let nodes: NodeRegistry
    package let issuer: Issuer
    package let bundles: BundleRegistry
    package let federation: FederationRegistry
    package let updater: FederationUpdater
    package let authorities: AuthorityManager
    package let revocations: RevocationRegistry
    package let policy: CallerPolicy
    package let recorder: any EventRecorder
    package let changes: ChangeRecorder
    /// Where partners find the server's own bundle; nil when it is served nowhere.
    package var bundleEndpoint: OwnBundleEndpoint?
    /// Keeps partners' lists of what they have taken back; nil when nobody does.
    package var partnerRevocations: PartnerRevocationsUpdater?

    package init(
        directory: Directory, entries: EntryRegistry, nodes: NodeRegistry, issuer: Issuer,
        bundles: BundleRegistry, federation: FederationRegistry, updater: FederationUpdater,
        authorities: AuthorityManager, revocations: RevocationRegistry, policy: CallerPolicy,
        recorder: any EventRecorder, changes: ChangeRecorder
    ) {
        self.directory = directory
        self.entries = entries
        self.nodes = nodes
        self.issuer = issuer
        self.bundles = bundles
        self.federation = federation
        self.updater = updater
        self.authorities = authorities
        self.revocations = revocations
        self.policy = policy
        self.recorder = recorder
        self.changes = changes
    }
}

/// The server's two gRPC endpoints: mTLS on TCP for agents and admins, the admin Unix socket for the operator.
package final class ServerEndpoint: Sendable {
    package struct Settings: Sendable {
        package var host: String
        package var port: Int
        package var socketPath: String
        package var limitsAttestation: Bool
        package var limitsSigning: Bool
        package var logsAccess: Bool
        /// Connections that one client address (of IPv6 its network of 64 bits) may have open. An agent needs two
        /// or three; many agents may share one address behind a translator.
        package var maxConnectionsPerAddress: Int

        package init(
            host: String, port: Int, socketPath: String, limitsAttestation: Bool = true,
            limitsSigning: Bool = true, logsAccess: Bool = false,
            maxConnectionsPerAddress: Int = 8_192
        ) {
            self.host = host
            self.port = port
            self.socketPath = socketPath
            self.limitsAttestation = limitsAttestation
            self.limitsSigning = limitsSigning
            self.logsAccess = logsAccess
            self.maxConnectionsPerAddress = maxConnectionsPerAddress
        }
    }

    /// Calls that issue or check one thing: a fraction of a millisecond, most of it a signature. They stay on
    /// their event loop, which costs less than waking a thread for each.
    private static let shortMethods: Set<String> = [
        "/spire.api.server.svid.v1.SVID/NewJWTSVID",
        "/spire.api.server.agent.v1.Agent/AttestAgent",
        "/spire.api.server.agent.v1.Agent/RenewAgent",
        "/spire.api.server.agent.v1.Agent/CreateJoinToken",
        "/spire.api.server.bundle.v1.Bundle/GetBundle",
        "/grpc.health.v1.Health/Check",
    ]

    private let host: String
    private let port: Int
    private let socketPath: String
    private let tcp: GRPCServer<SPIFFEServerTransport>
    private let local: GRPCServer<SPIFFEServerTransport>

    /// - Parameter tls: for agents, which attest without a certificate, and for admins.
    package init(
        _ plane: ControlPlane, settings: Settings, logger: Logger, tls: MTLSServerConfiguration
    ) {
        self.host = settings.host
        self.port = settings.port
        self.socketPath = settings.socketPath
        let limits = RateLimits(
            attestation: settings.limitsAttestation, signing: settings.limitsSigning)
        let bundles = DirectoryBundleSource(directory: plane.directory)
        let gate = CallGate(
            policy: plane.policy, bundles: bundles, limits: limits, logger: logger,
            logsAccess: settings.logsAccess, issuer: plane.issuer,
            log: OperatorLog(recorder: plane.recorder, changes: plane.changes))
        let interceptor = AuthorizationInterceptor(gate)
        let svids = SVIDService(issuer: plane.issuer, directory: plane.directory, limits: limits)
        let direct = [MintService(service: svids, gate: gate)]
        var shared: [any RegistrableRPCService] = [
            AgentService(nodes: plane.nodes, trustDomain: plane.directory.trustDomain),
            BundleService(directory: plane.directory, registry: plane.bundles),
            EntryService(registry: plane.entries, directory: plane.directory),
            TrustDomainService(
                registry: plane.federation, updater: plane.updater, directory: plane.directory,
                partnerRevocations: plane.partnerRevocations),
            FederationService(
                registry: plane.federation, updater: plane.updater, directory: plane.directory,
                bundleEndpoint: plane.bundleEndpoint, partnerRevocations: plane.partnerRevocations),
            LocalAuthorityService(authorities: plane.authorities),
            RevocationService(registry: plane.revocations),
            svids,
        ]
        if let ledger = plane.recorder as? any LedgerStatus {
            shared.append(LedgerService(ledger: ledger))
        }
        let sync = SyncService(
            directory: plane.directory, nodes: plane.nodes, issuer: plane.issuer, limits: limits,
            bundles: bundles,
            custody: CustodyRegistry(
                directory: plane.directory, bundles: bundles, recorder: plane.recorder,
                revocation: { [revocations = plane.revocations] in
                    revocations.revocation(ofSerial: $0)
                }), revocations: plane.revocations, logger: logger)
        // Connections of operators end now and then, so that they are verified anew; an agent's stream ends with
        // the SVID that opened it, and its calls find GOAWAY and reconnect.
        self.tcp = GRPCServer(
            transport: SPIFFEServerTransport(
                listener: .tls(
                    host: settings.host, port: settings.port,
                    makeHandler: { try tls.makeHandler(for: $0, onVerified: $1) }),
                settings: .init(
                    maxConnectionAge: .seconds(180), maxGraceTime: .seconds(86_400 * 7),
                    maxConnectionsPerAddress: settings.maxConnectionsPerAddress,
                    eventLoopMethods: Self.shortMethods),
                services: direct),
            services: shared + [sync], interceptors: [interceptor])
        self.local = GRPCServer(
            transport: SPIFFEServerTransport(
                listener: .unixSocket(path: settings.socketPath, mode: 0o770),
                settings: .init(
                    maxRequestBytes: 64 * 1024 * 1024, eventLoopMethods: Self.shortMethods),
                services: direct),
            services: shared + [
                HealthService(directory: plane.directory, recorder: plane.recorder)
            ],
            interceptors: [interceptor])
    }

    /// The TCP port that is served; waits until it is bound. Nil after closing.
    package var boundPort: Int? { get async { await self.tcp.transport.boundPort } }

    /// Serves until ``shutDown()``.
    package func run() async throws {
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await Self.serve(self.tcp, at: "\(self.host):\(self.port)") }
            group.addTask { try await Self.serve(self.local, at: self.socketPath) }
            defer { self.shutDown() }
            try await group.next()
            self.shutDown()
            try await group.waitForAll()
        }
    }

    /// - Throws: ``ServerError`` naming the place when it cannot be bound.
    private static func serve(
        _ server: GRPCServer<SPIFFEServerTransport>, at place: String
    ) async throws {
        do {
            try await server.serve()
        } catch let error as RuntimeError {
            throw ServerError(
                .unavailable,
                "cannot serve on \(place): \(error.cause.map { "\($0)" } ?? error.message)")
        }
    }

    /// Stops accepting; calls that are open may finish.
    package func shutDown() {
        self.tcp.beginGracefulShutdown()
        self.local.beginGracefulShutdown()
    }
}
