import Testing

@testable import SPIFFEWorkloadAPI

@Suite("When a stream is opened again") struct RetryPolicyTests {
    private let unavailable = WorkloadAPIError(.unavailable, "away")

    private func wait(_ action: RetryPolicy.Action) throws -> Duration {
        guard case .retry(let wait) = action else {
            throw WorkloadAPIError(.failed, "gave up")
        }
        return wait
    }

    @Test("WEP-17: waits double up to the cap, and jitter takes the upper half")
    func doubling() throws {
        var policy = RetryPolicy(first: .seconds(1), longest: .seconds(5))
        var waits: [Duration] = []
        for jitter in [1.0, 1.0, 1.0, 1.0, 0.0, 0.5] {
            waits.append(
                try self.wait(
                    policy.action(
                        after: .failed(self.unavailable), hadMessages: false, lasted: .zero,
                        jitter: jitter)))
        }
        #expect(
            waits == [
                .seconds(1), .seconds(2), .seconds(4), .seconds(5), .seconds(2.5), .seconds(3.75),
            ])
    }

    @Test("A message starts the waits over")
    func reset() throws {
        var policy = RetryPolicy(first: .seconds(1), longest: .seconds(60))
        for _ in 0..<4 {
            _ = policy.action(after: .failed(self.unavailable), hadMessages: false, lasted: .zero)
        }
        let wait = try self.wait(
            policy.action(
                after: .failed(self.unavailable), hadMessages: true, lasted: .zero, jitter: 1))
        #expect(wait == .seconds(1))
    }

    @Test("WAPI-08: a clean end is followed by a new stream at once, but not in a busy loop")
    func cleanEnd() throws {
        var policy = RetryPolicy(first: .seconds(1), longest: .seconds(60))
        func ended(after: Duration) throws -> Duration {
            try self.wait(
                policy.action(after: .clean, hadMessages: true, lasted: after, jitter: 1))
        }
        #expect(try ended(after: .zero) == .zero)
        #expect(try ended(after: .zero) == .seconds(1))
        #expect(try ended(after: .seconds(2)) == .zero)
        #expect(try ended(after: .seconds(2)) == .zero)
    }

    @Test(
        "WEP-15, WEP-20: some errors end it",
        arguments: [WorkloadAPIError.Code.invalidRequest, .notSupported, .stopped])
    func fatal(code: WorkloadAPIError.Code) {
        var policy = RetryPolicy(first: .seconds(1), longest: .seconds(60))
        let action = policy.action(
            after: .failed(WorkloadAPIError(code, "no")), hadMessages: true, lasted: .seconds(9))
        guard case .giveUp(let error) = action else {
            Issue.record("it wants to try again")
            return
        }
        #expect(error.code == code)
    }

    @Test(
        "WEP-17, WEP-19: others do not",
        arguments: [
            WorkloadAPIError.Code.unavailable, .noIdentity, .failed, .deadlineExceeded,
            .invalidResponse,
        ])
    func transient(code: WorkloadAPIError.Code) throws {
        var policy = RetryPolicy(first: .seconds(1), longest: .seconds(60))
        let wait = try self.wait(
            policy.action(
                after: .failed(WorkloadAPIError(code, "no")), hadMessages: false, lasted: .zero,
                jitter: 0))
        #expect(wait == .milliseconds(500))
    }
}
