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
        let log = try LogSystem(configuration.log)
        let logger = log.logger()
        for advice in configuration.advice { logger.warning("\(advice)") }
        let process = ServerProcess(configuration, logger: logger)
        try await withThrowingTaskGroup(of: Bool.self) { group in
            group.addTask {
                try await process.run()
                return true
            }
            group.addTask {
                for await signal in ProcessSignal.sequence() {
                    switch signal {
                    case .terminate, .interrupt:
                        logger.info("stopping", metadata: ["signal": "\(signal)"])
                        process.shutDown()
                        try await Task.sleep(for: Self.drainTime)
                        return true
                    case .reopenLog:
                        do { try log.sink.reopen() } catch { logger.error("cannot reopen the log: \(error)") }
                    case .reloadPlugins: continue
                    }
                }
                return false
            }
            defer { group.cancelAll() }
            while let isDone = try await group.next() { if isDone { break } }
        }
    }

    /// Checks what the configuration file alone does not show; there are no external plugins to ask yet.
    package static func validate(_ configuration: ServerConfiguration) async throws -> [String] { [] }
}
