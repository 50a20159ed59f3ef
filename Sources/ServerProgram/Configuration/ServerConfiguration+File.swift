import SPIFFE
import ServiceRuntime

/// What `run` and `validate` were told on the command line; nil and empty mean "not said".
struct ServerFlags: Sendable, Hashable {
    /// `-config`: the file.
    var configurationPath = "conf/server/server.conf"
    /// `-expandEnv`.
    var expandEnvironment = false
    var bindAddress: String?
    var bindPort: Int?
    var dataDirectory: String?
    var socketPath: String?
    var trustDomain: String?
    var logFile: String?
    var logFormat: String?
    var logLevel: String?
    var logSourceLocation = false

    /// Nothing said.
    init() {}
}

extension ServerConfiguration {
    /// Reads the file that the flags name and merges flags, file and defaults.
    ///
    /// - Parameter environment: For `-expandEnv`.
    /// - Throws: ``ConfigurationError``.
    init(
        flags: ServerFlags, environment: [String: String]
    ) throws(ConfigurationError) {
        let document = try ConfigurationDocument(
            readingFrom: flags.configurationPath,
            expandingEnvironment: flags.expandEnvironment ? environment : nil)
        try self.init(file: try ServerFileConfiguration(document), flags: flags)
    }

    /// Merges flags over file over defaults and checks the rules between keys.
    ///
    /// A flag that is empty, zero or false counts as not given, as in SPIRE.
    ///
    /// - Throws: ``ConfigurationError``.
    init(
        file: ServerFileConfiguration, flags: ServerFlags = ServerFlags()
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
            throw ServerConfiguration.missing("trust_domain", "-trustDomain", file)
        }
        guard let dataDirectory = flags.dataDirectory.nonEmpty ?? file.dataDirectory.nonEmpty else {
            throw ServerConfiguration.missing("data_dir", "-dataDir", file)
        }
        guard let keyManager = file.keyManager, let sqlitePath = file.sqlitePath else {
            throw ConfigurationError(
                .missingKey, "\(file.file) needs a DataStore and a KeyManager in its plugins block")
        }
        self.init(
            trustDomain: trustDomain, dataDirectory: dataDirectory, keyManager: keyManager,
            sqlitePath: sqlitePath)
        self.bindAddress =
            flags.bindAddress.nonEmpty ?? file.bindAddress.nonEmpty ?? self.bindAddress
        if let port = flags.bindPort, port != 0 {
            self.bindPort = port
        } else {
            self.bindPort = file.bindPort ?? self.bindPort
        }
        guard (0...65535).contains(self.bindPort) else {
            throw ConfigurationError(
                .invalidValue,
                "flag -serverPort: \(self.bindPort) is out of range; accepted are 0 to 65535")
        }
        self.socketPath = flags.socketPath.nonEmpty ?? file.socketPath.nonEmpty ?? self.socketPath
        self.adminIDs = file.adminIDs ?? []
        self.agentTTL = file.agentTTL
        self.defaultX509SVIDTTL = file.defaultX509SVIDTTL ?? self.defaultX509SVIDTTL
        self.defaultJWTSVIDTTL = file.defaultJWTSVIDTTL ?? self.defaultJWTSVIDTTL
        self.caTTL = file.caTTL ?? self.caTTL
        self.caKeyType = file.caKeyType ?? self.caKeyType
        self.jwtKeyType = file.jwtKeyType ?? self.caKeyType
        self.caSubject = file.caSubject ?? self.caSubject
        self.disableJWTSVIDs = file.disableJWTSVIDs ?? false
        self.jwtIssuer = file.jwtIssuer
        self.issuesWITSVIDs = file.featureFlags.contains(FeatureFlags.witSVID)
        self.witKeyType = file.witKeyType ?? self.caKeyType
        self.witIssuer = file.witIssuer
        self.auditLogEnabled = file.auditLogEnabled ?? false
        let log = try LogConfiguration(
            file: file.log, level: flags.logLevel, format: flags.logFormat, path: flags.logFile,
            sourceLocation: flags.logSourceLocation)
        self.logLevel = log.level
        self.logFormat = log.format
        self.logFile = log.file
        self.logSourceLocation = log.sourceLocation
        self.pruneAttestedNodesExpiredFor = file.pruneAttestedNodesExpiredFor
        self.pruneAttestedNodesBatchSize =
            file.pruneAttestedNodesBatchSize ?? self.pruneAttestedNodesBatchSize
        self.pruneTOFUNodes = file.pruneTOFUNodes ?? false
        self.healthChecks = file.healthChecks
        self.ratelimitAttestation = file.ratelimitAttestation ?? true
        self.ratelimitSigning = file.ratelimitSigning ?? true
        self.bundlePublishers = file.bundlePublishers
        self.federation = file.federation
        for partner in self.federation.partners { try partner.check(own: trustDomain) }
        self.revocation = file.revocation
        try self.revocation.check(issuesJWTSVIDs: !self.disableJWTSVIDs)
        self.discovery = file.discovery
        self.ledgerEndpoint = file.ledgerEndpoint
        self.ledgerWitnesses = file.ledgerWitnesses
        if let issuer = self.jwtIssuer, issuer.hasPrefix("https://") {
            // What tokens say is what discovery has to say, unless it is told otherwise.
            if self.discovery?.jwtIssuer == nil { self.discovery?.jwtIssuer = issuer }
        }
        try self.checkAddresses()
        self.advice =
            file.notes + self.adviceOnTrustDomain + self.adviceOnLifetimes + self.adviceOnWITSVIDs
            + self.adviceOnDiscovery
            + self.revocation.advice(
                isBesideBundle: self.federation.bundleEndpoint != nil)
    }

    /// Two listeners at one place are found out before anything is started.
    private func checkAddresses() throws(ConfigurationError) {
        var taken: [(name: String, address: ListeningAddress)] = [
            ("bind_port", ListeningAddress(host: self.bindAddress, port: self.bindPort))
        ]
        if self.healthChecks.listenerEnabled {
            taken.append(
                (
                    "health_checks",
                    ListeningAddress(
                        host: self.healthChecks.bindAddress, port: self.healthChecks.bindPort)
                ))
        }
        if let endpoint = self.federation.bundleEndpoint {
            taken.append(("federation.bundle_endpoint", endpoint.address))
        }
        if let address = self.revocation.address { taken.append(("revocation", address)) }
        if let endpoint = self.ledgerEndpoint { taken.append(("ledger", endpoint.address)) }
        if let address = self.discovery?.address { taken.append(("oidc_discovery", address)) }
        for (index, later) in taken.enumerated() {
            if let earlier = taken[..<index].first(where: {
                $0.address.conflicts(with: later.address)
            }) {
                throw ConfigurationError(
                    .conflict,
                    "\(later.name) and \(earlier.name) both want port \(later.address.port); each needs a port "
                        + "or an address of its own")
            }
        }
        if case .unixSocket(let path) = self.discovery?.listener, path == self.socketPath {
            throw ConfigurationError(
                .conflict,
                "listen_socket_path of oidc_discovery is the server's own socket_path; choose another path"
            )
        }
    }

    /// Who fetches keys by discovery compares `iss` with where it looked.
    private var adviceOnDiscovery: [String] {
        guard let discovery = self.discovery else { return [] }
        if self.disableJWTSVIDs {
            return ["oidc_discovery publishes no keys: disable_jwt_svids is set"]
        }
        guard let issuer = self.jwtIssuer else {
            return [
                "oidc_discovery is on and jwt_issuer of server is not set: JWT-SVIDs have no claim iss, and most "
                    + "OpenID Connect consumers refuse them"
            ]
        }
        if let other = discovery.jwtIssuer, other != issuer {
            return [
                "jwt_issuer of oidc_discovery, \(QuotedText.quoted(other)), is not that of server, "
                    + "\(QuotedText.quoted(issuer)); OpenID Connect consumers refuse tokens of another issuer"
            ]
        }
        return []
    }

    /// What an operator who switches an incubating part on should know.
    private var adviceOnWITSVIDs: [String] {
        guard self.issuesWITSVIDs else {
            return self.witIssuer == nil
                ? [] : ["wit_issuer has no effect: feature flag wit-svid is not set"]
        }
        var advice = ["WIT-SVIDs are on; their standard is incubating and may change"]
        if self.witIssuer?.hasPrefix("https://") == true {
            advice.append(
                "wit_issuer is an https address; a WIT-SVID must not be taken for an OpenID Connect token, so "
                    + "nothing may serve discovery there")
        }
        return advice
    }

    /// The grammar of SPIFFE IDs has no rules for labels, but Go's certificate parser has.
    private var adviceOnTrustDomain: [String] {
        let labels = self.trustDomain.split(separator: ".", omittingEmptySubsequences: false)
        guard labels.contains(where: \.isEmpty) else { return [] }
        return [
            "trust domain \(QuotedText.quoted(self.trustDomain)) has an empty label; programs written in Go "
                + "cannot read its X509-SVIDs; choose a name without one"
        ]
    }

    /// SVIDs that outlive what an authority can always promise may be cut short when they are issued.
    private var adviceOnLifetimes: [String] {
        let safe = min(self.caTTL / 6, .seconds(7 * 24 * 3600))
        let lifetimes: [(key: String, value: Duration?)] = [
            ("default_x509_svid_ttl", self.defaultX509SVIDTTL),
            ("default_jwt_svid_ttl", self.disableJWTSVIDs ? nil : self.defaultJWTSVIDTTL),
            ("agent_ttl", self.agentTTL),
        ]
        return lifetimes.compactMap { key, value in
            guard let value, value > safe else { return nil }
            return
                "\(key) \(GoDuration.format(value)) is longer than \(GoDuration.format(safe)), a sixth of "
                + "ca_ttl and at most 7 days; SVIDs may be issued with a shorter life"
        }
    }

    private static func missing(
        _ key: String, _ flag: String, _ file: ServerFileConfiguration
    ) -> ConfigurationError {
        ConfigurationError(
            .missingKey,
            "key \"\(key)\" of server is missing in \(file.file); add it or use the flag \(flag)")
    }
}
