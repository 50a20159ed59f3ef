/// Lets one at a time do something that suspends, in the order of asking.
actor Turn {
    private var isTaken = false
    private var waiting: [CheckedContinuation<Void, Never>] = []

    /// Waits for its turn and runs `body`.
    nonisolated func taken<Result: Sendable>(
        _ body: @Sendable () async throws -> Result
    ) async throws -> Result {
        await self.take()
        do {
            let result = try await body()
            await self.give()
            return result
        } catch {
            await self.give()
            throw error
        }
    }

    private func take() async {
        guard self.isTaken else {
            self.isTaken = true
            return
        }
        await withCheckedContinuation { self.waiting.append($0) }
    }

    private func give() {
        if self.waiting.isEmpty {
            self.isTaken = false
        } else {
            self.waiting.removeFirst().resume()
        }
    }
}
