/// How long a group of appends waits for company before it is made durable together.
///
/// A sync costs the same for one leaf as for fifty, so the more share it the better; but whoever waits for company that
/// does not come waits in vain. The wait follows what came: it grows while appends still arrive at its end, and shrinks
/// to the last arrival when they ended before. An append that was alone last time waits for nobody.
struct GroupGathering: Sendable, Hashable {
    /// Where the wait begins and does not go below, in nanoseconds.
    static let least: UInt64 = 150_000

    /// The longest wait, in nanoseconds.
    let bound: UInt64
    /// How long a group waits now, in nanoseconds.
    private(set) var length: UInt64
    /// How many appends the last group had.
    private var lastCount = 0

    /// - Parameter bound: The longest wait; zero for none. Above 5 ms counts as that.
    init(bound: Duration) {
        let (seconds, attoseconds) = min(max(bound, .zero), .milliseconds(5)).components
        self.bound = UInt64(seconds) * 1_000_000_000 + UInt64(attoseconds) / 1_000_000_000
        self.length = min(Self.least, self.bound)
    }

    /// How long to wait, in nanoseconds, where `count` appends are in line.
    func wait(_ count: Int) -> UInt64 {
        // Alone, or as many are there as came last time: nobody else is expected.
        self.lastCount <= 1 || count > self.lastCount ? 0 : self.length
    }

    /// Notes what came of a group.
    ///
    /// - Parameters:
    ///   - count: How many appends it has.
    ///   - waited: How long it waited, in nanoseconds.
    ///   - arrival: When the last of them came, in nanoseconds since the wait began.
    mutating func note(_ count: Int, waited: UInt64, lastArrival arrival: UInt64) {
        self.lastCount = count
        guard waited > 0 else { return }
        if arrival >= self.length / 4 * 3 {
            self.length += self.length / 2
        } else if arrival < self.length / 2 {
            self.length = arrival + arrival / 2
        }
        self.length = min(max(self.length, Self.least), self.bound)
    }
}
