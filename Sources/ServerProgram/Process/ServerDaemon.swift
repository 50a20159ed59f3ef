import Foundation
import Logging
import ServiceRuntime

/// The server as a daemon: log, signals, and a bounded end.
package enum ServerDaemon {
    /// How long open calls may go on after a signal to stop.
    private static let drainTime = Duration.seconds(10)

    /// Runs the server until SIGTERM or SIGINT.
    package static func run(_ configuration: ServerConfiguration) async throws {
        umask(0o027)
        OpenFileLimit.raise()
        let log = try LogSystem(configuration.log)
        let logger = log.logger()
        for advice in configuration.advice { logger.warning("\(advice)") }
        let process = ServerProcess(configuration, logger: logger)
        let signals = Task {  // Ends with the server, below.
            await DaemonSignals.handle(
                log: log, logger: logger, drainTime: Self.drainTime,
                socketPath: configuration.socketPath, stop: process.shutDown)
        }
        defer { signals.cancel() }
        try await process.run()
    }

    /// Checks what the configuration file alone does not show; there are no external plugins to ask yet.
    package static func validate(_ configuration: ServerConfiguration) async throws -> [String] {
        []
    }
}
