import Foundation
import Logging
import SPIFFE
import SPIFFEWorkloadAPI
import ServiceRuntime

/// A file of `oidc-discovery-provider`, SPIRE's separate program for OpenID Connect discovery.
struct DiscoveryProviderConfiguration: Sendable, Hashable {
    /// Where the keys are taken from.
    enum Source: Sendable, Hashable {
        /// A server's local API, asked every so often.
        case serverAPI(socketPath: String, interval: Duration)
        /// An agent's Workload API, which tells of changes; and whose keys.
        case workloadAPI(WorkloadAPIAddress, TrustDomain, interval: Duration)

        /// `poll_interval`.
        var interval: Duration {
            switch self {
            case .serverAPI(_, let interval), .workloadAPI(_, _, let interval): interval
            }
        }
    }

    let discovery: DiscoveryConfiguration
    let source: Source
    let log: LogConfiguration
    /// `log_requests`: one line a request at level debug.
    let logsRequests: Bool
    let healthChecks: HealthCheckConfiguration
    /// What is worth telling the operator.
    let notes: [String]

    /// - Throws: ``ConfigurationError``.
    init(_ document: ConfigurationDocument) throws(ConfigurationError) {
        var root = try document.section()
        self.discovery = try DiscoveryConfiguration(reading: &root)
        self.source = try Self.source(&root)
        let level = try root.choice("log_level", among: LogConfiguration.levelNames)
        let format = try root.choice("log_format", among: LogFormat.allCases.map(\.rawValue) + [""])
        self.log = LogConfiguration(
            level: level.flatMap { LogConfiguration.level(named: $0) } ?? .info,
            format: format.flatMap { LogFormat(rawValue: $0) } ?? .text,
            file: try root.string("log_path").nonEmpty)
        self.logsRequests = try root.boolean("log_requests") ?? false
        self.healthChecks = try Self.healthChecks(try root.section("health_checks"))
        try root.unsupported("experimental", unless: \.asksForNothing)
        try root.finish()
        self.notes = root.notes
        if let address = self.discovery.address, self.healthChecks.listenerEnabled,
            address.conflicts(
                with: ListeningAddress(host: "localhost", port: self.healthChecks.bindPort))
        {
            throw ConfigurationError(
                .conflict, "health_checks and the provider both want port \(address.port)")
        }
    }

    private static func source(
        _ root: inout ConfigurationSection
    ) throws(ConfigurationError) -> Source {
        try root.unsupported("file", unless: \.asksForNothing)
        let server = try root.section("server_api")
        let workload = try root.section("workload_api")
        if server != nil, let workload {
            throw ConfigurationError(
                .conflict, "workload_api at \(workload.location) and server_api exclude each other")
        }
        if let server { return try Self.serverAPI(server) }
        if let workload { return try Self.workloadAPI(workload) }
        throw root.missing("server_api", "it names the server's local API; or use workload_api")
    }

    private static func serverAPI(
        _ section: ConfigurationSection
    ) throws(ConfigurationError) -> Source {
        var block = section
        let path = try block.parsed(
            "address", expecting: "a Unix socket such as \"unix:///run/cygnet/server/api.sock\""
        ) { text -> String? in
            guard text.hasPrefix("unix:") else { return nil }
            var path = text.dropFirst("unix:".count)
            if path.hasPrefix("//") { path = path.dropFirst(2) }
            return path.isEmpty ? nil : String(path)
        }
        guard let path else {
            throw block.missing(
                "address", "it is the server's socket, such as \"unix:///…/api.sock\"")
        }
        let interval = try Self.interval(&block)
        try block.finish()
        return .serverAPI(socketPath: path, interval: interval)
    }

    private static func workloadAPI(
        _ section: ConfigurationSection
    ) throws(ConfigurationError) -> Source {
        var block = section
        let address = try block.parsed("socket_path", expecting: "the path of a Unix socket") {
            text -> WorkloadAPIAddress? in
            guard !text.isEmpty else { return nil }
            let path = URL(fileURLWithPath: text).path
            // The address has escapes; the path has none.
            return try WorkloadAPIAddress(
                "unix:"
                    + path.replacing("%", with: "%25").replacing("?", with: "%3F")
                    .replacing("#", with: "%23"))
        }
        guard let address else {
            throw block.missing("socket_path", "it is the agent's socket")
        }
        let trustDomain = try block.parsed(
            "trust_domain", expecting: "a trust domain such as \"example.org\""
        ) { try TrustDomain(nameOrID: $0) }
        guard let trustDomain else {
            throw block.missing("trust_domain", "it says whose keys are published")
        }
        let interval = try Self.interval(&block)
        try block.finish()
        return .workloadAPI(address, trustDomain, interval: interval)
    }

    private static func interval(
        _ block: inout ConfigurationSection
    ) throws(ConfigurationError) -> Duration {
        let interval = try block.duration("poll_interval", atLeast: .milliseconds(100))
        try block.unsupported("experimental", unless: \.asksForNothing)
        return interval ?? .seconds(10)
    }

    /// The block turns the listener on, other than that of server and agent.
    private static func healthChecks(
        _ section: ConfigurationSection?
    ) throws(ConfigurationError) -> HealthCheckConfiguration {
        var checks = HealthCheckConfiguration()
        guard var block = section else { return checks }
        checks.listenerEnabled = true
        checks.bindPort = try block.integer("bind_port", in: 0...65535) ?? 8008
        func path(_ key: String) throws(ConfigurationError) -> String? {
            try block.parsed(key, expecting: "a path that starts with \"/\"") {
                $0.hasPrefix("/") ? $0 : nil
            }
        }
        checks.livePath = try path("live_path") ?? checks.livePath
        checks.readyPath = try path("ready_path") ?? checks.readyPath
        try block.finish()
        return checks
    }
}
