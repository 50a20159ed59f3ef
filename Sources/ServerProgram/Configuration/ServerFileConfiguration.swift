import SPIFFE
import ServiceRuntime

/// The content of a server's configuration file: nil for every key that is absent.
///
/// Keys, types, blocks and plugins are checked while reading; rules between keys are checked when a
/// ``ServerConfiguration`` is made of it.
struct ServerFileConfiguration: Sendable, Hashable {
    /// The file's name, for messages.
    let file: String
    var trustDomain: String?
    var dataDirectory: String?
    var bindAddress: String?
    var bindPort: Int?
    var socketPath: String?
    var adminIDs: [String]?
    var agentTTL: Duration?
    var defaultX509SVIDTTL: Duration?
    var defaultJWTSVIDTTL: Duration?
    var caTTL: Duration?
    var caKeyType: String?
    var jwtKeyType: String?
    var caSubject: CASubjectConfiguration?
    var disableJWTSVIDs: Bool?
    var jwtIssuer: String?
    var featureFlags: [String] = []
    var witKeyType: String?
    var witIssuer: String?
    var auditLogEnabled: Bool?
    var log = LogFileConfiguration()
    var keyManager: ServerKeyManagerConfiguration?
    var sqlitePath: String?
    var pruneAttestedNodesExpiredFor: Duration?
    var pruneAttestedNodesBatchSize: Int?
    var pruneTOFUNodes: Bool?
    var healthChecks = HealthCheckConfiguration()
    var ratelimitAttestation: Bool?
    var ratelimitSigning: Bool?
    var bundlePublishers: [BundlePublisherConfiguration] = []
    var federation = FederationConfiguration()
    var revocation = RevocationConfiguration()
    var discovery: DiscoveryConfiguration?
    var ledgerEndpoint: LedgerEndpointConfiguration?
    var ledgerWitnesses: LedgerWitnessesConfiguration?
    /// Notes about keys that were accepted and have no effect.
    var notes: [String] = []

    /// Reads a parsed file.
    ///
    /// - Throws: ``ConfigurationError`` for the first key that is not accepted.
    init(_ document: ConfigurationDocument) throws(ConfigurationError) {
        self.file = document.file
        var root = try document.section()
        if var server = try root.section("server") {
            try self.readServer(&server)
            try self.readHTTPS(&server)
            try self.readUnsupported(&server)
            try server.finish()
            self.notes += server.notes
        }
        try self.readPlugins(
            PluginConfiguration.readAll(
                try root.section("plugins"),
                types: [
                    "DataStore", "KeyManager", "NodeAttestor", "UpstreamAuthority", "Notifier",
                    "BundlePublisher", "CredentialComposer",
                ]))
        try TelemetryConfiguration.check(try root.section("telemetry"))
        self.healthChecks = try HealthCheckConfiguration(try root.section("health_checks"))
        try root.finish()
    }

    private mutating func readServer(
        _ server: inout ConfigurationSection
    ) throws(ConfigurationError) {
        self.trustDomain = try server.parsed(
            "trust_domain", expecting: "a trust domain such as \"example.org\""
        ) { try TrustDomain(nameOrID: $0).name }
        self.dataDirectory = try server.string("data_dir")
        self.bindAddress = try server.string("bind_address")
        self.bindPort = try server.integer("bind_port", in: 0...65535)
        self.socketPath = try server.string("socket_path")
        self.adminIDs = try server.strings("admin_ids")
        for id in self.adminIDs ?? [] {
            do {
                _ = try SPIFFEID(id)
            } catch {
                throw ConfigurationError(
                    .invalidValue,
                    "key \"admin_ids\" of server at \(server.location(of: "admin_ids")): \(error.message)"
                )
            }
        }
        self.agentTTL = try server.duration("agent_ttl", atLeast: .seconds(1))
        self.defaultX509SVIDTTL = try server.duration("default_x509_svid_ttl", atLeast: .seconds(1))
        self.defaultJWTSVIDTTL = try server.duration("default_jwt_svid_ttl", atLeast: .seconds(1))
        self.caTTL = try server.duration("ca_ttl", atLeast: .seconds(1))
        self.caKeyType = try server.choice("ca_key_type", among: ServerConfiguration.keyTypes)
        self.jwtKeyType = try server.choice("jwt_key_type", among: ServerConfiguration.keyTypes)
        if var subject = try server.section("ca_subject") {
            self.caSubject = CASubjectConfiguration(
                country: try subject.strings("country") ?? [],
                organization: try subject.strings("organization") ?? [],
                commonName: try subject.string("common_name") ?? "")
            try subject.finish()
        }
        self.disableJWTSVIDs = try server.boolean("disable_jwt_svids")
        self.jwtIssuer = try server.string("jwt_issuer").flatMap { $0.isEmpty ? nil : $0 }
        self.auditLogEnabled = try server.boolean("audit_log_enabled")
        self.log = try LogFileConfiguration(reading: &server)
        self.pruneAttestedNodesExpiredFor = try server.duration(
            "prune_attested_nodes_expired_for", atLeast: .seconds(1))
        self.pruneAttestedNodesBatchSize = try server.integer(
            "prune_attested_nodes_batch_size", in: 1...1_000_000)
        self.pruneTOFUNodes = try server.boolean("prune_tofu_nodes")
        if var limits = try server.section("ratelimit") {
            self.ratelimitAttestation = try limits.boolean("attestation")
            self.ratelimitSigning = try limits.boolean("signing")
            try limits.finish()
        }
    }

    /// What is served to those who are neither agents nor admins.
    private mutating func readHTTPS(
        _ server: inout ConfigurationSection
    ) throws(ConfigurationError) {
        if let federation = try server.section("federation") {
            self.federation = try FederationConfiguration(federation)
            self.notes += self.federation.notes
        }
        if let revocation = try server.section("revocation") {
            self.revocation = try RevocationConfiguration(revocation)
            self.notes += self.revocation.notes
        }
        if var ledger = try server.section("ledger") {
            self.ledgerWitnesses = try LedgerWitnessesConfiguration(reading: &ledger)
            // With witnesses the block need not serve anything.
            let port = try ledger.string("port")
            let isServed = try ledger.string("address") != nil || port != nil
            if self.ledgerWitnesses == nil || isServed {
                self.ledgerEndpoint = try LedgerEndpointConfiguration(reading: &ledger)
            }
            try ledger.finish()
            self.notes += ledger.notes
        }
        if var discovery = try server.section("oidc_discovery") {
            self.discovery = try DiscoveryConfiguration(reading: &discovery)
            try discovery.finish()
            self.notes += discovery.notes
        }
    }

    private mutating func readUnsupported(
        _ server: inout ConfigurationSection
    ) throws(ConfigurationError) {
        try server.unsupported("proxy_protocol_trusted_cidrs", unless: \.asksForNothing)
        try server.unsupported(
            "profiling_enabled", "profiling_port", "profiling_freq", "profiling_names",
            unless: \.asksForNothing)
        server.withoutEffect(
            "max_attested_node_info_staleness",
            because: "node records are always up to date in memory")
        guard var experimental = try server.section("experimental") else { return }
        experimental.withoutEffect(
            "cache_reload_interval", "full_cache_reload_interval", "events_based_cache",
            "prune_events_older_than", "event_timeout", "sql_transaction_timeout",
            because: "changes are followed as they happen, nothing is reloaded")
        try experimental.unsupported(
            "agent_spiffe_id_as_selector", "auth_opa_policy_engine", "require_pq_kem",
            "named_pipe_name", unless: \.asksForNothing)
        self.featureFlags = try FeatureFlags.read(from: &experimental)
        self.witKeyType = try experimental.choice(
            "wit_key_type", among: ServerConfiguration.keyTypes)
        self.witIssuer = try experimental.string("wit_issuer").flatMap { $0.isEmpty ? nil : $0 }
        try experimental.finish()
        self.notes += experimental.notes
    }

    private mutating func readPlugins(
        _ plugins: [PluginConfiguration]
    ) throws(ConfigurationError) {
        for plugin in plugins {
            var data = plugin.data
            switch (plugin.type, plugin.name) {
            case ("KeyManager", "memory"):
                self.keyManager = .memory
            case ("KeyManager", "disk"):
                guard let path = try data.string("keys_path"), !path.isEmpty else {
                    throw data.missing("keys_path", "it names the file that holds the private keys")
                }
                self.keyManager = .disk(keysPath: path)
            case ("DataStore", "sql"):
                try self.readDataStore(&data)
            case ("NodeAttestor", "join_token"):
                break
            case ("BundlePublisher", let name)
            where BundlePublisherConfiguration.builtIn.contains(name):
                self.bundlePublishers +=
                    try BundlePublisherConfiguration.read(name, &data) ?? []
            default:
                throw plugin.refusal(
                    builtIn: ServerFileConfiguration.builtIn[plugin.type] ?? [],
                    known: ServerFileConfiguration.knownToSPIRE[plugin.type] ?? [])
            }
            try data.finish()
        }
        _ = try PluginConfiguration.single(
            "DataStore", of: plugins, file: self.file, example: "sql")
        _ = try PluginConfiguration.single(
            "KeyManager", of: plugins, file: self.file, example: "disk")
        let attestors = plugins.filter { $0.type == "NodeAttestor" }
        if let second = attestors.dropFirst().first {
            throw ConfigurationError(
                .duplicateKey,
                "NodeAttestor \(QuotedText.quoted(second.name)) at \(second.data.location) appeared before at "
                    + "\(attestors[0].data.location)")
        }
    }

    private mutating func readDataStore(
        _ data: inout ConfigurationSection
    ) throws(ConfigurationError) {
        let type = try data.choice("database_type", among: ["sqlite3", "postgres", "mysql"])
        guard let type else {
            throw data.missing("database_type", "write database_type = \"sqlite3\"")
        }
        if type != "sqlite3" {
            throw ConfigurationError(
                .unsupported,
                "known to SPIRE but not supported yet: database_type \"\(type)\" at "
                    + "\(data.location(of: "database_type")); supported is \"sqlite3\"")
        }
        guard let path = try data.string("connection_string"), !path.isEmpty else {
            throw data.missing("connection_string", "it names the SQLite file")
        }
        self.sqlitePath = path
        try data.unsupported(
            "ro_connection_string", "root_ca_path", "client_cert_path", "client_key_path",
            "disable_migration", unless: \.asksForNothing)
        data.withoutEffect(
            "max_open_conns", "max_idle_conns", "conn_max_lifetime",
            because: "SQLite is used through one writer and a small pool of readers")
        self.notes += data.notes
    }

    private static let builtIn = [
        "DataStore": ["sql"], "KeyManager": ["disk", "memory"], "NodeAttestor": ["join_token"],
        "BundlePublisher": BundlePublisherConfiguration.builtIn,
    ]

    private static let knownToSPIRE = [
        "KeyManager": ["aws_kms", "hashicorp_vault", "gcp_kms", "azure_key_vault"],
        "NodeAttestor": [
            "x509pop", "k8s_psat", "aws_iid", "gcp_iit", "azure_imds", "azure_msi", "sshpop",
            "tpm_devid",
            "http_challenge",
        ],
        "UpstreamAuthority": [
            "disk", "spire", "vault", "aws_pca", "cert-manager", "awssecret", "gcp_cas", "ejbca",
        ],
        "BundlePublisher": [
            "gcp_cloudstorage", "azure_blob", "aws_rolesanywhere_trustanchor",
        ],
        "Notifier": ["k8sbundle", "gcs_bundle"],
        "CredentialComposer": ["uniqueid"],
    ]
}
