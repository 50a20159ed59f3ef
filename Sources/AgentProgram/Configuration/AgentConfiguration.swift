package import AgentEndpoints
package import Logging
package import ServiceRuntime

/// Where the agent's private keys live.
package enum AgentKeyManagerConfiguration: Sendable, Hashable {
    /// In memory only: the agent attests anew after each start.
    case memory
    /// In a directory, kept with mode 0600.
    case disk(directory: String)
}

/// How a bundle in a file or at a URL is written.
package enum TrustBundleFormat: String, Sendable, Hashable, CaseIterable {
    /// Certificates in PEM.
    case pem
    /// A SPIFFE bundle document.
    case spiffe
}

/// Settings of the `unix` workload attestor.
package struct UnixAttestorConfiguration: Sendable, Hashable {
    /// Whether the path and digest of a workload's program become selectors. Default false.
    package var discoverWorkloadPath = false
    /// The largest program that is hashed, in bytes; 0 means any, negative means none. Default 0.
    package var workloadSizeLimit = 0

    /// The defaults.
    package init() {}
}

/// Everything the agent needs to know at start, validated: flags over file over defaults.
///
/// The trust domain and key type have been parsed once and are known to be good. Paths are as
/// configured, relative to the working directory.
package struct AgentConfiguration: Sendable, Hashable {
    /// The trust domain, without scheme.
    package var trustDomain: String
    /// Host name or address of the server.
    package var serverAddress: String
    /// Port of the server.
    package var serverPort: Int
    /// Directory for files the agent keeps; made when missing.
    package var dataDirectory = "."
    /// Path of the Workload API's Unix socket.
    package var socketPath = AgentConfiguration.defaultSocketPath
    /// File with the bundle to begin with.
    package var trustBundlePath: String?
    /// URL of the bundle to begin with; `https://`.
    package var trustBundleURL: String?
    /// How that bundle is written.
    package var trustBundleFormat: TrustBundleFormat = .pem
    /// Whether the server's first certificate is believed without a bundle.
    package var insecureBootstrap = false
    /// A join token for the first attestation. A secret: never log it.
    package var joinToken: String?
    /// File that holds the join token.
    package var joinTokenFile: String?
    /// Whether callers without identity get bundles.
    package var allowUnauthenticatedVerifiers = false
    /// Claims of foreign JWT-SVIDs that ValidateJWTSVID returns.
    package var allowedForeignJWTClaims: [String] = []
    /// One of ``keyTypes``.
    package var workloadX509SVIDKeyType = "ec-p256"
    /// Soft limit of the X509-SVID cache.
    package var x509SVIDCacheMaxSize = 1000
    /// Hard limit of the JWT-SVID cache.
    package var jwtSVIDCacheMaxSize = 1000
    /// X509-SVIDs are renewed when this much of their life is left; nil means at half life.
    package var availabilityTarget: Duration?
    /// Where private keys live.
    package var keyManager: AgentKeyManagerConfiguration
    /// Settings of the `unix` workload attestor.
    package var unixAttestor = UnixAttestorConfiguration()
    /// Lines below are dropped.
    package var logLevel: Logger.Level = .info
    /// How log lines look.
    package var logFormat: LogFormat = .text
    /// Log file, or nil for standard error.
    package var logFile: String?
    /// Whether log lines name the source file.
    package var logSourceLocation = false
    /// The HTTP listener for liveness and readiness.
    package var healthChecks = HealthCheckConfiguration()
    /// How often entries are fetched from a server that cannot push.
    package var syncInterval: Duration = .seconds(5)
    /// The Broker Endpoint; nil for none.
    package var broker: BrokerSettings?
    /// Whether the WIT profile of the Workload API is offered; incubating, hence off.
    package var offersWITSVIDs = false
    /// Advice for the operator, to be logged as warnings at start.
    package var advice: [String] = []

    /// The default path of the Workload API's socket.
    package static let defaultSocketPath = "/tmp/spire-agent/public/api.sock"
    /// Key types that `workload_x509_svid_key_type` accepts.
    package static let keyTypes = ["rsa-2048", "ec-p256", "ec-p384"]

    /// Makes a configuration of defaults around what has none.
    package init(
        trustDomain: String, serverAddress: String, serverPort: Int,
        keyManager: AgentKeyManagerConfiguration
    ) {
        self.trustDomain = trustDomain
        self.serverAddress = serverAddress
        self.serverPort = serverPort
        self.keyManager = keyManager
    }

    /// The settings of the log.
    package var log: LogConfiguration {
        LogConfiguration(
            level: self.logLevel, format: self.logFormat, file: self.logFile,
            sourceLocation: self.logSourceLocation)
    }
}
