import Logging
import SPIFFE
import ServerCore
import ServerEndpoints
import ServerStore
import ServiceRuntime

/// What the server offers to those who are neither agents nor admins: its bundle, the lists of what was taken back,
/// OpenID Connect discovery, and the ledger.
///
/// Nothing listens unless the configuration asks for it.
struct HTTPSEndpoints: Sendable {
    private let bundles: BundleEndpoint?
    private let revocations: RevocationEndpoint?
    private let discovery: DiscoveryEndpoint?
    private let ledger: LedgerEndpoint?
    private let certificates: [ServingCertificateFiles]

    /// - Throws: ``ServerError`` when a certificate or its key cannot be used.
    init(
        _ configuration: ServerConfiguration, directory: Directory, identity: any X509SVIDSource,
        publisher: RevocationPublisher, holders: PartnerHolders, ledger file: LedgerFile? = nil,
        logger: Logger
    ) throws(ServerError) {
        var certificates: [ServingCertificateFiles] = []
        let lists = RevocationRoutes { publisher.lists }
        var bundles: BundleEndpoint?
        if let endpoint = configuration.federation.bundleEndpoint {
            let certificate: any ServingCertificate
            switch endpoint.profile {
            case .httpsSPIFFE: certificate = SVIDServingCertificate(identity)
            case .httpsWeb(let files):
                let loaded = try ServingCertificateFiles(files, logger: logger)
                certificates.append(loaded)
                certificate = loaded
            }
            bundles = BundleEndpoint(
                directory, revocations: lists,
                listing: RevocationListingRoute(publisher, of: directory.trustDomain),
                refreshHint: endpoint.refreshHint,
                place: endpoint.address.place, certificate: certificate, holders: holders,
                logger: logger)
        }
        var discovery: DiscoveryEndpoint?
        if let configuration = configuration.discovery {
            let certificate = try configuration.certificate(logger: logger)
            if let certificate { certificates.append(certificate) }
            discovery = DiscoveryEndpoint(
                configuration.site, keys: DirectoryKeySource(directory), place: configuration.place,
                certificate: certificate, logger: logger)
        }
        var ledger: LedgerEndpoint?
        if let endpoint = configuration.ledgerEndpoint, let file {
            var certificate: ServingCertificateFiles?
            if let files = endpoint.certificate {
                let loaded = try ServingCertificateFiles(files, logger: logger)
                certificates.append(loaded)
                certificate = loaded
            }
            ledger = LedgerEndpoint(
                place: endpoint.address.place, certificate: certificate, logger: logger
            ) { path, limit in try file.publishedFile(path, limit: limit) }
        }
        self.ledger = ledger
        self.bundles = bundles
        self.revocations = configuration.revocation.address.map {
            RevocationEndpoint(lists, place: $0.place, logger: logger)
        }
        self.discovery = discovery
        self.certificates = certificates
    }

    /// Serves until the task is cancelled.
    ///
    /// - Throws: ``CommandError`` when an address cannot be bound.
    func run() async throws {
        try await withThrowingTaskGroup(of: Void.self) { group in
            if let bundles = self.bundles { group.addTask { try await bundles.run() } }
            if let revocations = self.revocations {
                group.addTask { try await revocations.run() }
            }
            if let ledger = self.ledger { group.addTask { try await ledger.run() } }
            if let discovery = self.discovery { group.addTask { try await discovery.run() } }
            for certificate in self.certificates { group.addTask { try await certificate.run() } }
            // Stays until the group is cancelled: to serve nothing is no end.
            group.addTask { while true { try await Task.sleep(for: .seconds(86_400)) } }
            defer { group.cancelAll() }
            for try await _ in group {}
        }
    }
}

extension ServingCertificateFiles {
    /// Reads the files that the configuration names.
    convenience init(
        _ configuration: ServingCertificateConfiguration, logger: Logger
    ) throws(ServerError) {
        try self.init(
            certificatePath: configuration.certificatePath, keyPath: configuration.keyPath,
            interval: configuration.syncInterval, logger: logger)
    }
}

extension ListeningAddress {
    /// The address as a listener takes it.
    var place: DocumentListener.Place { .tcp(host: self.host, port: self.port) }
}

extension DiscoveryConfiguration {
    /// Where to listen. What is served is public, so anybody may open the Unix socket.
    var place: DocumentListener.Place {
        switch self.listener {
        case .https(let address, _), .http(let address): address.place
        case .unixSocket(let path): .unixSocket(path: path, mode: 0o777)
        }
    }

    /// The certificate of an HTTPS listener; nil for the others.
    ///
    /// - Throws: ``ServerError`` when it cannot be used.
    func certificate(logger: Logger) throws(ServerError) -> ServingCertificateFiles? {
        guard case .https(_, let files) = self.listener else { return nil }
        return try ServingCertificateFiles(files, logger: logger)
    }
}
