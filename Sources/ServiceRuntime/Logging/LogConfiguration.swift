package import Logging

/// How log lines look.
package enum LogFormat: String, Sendable, Hashable, CaseIterable {
    /// `time="…" level=info msg="…" key=value`.
    case text
    /// One JSON object a line.
    case json
}

/// Where log lines go and which.
package struct LogConfiguration: Sendable, Hashable {
    /// Lines below this level are dropped.
    package var level: Logger.Level
    /// How a line looks.
    package var format: LogFormat
    /// The file to append to, or nil for standard error.
    package var file: String?
    /// Whether lines name the file and line of the program that wrote them.
    package var sourceLocation: Bool

    /// Makes a configuration; the defaults are those of the programs.
    package init(
        level: Logger.Level = .info, format: LogFormat = .text, file: String? = nil,
        sourceLocation: Bool = false
    ) {
        self.level = level
        self.format = format
        self.file = file
        self.sourceLocation = sourceLocation
    }

    /// The names of levels as configuration and flags take them, in any case.
    package static let levelNames = [
        "panic", "fatal", "error", "warning", "warn", "info", "debug", "trace",
    ]

    /// The level of a name in ``levelNames``, or nil. `panic` and `fatal` are the same here.
    package static func level(named name: String) -> Logger.Level? {
        switch name.lowercased() {
        case "panic", "fatal": .critical
        case "error": .error
        case "warn", "warning": .warning
        case "info": .info
        case "debug": .debug
        case "trace": .trace
        default: nil
        }
    }
}
