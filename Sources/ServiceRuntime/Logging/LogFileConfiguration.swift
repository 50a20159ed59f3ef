package import Logging

/// The `log_*` keys of a `server` or `agent` block, each nil when absent.
package struct LogFileConfiguration: Sendable, Hashable {
    /// `log_level`: a name of ``LogConfiguration/levelNames`` in any case.
    package var level: Logger.Level?
    /// `log_format`: `text` or `json`.
    package var format: LogFormat?
    /// `log_file`: a path.
    package var file: String?
    /// `log_source_location`.
    package var sourceLocation: Bool?

    /// Nothing configured.
    package init() {}

    /// Reads the keys of a block.
    package init(reading section: inout ConfigurationSection) throws(ConfigurationError) {
        self.level = try section.choice("log_level", among: LogConfiguration.levelNames)
            .flatMap { LogConfiguration.level(named: $0) }
        self.format = try section.choice("log_format", among: LogFormat.allCases.map(\.rawValue))
            .flatMap { LogFormat(rawValue: $0) }
        self.file = try section.string("log_file").flatMap { $0.isEmpty ? nil : $0 }
        self.sourceLocation = try section.boolean("log_source_location")
    }
}
