/// Nobody waits longer for what somebody else does.
enum TimeLimit {
    /// The time was over.
    struct Exceeded: Error, CustomStringConvertible {
        let limit: Duration
        var description: String { "the endpoint did not answer within \(self.limit)" }
    }

    /// What `body` gives within the limit. Work that does not heed its cancellation is left behind.
    ///
    /// - Throws: ``Exceeded``, `CancellationError`, and what `body` throws.
    static func within<Result: Sendable>(
        _ limit: Duration, _ body: @escaping @Sendable () async throws -> Result
    ) async throws -> Result {
        let results = AsyncThrowingStream<Result, any Error>.makeStream()
        let work = Task {
            do {
                results.continuation.yield(try await body())
                results.continuation.finish()
            } catch {
                results.continuation.finish(throwing: error)
            }
        }
        let timer = Task {
            try await Task.sleep(for: limit)
            results.continuation.finish(throwing: Exceeded(limit: limit))
        }
        defer {
            work.cancel()
            timer.cancel()
        }
        for try await result in results.stream { return result }
        throw CancellationError()
    }
}
