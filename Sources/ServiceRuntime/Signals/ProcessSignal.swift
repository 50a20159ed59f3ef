import Dispatch

#if canImport(Glibc)
    import Glibc
#else
    import Darwin
#endif

/// A signal that a daemon reacts to.
package enum ProcessSignal: Sendable, Hashable, CaseIterable {
    /// SIGTERM: stop gracefully.
    case terminate
    /// SIGINT: stop gracefully.
    case interrupt
    /// SIGUSR1: read plugin settings again.
    case reloadPlugins
    /// SIGUSR2: open the log file anew.
    case reopenLog

    /// The signals as they arrive, from now until the loop over them ends.
    ///
    /// Their default effect is switched off for the rest of the process's life. Signals that arrive
    /// faster than they are read are kept, at most 16.
    package static func sequence(
        of signals: [ProcessSignal] = ProcessSignal.allCases
    ) -> AsyncStream<ProcessSignal> {
        let (stream, continuation) = AsyncStream.makeStream(
            of: ProcessSignal.self, bufferingPolicy: .bufferingNewest(16))
        let sources = SignalSources(
            signals.map { entry in
                // A dispatch source only sees signals whose own action does not end the process first.
                signal(entry.number, SIG_IGN)
                let source = DispatchSource.makeSignalSource(
                    signal: entry.number, queue: .global(qos: .userInitiated))
                source.setEventHandler { continuation.yield(entry) }
                return source
            })
        continuation.onTermination = { _ in sources.cancel() }
        sources.resume()
        return stream
    }

    private var number: CInt {
        switch self {
        case .terminate: SIGTERM
        case .interrupt: SIGINT
        case .reloadPlugins: SIGUSR1
        case .reopenLog: SIGUSR2
        }
    }
}

/// The dispatch sources behind one sequence.
///
/// `@unchecked Sendable`: the array never changes, and `resume` and `cancel` of a dispatch source may be
/// called from any thread.
private final class SignalSources: @unchecked Sendable {
    private let sources: [any DispatchSourceSignal]

    init(_ sources: [any DispatchSourceSignal]) { self.sources = sources }

    func resume() {
        for source in self.sources { source.resume() }
    }

    func cancel() {
        for source in self.sources { source.cancel() }
    }
}
