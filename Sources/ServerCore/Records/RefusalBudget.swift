import NIOConcurrencyHelpers

/// How many refusals of one caller are recorded: those who are refused must not be able to fill the ledger.
///
/// A hundred at once, then ten a second, for each caller; of 4,096 callers in a minute. What is beyond it is refused all
/// the same, and not recorded. The addresses of one IPv6 network of 64 bits are one caller.
package final class RefusalBudget: Sendable {
    private struct Bucket {
        var left: Double
        var at: ContinuousClock.Instant
    }

    private static let burst: Double = 100
    private static let rate: Double = 10
    private static let maximumCallers = 4_096

    private let buckets = NIOLockedValueBox<[String: Bucket]>([:])
    private let now: @Sendable () -> ContinuousClock.Instant

    /// - Parameter now: The clock that the budget fills up by; it must not run backwards.
    package init(
        now: @escaping @Sendable () -> ContinuousClock.Instant = { ContinuousClock.now }
    ) {
        self.now = now
    }

    /// Whether one more refusal of the caller is to be recorded.
    package func takes(_ caller: String) -> Bool {
        let caller = CallerNetwork.counted(caller)
        let now = self.now()
        return self.buckets.withLockedValue { buckets in
            if buckets[caller] == nil, buckets.count >= Self.maximumCallers {
                buckets = buckets.filter { $0.value.at.duration(to: now) < .seconds(60) }
                if buckets.count >= Self.maximumCallers { return false }
            }
            var bucket = buckets[caller] ?? Bucket(left: Self.burst, at: now)
            let passed = bucket.at.duration(to: now) / .seconds(1)
            bucket.left = min(Self.burst, bucket.left + max(0, passed) * Self.rate)
            bucket.at = now
            let isTaken = bucket.left >= 1
            if isTaken { bucket.left -= 1 }
            buckets[caller] = bucket
            return isTaken
        }
    }
}
