/// Decides how long a watch waits before it calls again; does no waiting itself.
///
/// A stream that ends without error is opened again at once (Broker API §4.3), unless it did so just now. Errors
/// wait, twice as long after each; a refusal always waits longest (Broker Endpoint §6). A wait is a random value
/// of its upper half, so that the watches of a broker do not come back in step.
struct BrokerWaits: Sendable {
    /// A stream that lived less than this and ended cleanly is followed by a wait, the second time.
    private static let shortLife: Duration = .seconds(1)

    private let first: Duration
    private let longest: Duration
    private var failures = 0
    private var lastReopenWasFree = false

    init(first: Duration, longest: Duration) {
        self.first = first
        self.longest = longest
    }

    /// - Parameters:
    ///   - error: Nil after a clean end.
    ///   - hadMessages: Whether the stream had brought a message.
    ///   - lasted: How long the stream was open.
    ///   - jitter: From 0 up to 1, random.
    mutating func next(
        after error: BrokerError?, hadMessages: Bool, lasted: Duration,
        jitter: Double = Double.random(in: 0..<1)
    ) -> Duration {
        if hadMessages { self.failures = 0 }
        if let error {
            self.lastReopenWasFree = false
            if error.withdrawsWorkload { return self.longest * (0.5 + 0.5 * jitter) }
        } else {
            let isFree = !self.lastReopenWasFree || lasted >= Self.shortLife
            self.lastReopenWasFree = isFree
            if isFree { return .zero }
        }
        var wait = self.first
        for _ in 0..<min(self.failures, 30) where wait < self.longest { wait *= 2 }
        self.failures += 1
        return min(wait, self.longest) * (0.5 + 0.5 * jitter)
    }
}
