import AgentEndpoints
import SPIFFE
import ServiceRuntime

/// What `run` and `validate` were told on the command line; nil, empty and false mean "not said".
struct AgentFlags: Sendable, Hashable {
    /// `-config`: the file.
    var configurationPath = "conf/agent/agent.conf"
    /// `-expandEnv`.
    var expandEnvironment = false
    var serverAddress: String?
    var serverPort: Int?
    var dataDirectory: String?
    var socketPath: String?
    var trustDomain: String?
    var trustBundlePath: String?
    var trustBundleURL: String?
    var trustBundleFormat: String?
    var insecureBootstrap = false
    var joinToken: String?
    var joinTokenFile: String?
    var allowUnauthenticatedVerifiers = false
    var logFile: String?
    var logFormat: String?
    var logLevel: String?
    var logSourceLocation = false

    /// Nothing said.
    init() {}
}

extension AgentConfiguration {
    /// Reads the file that the flags name and merges flags, file and defaults.
    ///
    /// - Parameter environment: For `-expandEnv`.
    /// - Throws: ``ConfigurationError``.
    init(flags: AgentFlags, environment: [String: String]) throws(ConfigurationError) {
        let document = try ConfigurationDocument(
            readingFrom: flags.configurationPath,
            expandingEnvironment: flags.expandEnvironment ? environment : nil)
        try self.init(file: try AgentFileConfiguration(document), flags: flags)
    }

    /// Merges flags over file over defaults and checks the rules between keys.
    ///
    /// A flag that is empty, zero or false counts as not given, as in SPIRE.
    ///
    /// - Throws: ``ConfigurationError``.
    init(
        file: AgentFileConfiguration, flags: AgentFlags = AgentFlags()
    ) throws(ConfigurationError) {
        var trustDomain = file.trustDomain
        if let name = flags.trustDomain.nonEmpty {
            do {
                trustDomain = try TrustDomain(nameOrID: name).name
            } catch {
                throw ConfigurationError(.invalidValue, "flag -trustDomain: \(error.message)")
            }
        }
        guard let trustDomain else {
            throw AgentConfiguration.missing("trust_domain", "-trustDomain", file)
        }
        guard let address = flags.serverAddress.nonEmpty ?? file.serverAddress.nonEmpty else {
            throw AgentConfiguration.missing("server_address", "-serverAddress", file)
        }
        let flagPort = flags.serverPort == 0 ? nil : flags.serverPort
        guard let port = flagPort ?? file.serverPort else {
            throw AgentConfiguration.missing("server_port", "-serverPort", file)
        }
        guard (1...65535).contains(port) else {
            throw ConfigurationError(
                .invalidValue, "flag -serverPort: \(port) is out of range; accepted are 1 to 65535")
        }
        guard let keyManager = file.keyManager else {
            throw ConfigurationError(
                .missingKey, "\(file.file) needs a KeyManager in its plugins block")
        }
        self.init(
            trustDomain: trustDomain, serverAddress: address, serverPort: port,
            keyManager: keyManager)
        self.dataDirectory = flags.dataDirectory.nonEmpty ?? file.dataDirectory.nonEmpty ?? "."
        self.socketPath = flags.socketPath.nonEmpty ?? file.socketPath.nonEmpty ?? self.socketPath
        self.allowUnauthenticatedVerifiers =
            flags.allowUnauthenticatedVerifiers || file.allowUnauthenticatedVerifiers == true
        self.allowedForeignJWTClaims = file.allowedForeignJWTClaims ?? []
        self.workloadX509SVIDKeyType = file.workloadX509SVIDKeyType ?? self.workloadX509SVIDKeyType
        self.x509SVIDCacheMaxSize = file.x509SVIDCacheMaxSize ?? self.x509SVIDCacheMaxSize
        self.jwtSVIDCacheMaxSize = file.jwtSVIDCacheMaxSize ?? self.jwtSVIDCacheMaxSize
        self.availabilityTarget = file.availabilityTarget
        self.unixAttestor = file.unixAttestor ?? self.unixAttestor
        let log = try LogConfiguration(
            file: file.log, level: flags.logLevel, format: flags.logFormat, path: flags.logFile,
            sourceLocation: flags.logSourceLocation)
        self.logLevel = log.level
        self.logFormat = log.format
        self.logFile = log.file
        self.logSourceLocation = log.sourceLocation
        self.healthChecks = file.healthChecks
        self.syncInterval = file.syncInterval ?? self.syncInterval
        self.broker = file.broker?.settings
        try self.broker?.checkDirectory(against: self.socketPath)
        self.offersWITSVIDs = file.featureFlags.contains(FeatureFlags.witSVID)
        self.advice = file.notes
        if self.offersWITSVIDs {
            self.advice.append("WIT-SVIDs are on; their standard is incubating and may change")
        }
        try self.mergeBootstrap(file, flags)
    }

    private mutating func mergeBootstrap(
        _ file: AgentFileConfiguration, _ flags: AgentFlags
    ) throws(ConfigurationError) {
        self.joinToken = flags.joinToken.nonEmpty ?? file.joinToken
        self.joinTokenFile = flags.joinTokenFile.nonEmpty ?? file.joinTokenFile
        if self.joinToken != nil, self.joinTokenFile != nil {
            throw ConfigurationError(
                .conflict, "join_token and join_token_file exclude each other; keep one of them")
        }
        self.trustBundlePath = flags.trustBundlePath.nonEmpty ?? file.trustBundlePath
        self.trustBundleURL = flags.trustBundleURL.nonEmpty ?? file.trustBundleURL
        self.insecureBootstrap = flags.insecureBootstrap || file.insecureBootstrap == true
        self.trustBundleFormat = file.trustBundleFormat ?? .pem
        if let name = flags.trustBundleFormat.nonEmpty {
            guard let format = TrustBundleFormat(rawValue: name.lowercased()) else {
                throw ConfigurationError(
                    .invalidValue,
                    "flag -trustBundleFormat: \(QuotedText.quoted(name)) is no format; expected pem or spiffe"
                )
            }
            self.trustBundleFormat = format
        }
        let sources = [
            self.trustBundlePath != nil, self.trustBundleURL != nil, self.insecureBootstrap,
        ].count { $0 }
        if sources != 1 {
            throw ConfigurationError(
                sources == 0 ? .missingKey : .conflict,
                "\(file.file) must have exactly one of trust_bundle_path, trust_bundle_url and "
                    + "insecure_bootstrap in its agent block; it has \(sources)")
        }
        if let url = self.trustBundleURL, !url.hasPrefix("https://") {
            throw ConfigurationError(
                .invalidValue, "trust_bundle_url \(QuotedText.quoted(url)) must begin with https://"
            )
        }
    }

    private static func missing(
        _ key: String, _ flag: String, _ file: AgentFileConfiguration
    ) -> ConfigurationError {
        ConfigurationError(
            .missingKey,
            "key \"\(key)\" of agent is missing in \(file.file); add it or use the flag \(flag)")
    }
}
