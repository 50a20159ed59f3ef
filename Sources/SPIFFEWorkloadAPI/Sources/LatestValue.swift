import NIOConcurrencyHelpers

/// The newest state of a source: read at any time, awaited until the first one, followed as a sequence.
///
/// Written by the one task that runs the source. A state may be withdrawn, then readers get the reason
/// instead; the end of the run withdraws it for good. Readers never block the writer: a sequence that is
/// not read keeps the newest state and drops those before it.
final class LatestValue<Value: Sendable>: Sendable {
    private struct Follower {
        let yield: @Sendable (Value) -> Void
        let finish: @Sendable () -> Void
    }

    private struct State {
        var hasBegun = false
        var hasEnded = false
        var value: Value?
        /// Why there is no value, or the failure since it came.
        var lastError: WorkloadAPIError?
        var waiters: [UInt64: CheckedContinuation<Void, any Error>] = [:]
        var followers: [UInt64: Follower] = [:]
        var nextKey: UInt64 = 0

        mutating func key() -> UInt64 {
            defer { self.nextKey += 1 }
            return self.nextKey
        }
    }

    private let state = NIOLockedValueBox(State())
    private let withdrawn: Value

    /// - Parameter withdrawn: What followers get when a value is withdrawn.
    init(withdrawn: Value) { self.withdrawn = withdrawn }

    /// The newest value.
    ///
    /// - Throws: The reason why there is none.
    func current() throws(WorkloadAPIError) -> Value {
        let (value, error) = self.state.withLockedValue { ($0.value, $0.lastError) }
        if let value { return value }
        throw error
            ?? WorkloadAPIError(
                .notReady, "the Workload API has sent nothing yet; await ready() first")
    }

    /// The last failure since the newest value came.
    var lastError: WorkloadAPIError? { self.state.withLockedValue { $0.lastError } }

    // MARK: Writing

    /// Marks the run as begun.
    ///
    /// - Throws: `alreadyRunning` the second time.
    func begin() throws(WorkloadAPIError) {
        let isFirst = self.state.withLockedValue { state in
            defer { state.hasBegun = true }
            return !state.hasBegun
        }
        guard isFirst else {
            throw WorkloadAPIError(.alreadyRunning, "a source runs once; make another one")
        }
    }

    func update(_ value: Value) {
        let waiters = self.state.withLockedValue {
            state -> [CheckedContinuation<Void, any Error>] in
            guard !state.hasEnded else { return [] }
            state.value = value
            state.lastError = nil
            // Under the lock, so that two updates cannot overtake each other; it does not block.
            for follower in state.followers.values { follower.yield(value) }
            defer { state.waiters = [:] }
            return Array(state.waiters.values)
        }
        for waiter in waiters { waiter.resume() }
    }

    /// Notes a failure that leaves the value in force.
    func report(_ error: WorkloadAPIError) {
        self.state.withLockedValue { if !$0.hasEnded { $0.lastError = error } }
    }

    /// Takes the value back; a new one may come.
    func withdraw(_ error: WorkloadAPIError) {
        self.state.withLockedValue { state in
            guard !state.hasEnded else { return }
            state.lastError = error
            guard state.value != nil else { return }
            state.value = nil
            for follower in state.followers.values { follower.yield(self.withdrawn) }
        }
    }

    /// Takes the value back for good and ends all waiting.
    func end(_ error: WorkloadAPIError) {
        let (waiters, followers) = self.state.withLockedValue { state in
            state.hasBegun = true
            state.hasEnded = true
            state.value = nil
            state.lastError = error
            defer {
                state.waiters = [:]
                state.followers = [:]
            }
            return (Array(state.waiters.values), Array(state.followers.values))
        }
        for waiter in waiters { waiter.resume(throwing: error) }
        for follower in followers { follower.finish() }
    }

    // MARK: Waiting

    /// Returns as soon as there is a value.
    ///
    /// - Throws: The reason for the end of the run; after `limit` the last failure, or `deadlineExceeded`;
    ///   `CancellationError`.
    func ready(within limit: Duration?) async throws {
        guard let limit else { return try await self.wait() }
        // However short the limit is: what is there need not be waited for.
        if self.state.withLockedValue({ $0.value != nil }) { return }
        try await withThrowingTaskGroup(of: Bool.self) { group in
            defer { group.cancelAll() }
            group.addTask {
                try await self.wait()
                return true
            }
            group.addTask {
                try await Task.sleep(for: limit)
                return false
            }
            if try await group.next() == true { return }
            throw self.lastError
                ?? WorkloadAPIError(
                    .deadlineExceeded, "the Workload API has sent nothing within \(limit)")
        }
    }

    private func wait() async throws {
        let key = self.state.withLockedValue { $0.key() }
        try await withTaskCancellationHandler {
            try await withCheckedThrowingContinuation { continuation in
                let answer = self.state.withLockedValue { state -> Result<Void, any Error>? in
                    if state.value != nil { return .success(()) }
                    if state.hasEnded, let error = state.lastError { return .failure(error) }
                    // A cancellation before this point found no waiter to wake.
                    if Task.isCancelled { return .failure(CancellationError()) }
                    state.waiters[key] = continuation
                    return nil
                }
                if let answer { continuation.resume(with: answer) }
            }
        } onCancel: {
            let waiter = self.state.withLockedValue { $0.waiters.removeValue(forKey: key) }
            waiter?.resume(throwing: CancellationError())
        }
    }

    /// Parts of the values from now on, the present one first; ends with the run.
    func follow<Element: Sendable>(
        _ part: @escaping @Sendable (Value) -> Element
    ) -> AsyncStream<Element> {
        let (stream, continuation) = AsyncStream.makeStream(
            of: Element.self, bufferingPolicy: .bufferingNewest(1))
        let follower = Follower(
            yield: { continuation.yield(part($0)) }, finish: { continuation.finish() })
        let key = self.state.withLockedValue { state -> UInt64? in
            guard !state.hasEnded else { return nil }
            let key = state.key()
            state.followers[key] = follower
            if let value = state.value { follower.yield(value) }
            return key
        }
        guard let key else {
            continuation.finish()
            return stream
        }
        continuation.onTermination = { [weak self] _ in
            _ = self?.state.withLockedValue { $0.followers.removeValue(forKey: key) }
        }
        return stream
    }
}
