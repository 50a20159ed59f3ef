/// Decides what a watch does when its stream has ended; does no waiting itself.
///
/// A stream that ends without error is opened again at once (Workload API §4.2), unless it did so just
/// now: a server that closes each stream is not worth a busy loop. Errors wait, twice as long after each
/// and at most `longest`; the wait is a random value of its upper half, so that the workloads of a host
/// do not come back in step. A message that arrived starts the waits over.
struct RetryPolicy: Sendable {
    /// How a stream ended.
    enum End: Sendable {
        /// The server ended it with OK.
        case clean
        /// It failed.
        case failed(WorkloadAPIError)
    }

    /// What to do.
    enum Action: Sendable {
        /// Open a new stream after this long.
        case retry(after: Duration)
        /// Report the error; do not call again.
        case giveUp(WorkloadAPIError)
    }

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
    ///   - hadMessages: Whether the stream had brought a message.
    ///   - lasted: How long the stream was open.
    ///   - jitter: From 0 up to 1, random.
    mutating func action(
        after end: End, hadMessages: Bool, lasted: Duration,
        jitter: Double = Double.random(in: 0..<1)
    ) -> Action {
        if hadMessages { self.failures = 0 }
        switch end {
        case .failed(let error):
            self.lastReopenWasFree = false
            guard error.isRetryable else { return .giveUp(error) }
        case .clean:
            let isFree = !self.lastReopenWasFree || lasted >= Self.shortLife
            self.lastReopenWasFree = isFree
            if isFree { return .retry(after: .zero) }
        }
        return .retry(after: self.wait(jitter: jitter))
    }

    private mutating func wait(jitter: Double) -> Duration {
        var wait = self.first
        for _ in 0..<min(self.failures, 30) where wait < self.longest { wait *= 2 }
        self.failures += 1
        return min(wait, self.longest) * (0.5 + 0.5 * jitter)
    }
}
