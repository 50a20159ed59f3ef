/// How long a group of appends waits for company before it is made durable together.
///
/// A sync costs the same for one leaf as for fifty, so it pays to wait until some share it; but whoever waits for company
/// that does not come waits in vain, and while all wait nobody works. So a group waits while somebody came a moment ago, up
/// to as many as make the sync cheap for each; the others come during the sync, and are the next group. An append that was
/// alone last time waits for nobody.
struct GroupGathering: Sendable, Hashable {
    /// How many appends are company enough.
    static let enough = 8
    /// For how long nobody need have come for the wait to end, in nanoseconds.
    static let quiet: UInt64 = 200_000

    /// The longest wait, in nanoseconds.
    let bound: UInt64
    /// How many appends the last group had.
    private var lastCount = 0

    /// - Parameter bound: The longest wait; zero for none. Above 5 ms counts as that.
    init(bound: Duration) {
        let (seconds, attoseconds) = min(max(bound, .zero), .milliseconds(5)).components
        self.bound = UInt64(seconds) * 1_000_000_000 + UInt64(attoseconds) / 1_000_000_000
    }

    /// Whether to wait for another ``quiet`` time, or until there are ``enough``.
    ///
    /// - Parameters:
    ///   - count: How many appends are in line.
    ///   - before: How many there were before the last wait; nil when there was none.
    ///   - waited: How long this group has waited, in nanoseconds.
    func waits(_ count: Int, before: Int?, waited: UInt64) -> Bool {
        guard self.lastCount > 1, count < Self.enough, self.bound >= Self.quiet,
            waited <= self.bound - Self.quiet
        else { return false }
        return before.map { count > $0 } ?? true
    }

    /// Notes how many appends a group has.
    mutating func note(_ count: Int) { self.lastCount = count }
}
