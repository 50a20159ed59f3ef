/// How long to wait before the next attempt: doubles from `first` to `longest`, then takes a random
/// value of the upper half, so that agents that lost one server do not come back in step.
package struct BackOff: Sendable {
    package var first: Duration
    package var longest: Duration
    private var attempts = 0

    package init(first: Duration = .milliseconds(200), longest: Duration = .seconds(30)) {
        self.first = first
        self.longest = longest
    }

    /// The wait before the next attempt; each call counts as a failure.
    ///
    /// - Parameter jitter: From 0 up to 1, random.
    package mutating func next(jitter: Double = Double.random(in: 0..<1)) -> Duration {
        var wait = self.first
        for _ in 0..<min(self.attempts, 30) {
            wait *= 2
            if wait >= self.longest { break }
        }
        self.attempts += 1
        return min(wait, self.longest) * (0.5 + 0.5 * jitter)
    }

    /// Call after a success.
    package mutating func reset() { self.attempts = 0 }
}
