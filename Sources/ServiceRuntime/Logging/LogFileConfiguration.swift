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

extension LogConfiguration {
    /// Merges flags over file over defaults.
    ///
    /// - Parameters:
    ///   - file: What the file says.
    ///   - level: `-logLevel`; nil or empty when not given.
    ///   - format: `-logFormat`; nil or empty when not given.
    ///   - path: `-logFile`; nil or empty when not given.
    ///   - sourceLocation: `-logSourceLocation`.
    /// - Throws: ``ConfigurationError`` with `invalidValue` for a level or format nobody knows.
    package init(
        file: LogFileConfiguration, level: String?, format: String?, path: String?,
        sourceLocation: Bool
    ) throws(ConfigurationError) {
        self.init(
            level: file.level ?? .info, format: file.format ?? .text, file: file.file,
            sourceLocation: sourceLocation || file.sourceLocation == true)
        if let name = level.nonEmpty {
            guard let level = LogConfiguration.level(named: name) else {
                throw ConfigurationError(
                    .invalidValue,
                    "flag -logLevel: \(QuotedText.quoted(name)) is no level; expected one of "
                        + LogConfiguration.levelNames.joined(separator: ", "))
            }
            self.level = level
        }
        if let name = format.nonEmpty {
            guard let format = LogFormat(rawValue: name.lowercased()) else {
                throw ConfigurationError(
                    .invalidValue,
                    "flag -logFormat: \(QuotedText.quoted(name)) is no format; expected text or json"
                )
            }
            self.format = format
        }
        self.file = path.nonEmpty ?? self.file
    }
}

extension Optional where Wrapped == String {
    /// The text, or nil when it is empty: an empty flag or key counts as absent.
    package var nonEmpty: String? {
        if let self, !self.isEmpty { self } else { nil }
    }
}
