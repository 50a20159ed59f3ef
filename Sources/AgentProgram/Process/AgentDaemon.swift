import AgentEndpoints
import Foundation
import Logging
import ServiceRuntime

/// The agent as a daemon: log, signals, and a bounded end.
package enum AgentDaemon {
    /// How long open calls may go on after a signal to stop.
    private static let drainTime = Duration.seconds(5)

    /// Runs the agent until SIGTERM or SIGINT.
    package static func run(_ configuration: AgentConfiguration) async throws {
        umask(0o027)
        OpenFileLimit.raise()
        let log = try LogSystem(configuration.log)
        let logger = log.logger()
        for advice in configuration.advice { logger.warning("\(advice)") }
        let process = try AgentProcess(configuration, logger: logger)
        // Owned by this function, which cancels and awaits it.
        let agent = Task { try await process.run() }
        let signals = Task {  // Ends with the agent, below.
            await DaemonSignals.handle(
                log: log, logger: logger, drainTime: Self.drainTime,
                socketPath: configuration.socketPath, stop: agent.cancel)
        }
        defer { signals.cancel() }
        do {
            try await agent.value
        } catch {
            // What fails while the agent is being stopped is no failure.
            guard agent.isCancelled else { throw error }
        }
        unlink(configuration.socketPath)
        if let path = configuration.broker?.socketPath { unlink(path) }
        logger.info("agent stopped")
    }
}
