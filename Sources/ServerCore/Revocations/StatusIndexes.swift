/// Hands out places in the status list, each to one live token, and takes them back.
///
/// A place that a revoked token had rests for a while before another token gets it: somewhere a list from before is
/// still held. So does one that was handed out and never used.
struct StatusIndexes: Sendable {
    /// Seconds.
    static let rest: Int64 = 3_600

    private var next: Int64 = 0
    private var free: [Int64] = []
    /// Places that rest, and until when; in the order of the times.
    private var resting: [(index: Int64, until: Int64)] = []
    private var firstResting = 0
    /// Places that were handed out for tokens that are not admitted yet, and when.
    private var pending: [Int64: Int64] = [:]
    private var pendingOrder: [(index: Int64, since: Int64)] = []
    private var firstPending = 0

    /// The length of the list: every place in use is below.
    var count: Int64 { self.next }

    mutating func take(now: Int64) -> Int64 {
        self.collect(now)
        let index: Int64
        if let freed = self.free.popLast() {
            index = freed
        } else {
            index = self.next
            self.next += 1
        }
        self.pending[index] = now
        self.pendingOrder.append((index, now))
        return index
    }

    /// The token with this place is admitted.
    ///
    /// - Returns: false when that took so long that the place was given away.
    mutating func use(_ index: Int64) -> Bool { self.pending.removeValue(forKey: index) != nil }

    /// The token with this place is not released, or has expired.
    mutating func release(_ index: Int64, wasRevoked: Bool, now: Int64) {
        self.pending[index] = nil
        if wasRevoked {
            self.resting.append((index, now + Self.rest))
        } else {
            self.free.append(index)
        }
    }

    /// Takes over what was in use before a restart; what is not among it rests.
    mutating func restore(_ used: Set<Int64>, now: Int64) {
        guard let last = used.max(), last >= self.next else { return }
        for index in self.next...last where !used.contains(index) {
            self.resting.append((index, now + Self.rest))
        }
        self.next = last + 1
    }

    private mutating func collect(_ now: Int64) {
        while self.firstResting < self.resting.count, self.resting[self.firstResting].until <= now {
            self.free.append(self.resting[self.firstResting].index)
            self.firstResting += 1
        }
        if self.firstResting > 1_024, self.firstResting * 2 > self.resting.count {
            self.resting.removeFirst(self.firstResting)
            self.firstResting = 0
        }
        while self.firstPending < self.pendingOrder.count {
            let (index, since) = self.pendingOrder[self.firstPending]
            let isPending = self.pending[index] == since
            guard !isPending || since + Self.rest <= now else { break }
            if isPending {
                self.pending[index] = nil
                self.free.append(index)
            }
            self.firstPending += 1
        }
        if self.firstPending > 1_024, self.firstPending * 2 > self.pendingOrder.count {
            self.pendingOrder.removeFirst(self.firstPending)
            self.firstPending = 0
        }
    }
}
