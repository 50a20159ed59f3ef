import Foundation
package import Logging
import NIOConcurrencyHelpers
import PluginAPI
import Plugins
import SPIFFE
import SPIFFEFederation
import SPIFFETLS
import ServerCore
import ServerEndpoints
import ServerStore
import ServiceRuntime
import SwiftASN1

/// A running server: opens the store and the ledger, resumes the authorities, serves, and does the upkeep.
package final class ServerProcess: Sendable {
    /// Something that people watch (`cygnet up`).
    package enum Event: Sendable {
        /// The server accepts calls; the TCP port it is bound to.
        case serving(port: Int)
    }

    private let configuration: ServerConfiguration
    private let logger: Logger
    private let onEvent: @Sendable (Event) -> Void
    private let endpoint = NIOLockedValueBox<ServerEndpoint?>(nil)
    private let plane = NIOLockedValueBox<ControlPlane?>(nil)

    package init(
        _ configuration: ServerConfiguration, logger: Logger,
        onEvent: @escaping @Sendable (Event) -> Void = { _ in }
    ) {
        self.configuration = configuration
        self.logger = logger
        self.onEvent = onEvent
    }

    /// Runs until ``shutDown()``, a failure, or cancellation.
    ///
    /// - Throws: ``ServerError``, ``FileError`` or ``KeyManagerError`` with what is wrong and what to do.
    package func run() async throws {
        let parts = try await self.assemble()
        self.endpoint.withLockedValue { $0 = parts.endpoint }
        self.plane.withLockedValue { $0 = parts.plane }
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await parts.endpoint.run() }
            group.addTask { try await parts.authorities.run() }
            group.addTask { try await parts.identity.run() }
            group.addTask { try await parts.plane.changes.run() }
            group.addTask { try await parts.upkeep.run() }
            group.addTask { try await parts.publishing.run() }
            group.addTask { try await parts.plane.updater.run() }
            if let partners = parts.plane.partnerRevocations {
                group.addTask { try await partners.run() }
            }
            group.addTask { try await parts.revocations.run() }
            group.addTask { try await parts.https.run() }
            group.addTask { try await parts.lists.run() }
            if let witnessing = parts.witnessing {
                group.addTask { await witnessing.run() }
            }
            group.addTask {
                let isLive: @Sendable () -> Bool = { parts.plane.directory.ownBundle != nil }
                // Starting anew would not help a full disk; that nothing is issued must be seen.
                let isReady: @Sendable () -> Bool = {
                    isLive() && parts.plane.recorder.health == nil
                }
                try await HealthListener(
                    self.configuration.healthChecks,
                    checks: .init(isLive: isLive, isReady: isReady), logger: self.logger
                ).run()
            }
            group.addTask {
                if let port = await parts.endpoint.boundPort {
                    self.logger.info(
                        "server is serving",
                        metadata: [
                            "address": "\(self.configuration.bindAddress):\(port)",
                            "socket_path": "\(self.configuration.socketPath)",
                            "trust_domain": "\(self.configuration.trustDomain)",
                        ])
                    self.onEvent(.serving(port: port))
                }
                // Stays until the group is cancelled, so that this task's end does not end the server.
                while true { try await Task.sleep(for: .seconds(86_400)) }
            }
            defer { group.cancelAll() }
            do {
                try await group.next()
            } catch is CancellationError {
                return
            }
        }
        unlink(self.configuration.socketPath)
        // What is acknowledged is safe without these; readers have all of it sooner, and the next start has less to do.
        try? await parts.ledger.settle()
        try? await parts.plane.changes.save()
        self.logger.info("server stopped")
    }

    /// Stops accepting calls; `run` returns when the open ones have ended.
    package func shutDown() { self.endpoint.withLockedValue { $0 }?.shutDown() }

    // MARK: For an agent in the same process

    /// Makes a join token that lives one hour.
    ///
    /// - Throws: ``ServerError`` when the server does not serve yet or the store cannot be written.
    package func joinToken() async throws -> String {
        guard let plane = self.plane.withLockedValue({ $0 }) else {
            throw ServerError(.unavailable, "server is not serving yet")
        }
        return try await plane.nodes.createJoinToken(value: "", ttl: 3_600, agentID: nil).value
    }

    /// The trust domain's X.509 authorities in PEM; empty before the server serves.
    package var bundlePEM: String {
        guard let bundle = self.plane.withLockedValue({ $0?.directory.ownBundle }) else {
            return ""
        }
        return bundle.x509Authorities.map { authority in
            PEMDocument(type: "CERTIFICATE", derBytes: authority.der).pemString + "\n"
        }.joined()
    }

    /// The IDs of the attested agents, the one whose SVID lasts longest first.
    package var agentIDs: [String] {
        let nodes = self.plane.withLockedValue { $0?.directory.nodes } ?? []
        return nodes.sorted { $0.expiresAt > $1.expiresAt }.map(\.id.string)
    }

    private struct Parts {
        let plane: ControlPlane
        let endpoint: ServerEndpoint
        let revocations: RevocationRegistry
        let authorities: AuthorityManager
        let identity: ServerIdentity
        let https: HTTPSEndpoints
        let lists: RevocationPublisher
        let ledger: LedgerFile
        let witnessing: CheckpointWitnessing?
        let upkeep: Upkeep
        let publishing: BundlePublishing
    }

    private func assemble() async throws -> Parts {
        let configuration = self.configuration
        let trustDomain = try TrustDomain(configuration.trustDomain)
        try DirectoryPath.make(configuration.dataDirectory, mode: 0o750)
        let store = try self.openStore(trustDomain)
        let keyManager = try self.keyManager()
        let ledger = try await ServerLedger.open(
            dataDirectory: configuration.dataDirectory, trustDomain: trustDomain,
            keyManager: keyManager, settings: ServerLedger.settings(configuration.ledgerWitnesses))
        let changes = ChangeRecorder(recorder: ledger, store: store, logger: self.logger)
        try await changes.start { try await ServerLedger.changes(in: ledger, since: $0) }
        store.setLeafConsumer(changes)

        let directory = Directory(
            trustDomain: trustDomain,
            relationships: configuration.federation.partners.map(\.relationship),
            limits: configuration.federation.partners.compactMap(\.limits),
            groups: configuration.federation.groups)
        try await directory.load(from: store)
        store.setConsumer(directory)

        let partners = PartnerHolders(
            bound: configuration.federation.bundleEndpoint?.acknowledgementTimeout ?? .zero,
            logger: self.logger)
        let authorities = AuthorityManager(
            trustDomain: trustDomain, settings: self.authoritySettings,
            keyManager: keyManager,
            journal: store, bundles: store, recorder: ledger,
            holders: AllBundleHolders([
                ConnectedAgents(directory: directory, logger: self.logger), partners,
            ]),
            logger: self.logger)
        try await authorities.start(ownBundle: directory.ownBundle)

        let admission = RevocationAdmission(
            directory: directory, statusListURI: configuration.revocation.statusListURL,
            limits: configuration.revocation.liveLimits)
        admission.restoreHits(try await store.revocationHits())
        try await ServerLedger.restore(admission, from: ledger, issuedFor: configuration.caTTL)
        let issuer = try Issuer(
            trustDomain: trustDomain, settings: self.issuerSettings, authorities: authorities,
            recorder: ledger, admission: admission)
        let identity = ServerIdentity(issuer: issuer, logger: self.logger)
        try await identity.rotate()
        authorities.add(identity)

        let lists = RevocationPublisher(
            trustDomain: trustDomain, settings: self.revocationSettings, revoked: admission,
            authorities: authorities, audience: directory,
            tokenPlaces: { admission.statusCount }, logger: self.logger)
        // Nothing that is issued is without a list.
        await lists.flush()
        let revocations = RevocationRegistry(
            directory: directory, store: store, admission: admission, recorder: ledger,
            flush: { await lists.flush() },
            holders: ConnectedAgents(directory: directory, logger: self.logger),
            logger: self.logger)
        try await revocations.resume()

        let nodes = NodeRegistry(
            directory: directory, store: store, issuer: issuer, logger: self.logger)
        let entries = EntryRegistry(directory: directory, store: store)
        let adminIDs = Set(try configuration.adminIDs.map { text in try SPIFFEID(text) })
        let bundles = BundleRegistry(directory: directory, store: store)
        try await BootstrapBundles.store(
            configuration.federation.partners, directory: directory, registry: bundles,
            logger: self.logger)
        let knownBundles = DirectoryBundleSource(directory: directory)
        var fetching = BundleEndpointClientConfiguration()
        fetching.announcedTrustDomain = trustDomain
        let partnerClient = BundleEndpointClient(configuration: fetching)
        var plane = ControlPlane(
            directory: directory, entries: entries, nodes: nodes, issuer: issuer,
            bundles: bundles, federation: FederationRegistry(directory: directory, store: store),
            updater: FederationUpdater(
                directory: directory, store: store,
                fetcher: EndpointBundleFetcher(
                    client: partnerClient, bundles: knownBundles),
                logger: self.logger),
            authorities: authorities, revocations: revocations,
            policy: CallerPolicy(
                methods: MethodPolicy.methods,
                adminIDs: adminIDs,
                directory: directory, nodes: nodes,
                revocation: { admission.revocation(ofSerial: $0) }),
            recorder: ledger, changes: changes)
        plane.partnerRevocations = PartnerRevocationsUpdater(
            directory: directory,
            fetcher: EndpointRevocationFetcher(client: partnerClient, bundles: knownBundles),
            logger: self.logger)
        plane.bundleEndpoint = configuration.federation.bundleEndpoint?.published
        let socket = try UnixSocketPath(configuration.socketPath)
        try socket.prepare(directoryMode: 0o750)
        let endpoint = ServerEndpoint(
            plane,
            settings: .init(
                host: configuration.bindAddress, port: configuration.bindPort,
                socketPath: configuration.socketPath,
                limitsAttestation: configuration.ratelimitAttestation,
                limitsSigning: configuration.ratelimitSigning,
                logsAccess: configuration.auditLogEnabled),
            logger: self.logger,
            tls: MTLSServerConfiguration(
                svid: identity, bundles: knownBundles,
                authorizer: .anyOf([.member(of: trustDomain), .oneOf(adminIDs)]),
                applicationProtocols: ["h2"], clientCertificate: .optional))
        return Parts(
            plane: plane, endpoint: endpoint, revocations: revocations, authorities: authorities,
            identity: identity,
            https: try HTTPSEndpoints(
                configuration, directory: directory, identity: identity, publisher: lists,
                holders: partners, ledger: ledger, logger: self.logger),
            lists: lists, ledger: ledger,
            witnessing: try ServerLedger.witnessing(
                configuration.ledgerWitnesses, of: ledger, logger: self.logger),
            upkeep: Upkeep(
                directory: directory, store: store, entries: entries, nodes: nodes,
                bundles: store, changes: changes,
                pruneNodesExpiredFor: configuration.pruneAttestedNodesExpiredFor?.components
                    .seconds,
                prunesTOFUNodes: configuration.pruneTOFUNodes, logger: self.logger),
            publishing: BundlePublishing(
                publishers: try configuration.bundlePublishers.map { try $0.publisher() },
                directory: directory, logger: self.logger))
    }

    private func openStore(_ trustDomain: TrustDomain) throws -> SQLiteStore {
        let path = self.configuration.sqlitePath
        let folder = (path as NSString).deletingLastPathComponent
        if !folder.isEmpty { try DirectoryPath.make(folder, mode: 0o750) }
        return try SQLiteStore(path: path, trustDomain: trustDomain)
    }

    private func keyManager() throws -> any KeyManager {
        switch self.configuration.keyManager {
        case .memory: return MemoryKeyManager()
        case .disk(let path):
            let folder = (path as NSString).deletingLastPathComponent
            if !folder.isEmpty { try DirectoryPath.make(folder, mode: 0o750) }
            return try DiskKeyManager(path: path)
        }
    }

    private var authoritySettings: AuthorityManager.Settings {
        let configuration = self.configuration
        return AuthorityManager.Settings(
            authorityTTL: configuration.caTTL,
            x509KeyType: KeyType(rawValue: configuration.caKeyType) ?? .ecP256,
            jwtKeyType: KeyType(rawValue: configuration.jwtKeyType) ?? .ecP256,
            witKeyType: KeyType(rawValue: configuration.witKeyType) ?? .ecP256,
            subject: X509Subject(
                country: configuration.caSubject.country,
                organization: configuration.caSubject.organization,
                commonName: configuration.caSubject.commonName),
            issuesJWTSVIDs: !configuration.disableJWTSVIDs,
            issuesWITSVIDs: configuration.issuesWITSVIDs,
            crlDistributionURL: configuration.revocation.crlDistributionURL)
    }

    private var revocationSettings: RevocationPublisher.Settings {
        let revocation = self.configuration.revocation
        return RevocationPublisher.Settings(
            signsCRLs: revocation.signsCRLs, listTTL: revocation.listTTL,
            statusListURI: revocation.statusListURL, issuer: self.configuration.jwtIssuer)
    }

    private var issuerSettings: Issuer.Settings {
        func seconds(_ duration: Duration) -> Int32 { Int32(clamping: duration.components.seconds) }
        let x509TTL = seconds(self.configuration.defaultX509SVIDTTL)
        return Issuer.Settings(
            defaultX509TTL: x509TTL, defaultJWTTTL: seconds(self.configuration.defaultJWTSVIDTTL),
            agentTTL: self.configuration.agentTTL.map(seconds) ?? x509TTL,
            jwtIssuer: self.configuration.jwtIssuer, witIssuer: self.configuration.witIssuer)
    }
}
