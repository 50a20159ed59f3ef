import NIOConcurrencyHelpers

/// Runs work that may be left behind.
///
/// gRPC's client was seen not to return after it was cancelled while it connected. An agent that waited for it would
/// never reach its server again.
final class Abandonable<Value: Sendable>: Sendable {
    private struct State {
        var waiter: CheckedContinuation<Value, any Error>?
        var task: Task<Void, Never>?
        var isCancelled = false
    }

    private let state = NIOLockedValueBox(State())
    private let grace: Duration

    /// - Parameter grace: How long the work may go on after it was cancelled.
    init(grace: Duration) { self.grace = grace }

    /// Runs the work, once. When this task is cancelled so is the work; if it has not ended `grace` later it is left to
    /// itself.
    ///
    /// - Throws: what the work throws; `CancellationError` when it was left; what ``giveUp(_:)`` was given.
    func run(_ work: @escaping @Sendable () async throws -> Value) async throws -> Value {
        try await withTaskCancellationHandler {
            try await withCheckedThrowingContinuation { waiter in
                self.state.withLockedValue { $0.waiter = waiter }
                // Ends by itself or is left behind on purpose.
                let task = Task {
                    do { self.end(.success(try await work())) } catch { self.end(.failure(error)) }
                }
                let isCancelled = self.state.withLockedValue { state in
                    state.task = task
                    return state.isCancelled
                }
                if isCancelled { self.cancel() }
            }
        } onCancel: {
            self.state.withLockedValue { $0.isCancelled = true }
            self.cancel()
        }
    }

    /// Leaves the work behind at once; ``run(_:)`` throws the error.
    func giveUp(_ error: any Error) {
        self.state.withLockedValue { $0.task }?.cancel()
        self.end(.failure(error))
    }

    private func cancel() {
        guard let task = self.state.withLockedValue({ $0.task }) else { return }
        task.cancel()
        Task {  // Ends after the grace.
            try? await Task.sleep(for: self.grace)
            self.end(.failure(CancellationError()))
        }
    }

    private func end(_ result: Result<Value, any Error>) {
        let waiter = self.state.withLockedValue { state in
            defer { state.waiter = nil }
            return state.waiter
        }
        waiter?.resume(with: result)
    }
}
