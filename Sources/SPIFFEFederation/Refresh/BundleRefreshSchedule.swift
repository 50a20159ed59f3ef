/// When to look for a new bundle of one trust domain: a state machine without a clock.
///
/// After a success it is the refresh hint that counts, within bounds, and a little earlier by chance, so that many clients
/// of one endpoint spread out. After a failure the next look is at the next interval as well, which is what SPIFFE
/// Federation §6.2 asks for; only while there was no success at all is it sooner, by waits that double.
public struct BundleRefreshSchedule: Sendable, Hashable {
    /// Bounds of the waits.
    public struct Limits: Sendable, Hashable {
        /// The interval when a bundle has no hint (§6.1, §6.2).
        public var defaultInterval: Duration = .seconds(300)
        /// The shortest interval, whatever the hint.
        public var minimumInterval: Duration = .seconds(60)
        /// The longest wait, whatever the hint and whatever `Retry-After` says.
        public var maximumInterval: Duration = .seconds(86_400)
        /// The first wait after a failure while there was no success.
        public var firstRetry: Duration = .seconds(5)
        /// By which part of it a wait may be shorter, by chance; 0 for never, at most 1.
        public var jitter = 0.1

        /// The defaults.
        public init() {}
    }

    /// Bounds of the waits.
    public let limits: Limits
    /// How often in a row it went wrong.
    public private(set) var failures = 0
    /// The time between two looks without jitter, as the last hint has it.
    public private(set) var interval: Duration
    /// Whether there ever was a success.
    public private(set) var hasSucceeded = false
    /// The next wait while there was no success.
    private var retry: Duration

    /// A schedule before its first look, which may be at once.
    public init(limits: Limits = Limits()) {
        self.limits = limits
        self.interval = Self.clamp(limits.defaultInterval, limits)
        self.retry = max(limits.firstRetry, .seconds(1))
    }

    /// Notes a success, also one that brought no other bundle.
    ///
    /// - Parameters:
    ///   - hint: The refresh hint of the bundle that is in force now; any value, also negative.
    ///   - generator: Where chance comes from.
    /// - Returns: How long to wait.
    public mutating func succeeded(
        hint: Duration?, using generator: inout some RandomNumberGenerator
    ) -> Duration {
        self.failures = 0
        self.hasSucceeded = true
        self.interval = Self.clamp(hint ?? self.limits.defaultInterval, self.limits)
        return self.jittered(self.interval, &generator)
    }

    /// The same with the system's randomness.
    public mutating func succeeded(hint: Duration?) -> Duration {
        var generator = SystemRandomNumberGenerator()
        return self.succeeded(hint: hint, using: &generator)
    }

    /// Notes a failure.
    ///
    /// - Parameters:
    ///   - retryAfter: How long the endpoint has asked to be left alone; heard up to the longest wait.
    ///   - generator: Where chance comes from.
    /// - Returns: How long to wait.
    public mutating func failed(
        retryAfter: Duration? = nil, using generator: inout some RandomNumberGenerator
    ) -> Duration {
        self.failures = self.failures == .max ? .max : self.failures + 1
        var wait = self.interval
        if !self.hasSucceeded {
            wait = min(self.retry, wait)
            self.retry = min(wait * 2, self.interval)
        }
        let jittered = self.jittered(wait, &generator)
        guard let retryAfter else { return jittered }
        return min(max(jittered, retryAfter), max(self.limits.maximumInterval, jittered))
    }

    /// The same with the system's randomness.
    public mutating func failed(retryAfter: Duration? = nil) -> Duration {
        var generator = SystemRandomNumberGenerator()
        return self.failed(retryAfter: retryAfter, using: &generator)
    }

    /// Within the bounds, and never less than a second, so that no setting makes a busy loop.
    private static func clamp(_ wait: Duration, _ limits: Limits) -> Duration {
        max(min(max(wait, limits.minimumInterval), limits.maximumInterval), .seconds(1))
    }

    private func jittered(
        _ wait: Duration, _ generator: inout some RandomNumberGenerator
    ) -> Duration {
        let jitter = self.limits.jitter
        guard jitter > 0 else { return wait }
        return wait * (1 - min(jitter, 1) * Double.random(in: 0..<1, using: &generator))
    }
}
