package import Logging
package import ServiceRuntime

/// Where the server's signing keys live.
package enum ServerKeyManagerConfiguration: Sendable, Hashable {
    /// In memory only: new authorities at each start.
    case memory
    /// In a JSON file, kept with mode 0600.
    case disk(keysPath: String)
}

/// The distinguished name of the server's own CA certificates.
package struct CASubjectConfiguration: Sendable, Hashable {
    /// `country`, default `US`.
    package var country: [String]
    /// `organization`, default `SPIFFE`.
    package var organization: [String]
    /// `common_name`, default empty.
    package var commonName: String

    /// Makes a subject.
    package init(
        country: [String] = ["US"], organization: [String] = ["SPIFFE"], commonName: String = ""
    ) {
        self.country = country
        self.organization = organization
        self.commonName = commonName
    }
}

/// Everything the server needs to know at start, validated: flags over file over defaults.
///
/// Strings that name SPIFFE IDs, trust domains and key types have been parsed once and are known to be
/// good. Paths are as configured, relative to the working directory.
package struct ServerConfiguration: Sendable, Hashable {
    /// The trust domain, without scheme.
    package var trustDomain: String
    /// Directory for files the server keeps; made when missing.
    package var dataDirectory: String
    /// Address of the TCP API.
    package var bindAddress = "0.0.0.0"
    /// Port of the TCP API.
    package var bindPort = 8081
    /// Path of the local API's Unix socket.
    package var socketPath = ServerConfiguration.defaultSocketPath
    /// SPIFFE IDs that are admins without an entry; may be foreign.
    package var adminIDs: [String] = []
    /// Lifetime of agents' SVIDs; nil means ``defaultX509SVIDTTL``.
    package var agentTTL: Duration?
    /// Lifetime of X509-SVIDs whose entry names none.
    package var defaultX509SVIDTTL: Duration = .seconds(3600)
    /// Lifetime of JWT-SVIDs whose entry names none.
    package var defaultJWTSVIDTTL: Duration = .seconds(300)
    /// Lifetime of X.509 CAs, JWT keys and WIT keys.
    package var caTTL: Duration = .seconds(24 * 3600)
    /// One of ``keyTypes``.
    package var caKeyType = "ec-p256"
    /// One of ``keyTypes``.
    package var jwtKeyType = "ec-p256"
    /// Subject of CA certificates.
    package var caSubject = CASubjectConfiguration()
    /// Whether JWT-SVIDs are off altogether.
    package var disableJWTSVIDs = false
    /// The `iss` claim of JWT-SVIDs, or nil for none.
    package var jwtIssuer: String?
    /// Whether WIT-SVIDs are issued; incubating, hence off.
    package var issuesWITSVIDs = false
    /// One of ``keyTypes``.
    package var witKeyType = "ec-p256"
    /// The `iss` claim of WIT-SVIDs, or nil for none.
    package var witIssuer: String?
    /// Whether each API call is recorded in the log.
    package var auditLogEnabled = false
    /// Lines below are dropped.
    package var logLevel: Logger.Level = .info
    /// How log lines look.
    package var logFormat: LogFormat = .text
    /// Log file, or nil for standard error.
    package var logFile: String?
    /// Whether log lines name the source file.
    package var logSourceLocation = false
    /// Where signing keys live.
    package var keyManager: ServerKeyManagerConfiguration
    /// The `connection_string` of the SQLite datastore.
    package var sqlitePath: String
    /// Nodes expired for longer are removed; nil keeps them.
    package var pruneAttestedNodesExpiredFor: Duration?
    /// How many nodes one pruning removes at most.
    package var pruneAttestedNodesBatchSize = 1000
    /// Whether pruning includes nodes that cannot attest again.
    package var pruneTOFUNodes = false
    /// The HTTP listener for liveness and readiness.
    package var healthChecks = HealthCheckConfiguration()
    /// Whether attestation is limited to one per second and client address.
    package var ratelimitAttestation = true
    /// Whether signing is limited to 500 per second and client address.
    package var ratelimitSigning = true
    /// Where the bundle is published.
    package var bundlePublishers: [BundlePublisherConfiguration] = []
    /// What partners are offered; nothing unless configured.
    package var federation = FederationConfiguration()
    /// Lists of what was taken back.
    package var revocation = RevocationConfiguration()
    /// OpenID Connect discovery; nil serves none.
    package var discovery: DiscoveryConfiguration?
    /// Where the ledger can be read; nil serves it nowhere.
    package var ledgerEndpoint: LedgerEndpointConfiguration?
    /// Who cosigns the ledger's checkpoints; nil asks nobody.
    package var ledgerWitnesses: LedgerWitnessesConfiguration?
    /// Advice for the operator, to be logged as warnings at start.
    package var advice: [String] = []

    /// The default path of the local API's socket.
    package static let defaultSocketPath = "/tmp/spire-server/private/api.sock"
    /// Key types that `ca_key_type`, `jwt_key_type` and `wit_key_type` accept.
    package static let keyTypes = ["rsa-2048", "rsa-4096", "ec-p256", "ec-p384"]

    /// Makes a configuration of defaults around what has none.
    package init(
        trustDomain: String, dataDirectory: String, keyManager: ServerKeyManagerConfiguration,
        sqlitePath: String
    ) {
        self.trustDomain = trustDomain
        self.dataDirectory = dataDirectory
        self.keyManager = keyManager
        self.sqlitePath = sqlitePath
    }

    /// The settings of the log.
    package var log: LogConfiguration {
        LogConfiguration(
            level: self.logLevel, format: self.logFormat, file: self.logFile,
            sourceLocation: self.logSourceLocation)
    }
}
