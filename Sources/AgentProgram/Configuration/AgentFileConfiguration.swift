import SPIFFE
import ServiceRuntime

/// The content of an agent's configuration file: nil for every key that is absent.
///
/// Keys, types, blocks and plugins are checked while reading; rules between keys are checked when an
/// ``AgentConfiguration`` is made of it.
struct AgentFileConfiguration: Sendable, Hashable {
    /// The file's name, for messages.
    let file: String
    var trustDomain: String?
    var serverAddress: String?
    var serverPort: Int?
    var dataDirectory: String?
    var socketPath: String?
    var trustBundlePath: String?
    var trustBundleURL: String?
    var trustBundleFormat: TrustBundleFormat?
    var insecureBootstrap: Bool?
    var joinToken: String?
    var joinTokenFile: String?
    var allowUnauthenticatedVerifiers: Bool?
    var allowedForeignJWTClaims: [String]?
    var workloadX509SVIDKeyType: String?
    var x509SVIDCacheMaxSize: Int?
    var jwtSVIDCacheMaxSize: Int?
    var availabilityTarget: Duration?
    var log = LogFileConfiguration()
    var keyManager: AgentKeyManagerConfiguration?
    var unixAttestor: UnixAttestorConfiguration?
    var healthChecks = HealthCheckConfiguration()
    var syncInterval: Duration?
    var broker: BrokerFileConfiguration?
    var featureFlags: [String] = []
    /// Notes about keys that were accepted and have no effect.
    var notes: [String] = []

    /// Reads a parsed file.
    ///
    /// - Throws: ``ConfigurationError`` for the first key that is not accepted.
    init(_ document: ConfigurationDocument) throws(ConfigurationError) {
        self.file = document.file
        var root = try document.section()
        if var agent = try root.section("agent") {
            try self.readAgent(&agent)
            try self.readUnsupported(&agent)
            try agent.finish()
            self.notes += agent.notes
        }
        try self.readPlugins(
            PluginConfiguration.readAll(
                try root.section("plugins"),
                types: ["KeyManager", "NodeAttestor", "WorkloadAttestor", "SVIDStore"]))
        try TelemetryConfiguration.check(try root.section("telemetry"))
        self.healthChecks = try HealthCheckConfiguration(try root.section("health_checks"))
        try root.finish()
    }

    private mutating func readAgent(
        _ agent: inout ConfigurationSection
    ) throws(ConfigurationError) {
        self.trustDomain = try agent.parsed(
            "trust_domain", expecting: "a trust domain such as \"example.org\""
        ) { try TrustDomain(nameOrID: $0).name }
        self.serverAddress = try agent.string("server_address")
        self.serverPort = try agent.integer("server_port", in: 1...65535)
        self.dataDirectory = try agent.string("data_dir")
        self.socketPath = try agent.string("socket_path")
        self.trustBundlePath = try agent.string("trust_bundle_path").nonEmpty
        self.trustBundleURL = try agent.string("trust_bundle_url").nonEmpty
        self.trustBundleFormat = try agent.choice(
            "trust_bundle_format", among: TrustBundleFormat.allCases.map(\.rawValue)
        ).flatMap { TrustBundleFormat(rawValue: $0) }
        self.insecureBootstrap = try agent.boolean("insecure_bootstrap")
        self.joinToken = try agent.string("join_token").nonEmpty
        self.joinTokenFile = try agent.string("join_token_file").nonEmpty
        self.allowUnauthenticatedVerifiers = try agent.boolean("allow_unauthenticated_verifiers")
        self.allowedForeignJWTClaims = try agent.strings("allowed_foreign_jwt_claims")
        self.workloadX509SVIDKeyType = try agent.choice(
            "workload_x509_svid_key_type", among: AgentConfiguration.keyTypes)
        self.x509SVIDCacheMaxSize = try agent.integer(
            "x509_svid_cache_max_size", in: 0...10_000_000)
        self.jwtSVIDCacheMaxSize = try agent.integer("jwt_svid_cache_max_size", in: 0...10_000_000)
        self.availabilityTarget = try agent.duration(
            "availability_target", atLeast: .seconds(24 * 3600))
        self.log = try LogFileConfiguration(reading: &agent)
    }

    private mutating func readUnsupported(
        _ agent: inout ConfigurationSection
    ) throws(ConfigurationError) {
        try agent.unsupported(
            "admin_socket_path", "disable_workload_api", "trust_bundle_spiffe_workload_api",
            "trust_bundle_unix_socket", "authorized_delegates", "sds", "log_selectors",
            "profiling_enabled", "profiling_port", "profiling_freq", "profiling_names",
            unless: \.asksForNothing)
        try agent.unsupported("rebootstrap_mode") { value in
            value == .string("never") || value.asksForNothing
        }
        agent.withoutEffect("rebootstrap_delay", because: "rebootstrap_mode is \"never\"")
        agent.withoutEffect("disable_sds_api", because: "there is no SDS API yet")
        guard var experimental = try agent.section("experimental") else { return }
        self.syncInterval = try experimental.duration("sync_interval", atLeast: .seconds(1))
        experimental.withoutEffect(
            "use_sync_authorized_entries",
            because: "the way to fetch entries is chosen by what the server has")
        try experimental.unsupported(
            "require_pq_kem", "jwt_svid_cache_hit_timeout", "ratelimit", "named_pipe_name",
            "admin_named_pipe_name", unless: \.asksForNothing)
        if let broker = try experimental.section("broker") {
            self.broker = try BrokerFileConfiguration(broker)
        }
        self.featureFlags = try FeatureFlags.read(from: &experimental)
        try experimental.finish()
        self.notes += experimental.notes + (self.broker?.notes ?? [])
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
                guard let path = try data.string("directory"), !path.isEmpty else {
                    throw data.missing(
                        "directory", "it names the directory that holds the private keys")
                }
                self.keyManager = .disk(directory: path)
            case ("NodeAttestor", "join_token"):
                break
            case ("WorkloadAttestor", "unix"):
                var unix = UnixAttestorConfiguration()
                unix.discoverWorkloadPath = try data.boolean("discover_workload_path") ?? false
                unix.workloadSizeLimit = try data.integer("workload_size_limit") ?? 0
                self.unixAttestor = unix
            default:
                throw plugin.refusal(
                    builtIn: AgentFileConfiguration.builtIn[plugin.type] ?? [],
                    known: AgentFileConfiguration.knownToSPIRE[plugin.type] ?? [])
            }
            try data.finish()
        }
        _ = try PluginConfiguration.single(
            "KeyManager", of: plugins, file: self.file, example: "memory")
        _ = try PluginConfiguration.single(
            "NodeAttestor", of: plugins, file: self.file, example: "join_token")
        _ = try PluginConfiguration.single(
            "WorkloadAttestor", of: plugins, file: self.file, example: "unix")
    }

    private static let builtIn = [
        "KeyManager": ["disk", "memory"], "NodeAttestor": ["join_token"],
        "WorkloadAttestor": ["unix"],
    ]

    private static let knownToSPIRE = [
        "NodeAttestor": [
            "x509pop", "k8s_psat", "aws_iid", "gcp_iit", "azure_imds", "azure_msi", "sshpop",
            "tpm_devid",
            "http_challenge",
        ],
        "WorkloadAttestor": ["k8s", "docker", "systemd", "slurm", "windows"],
        "SVIDStore": ["aws_secretsmanager", "gcp_secretmanager"],
    ]
}
