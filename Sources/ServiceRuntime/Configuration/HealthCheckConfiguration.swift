/// Settings of the `health_checks` block: an HTTP listener for liveness and readiness.
package struct HealthCheckConfiguration: Sendable, Hashable {
    /// Whether the listener runs. Default false.
    package var listenerEnabled = false
    /// Host name or address to listen on. Default `localhost`.
    package var bindAddress = "localhost"
    /// TCP port. Default 80.
    package var bindPort = 80
    /// Path of the liveness check. Default `/live`.
    package var livePath = "/live"
    /// Path of the readiness check. Default `/ready`.
    package var readyPath = "/ready"

    /// The defaults.
    package init() {}

    /// Reads the block; nil gives the defaults.
    package init(_ section: ConfigurationSection?) throws(ConfigurationError) {
        guard var section else { return }
        self.listenerEnabled = try section.boolean("listener_enabled") ?? self.listenerEnabled
        self.bindAddress = try section.string("bind_address") ?? self.bindAddress
        self.bindPort = try section.integer("bind_port", in: 0...65535) ?? self.bindPort
        self.livePath = try HealthCheckConfiguration.path("live_path", &section) ?? self.livePath
        self.readyPath = try HealthCheckConfiguration.path("ready_path", &section) ?? self.readyPath
        try section.finish()
    }

    private static func path(
        _ key: String, _ section: inout ConfigurationSection
    ) throws(ConfigurationError) -> String? {
        try section.parsed(key, expecting: "a path that starts with \"/\"") { text in
            text.hasPrefix("/") ? text : nil
        }
    }
}

/// The `telemetry` block, of which nothing is implemented yet.
package enum TelemetryConfiguration {
    /// Checks the block: an empty one is accepted, sinks are refused by name.
    package static func check(_ section: ConfigurationSection?) throws(ConfigurationError) {
        guard var section else { return }
        try section.unsupported(
            "Prometheus", "DogStatsd", "Statsd", "M3", "InMem", "MetricPrefix",
            "EnableTrustDomainLabel",
            "EnableHostnameLabel", "AllowedPrefixes", "BlockedPrefixes", "AllowedLabels",
            "BlockedLabels",
            unless: \.asksForNothing)
        try section.finish()
    }
}
