/// How much of a partner's lists is taken: a token bucket of bytes, without a clock.
///
/// What is fetched is sent to every agent that federates with the partner, so a partner must not cost more than a little all
/// the time. What it has saved up is spent at once, so that a real revocation waits for nothing. A document is fetched while
/// anything is left, whatever its length; what it costs beyond that is waited for afterwards.
package struct FetchBudget: Sendable, Hashable {
    /// As long as it takes to save all up.
    private let span: Duration
    private let bytesPerSecond: Int
    /// When all is saved up again. Since the moment that `now` counts from.
    private var full = Duration.zero

    /// All is saved up.
    ///
    /// - Parameters:
    ///   - burst: bytes that can be saved up; at least 1.
    ///   - bytesPerSecond: at least 1.
    package init(burst: Int, bytesPerSecond: Int) {
        self.bytesPerSecond = max(bytesPerSecond, 1)
        self.span = Self.time(max(burst, 1), self.bytesPerSecond)
    }

    /// How long nothing may be fetched; zero when something may be now.
    ///
    /// - Parameter now: the time since some fixed moment.
    package func wait(now: Duration) -> Duration {
        // At this moment nothing is left and nothing is owed: the next byte comes after it.
        max(self.full - now - self.span + .milliseconds(1), .zero)
    }

    /// Takes what something has cost.
    ///
    /// - Parameters:
    ///   - bytes: nothing when negative.
    ///   - now: as for ``wait(now:)``.
    package mutating func spend(_ bytes: Int, now: Duration) {
        self.full = max(self.full, now) + Self.time(max(bytes, 0), self.bytesPerSecond)
    }

    private static func time(_ bytes: Int, _ bytesPerSecond: Int) -> Duration {
        .seconds(Double(bytes) / Double(bytesPerSecond))
    }
}
