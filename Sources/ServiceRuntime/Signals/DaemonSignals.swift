import Foundation
package import Logging

/// What signals mean to a daemon.
package enum DaemonSignals {
    /// Acts on signals until the task is cancelled: SIGTERM and SIGINT stop the daemon, at the latest after
    /// `drainTime`; SIGUSR2 opens the log file anew.
    ///
    /// - Parameters:
    ///   - drainTime: How long open calls may go on. Everything acknowledged is durable already, so a client that
    ///     does not let go must not keep the daemon from ending.
    ///   - socketPath: The socket to remove when the daemon has to be ended.
    ///   - stop: Begins the end.
    package static func handle(
        log: LogSystem, logger: Logger, drainTime: Duration, socketPath: String,
        stop: @Sendable () -> Void
    ) async {
        for await signal in ProcessSignal.sequence() {
            switch signal {
            case .terminate, .interrupt:
                logger.info("stopping", metadata: ["signal": "\(signal)"])
                stop()
                do { try await Task.sleep(for: drainTime) } catch { return }
                unlink(socketPath)
                exit(0)
            case .reopenLog:
                do { try log.sink.reopen() } catch {
                    logger.error("cannot reopen the log: \(error)")
                }
            case .reloadPlugins: continue
            }
        }
    }
}
