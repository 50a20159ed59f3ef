import NIOConcurrencyHelpers

/// Sees to it that something long begins in time: a connection that neither comes about nor fails must not hold up its
/// owner for ever.
final class Beginning: Sendable {
    private let hasBegun = NIOLockedValueBox(false)
    private let time: Duration
    private let error: any Error

    init(within time: Duration, else error: any Error) {
        self.time = time
        self.error = error
    }

    /// It has begun, and may take as long as it likes.
    func note() { self.hasBegun.withLockedValue { $0 = true } }

    /// Runs the work; if it has not begun in time it is left behind and the error thrown.
    func watch(_ work: @escaping @Sendable () async throws -> Void) async throws {
        let runner = Abandonable<Void>(grace: self.time)
        let watchdog = Task {  // Cancelled below.
            try await Task.sleep(for: self.time)
            if !self.hasBegun.withLockedValue({ $0 }) { runner.giveUp(self.error) }
        }
        defer { watchdog.cancel() }
        try await runner.run(work)
    }
}
