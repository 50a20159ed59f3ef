package import Logging

/// The logging of one daemon: makes loggers that share a sink.
package struct LogSystem: Sendable {
    /// Where all lines go; reopen it on SIGUSR2.
    package let sink: LogSink
    private let configuration: LogConfiguration

    /// Opens the log.
    ///
    /// - Throws: ``FileError`` when the log file cannot be opened.
    package init(_ configuration: LogConfiguration) throws(FileError) {
        self.configuration = configuration
        if let file = configuration.file {
            self.sink = try LogSink(file: file)
        } else {
            self.sink = LogSink()
        }
    }

    /// Makes a logger for a subsystem, which appears as `subsystem_name`; empty for none.
    package func logger(_ subsystem: String = "") -> Logger {
        Logger(label: subsystem) { label in
            LineLogHandler(label: label, configuration: self.configuration, sink: self.sink)
        }
    }
}
