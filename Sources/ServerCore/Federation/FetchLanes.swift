/// A bound on what is fetched at a time: one for partners that answer, another for those that timed out last, so that
/// those that hang hold up each other only.
actor FetchLanes {
    enum Lane: Hashable, Sendable { case normal, slow }

    private var free: [Lane: Int]
    private var queues: [Lane: [CheckedContinuation<Void, Never>]] = [:]

    init(normal: Int, slow: Int) {
        self.free = [.normal: max(1, normal), .slow: max(1, slow)]
    }

    /// Runs `body` once there is a place.
    func taken<Result: Sendable>(
        _ lane: Lane, _ body: @Sendable () async throws -> Result
    ) async rethrows -> Result {
        if let count = self.free[lane], count > 0 {
            self.free[lane] = count - 1
        } else {
            await withCheckedContinuation { self.queues[lane, default: []].append($0) }
        }
        defer {
            if self.queues[lane]?.isEmpty == false, let next = self.queues[lane]?.removeFirst() {
                next.resume()
            } else {
                self.free[lane, default: 0] += 1
            }
        }
        return try await body()
    }
}
