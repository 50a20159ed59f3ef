/// How far the records of processes on disk are, and who waits for them.
///
/// A state machine without I/O. One write at a time, of everything as it is then; what changes meanwhile goes into the next
/// one. So a thousand processes that come at once cost two writes.
struct ServedRecording: Sendable {
    /// The numbers of the newest changes.
    struct Mark: Sendable, Hashable {
        /// Of ``ServedProcesses``.
        var served: UInt64
        /// Of ``WorkloadEndReports``.
        var ends: UInt64
    }

    /// What is known of one change.
    enum Standing: Sendable {
        case recorded
        /// It is still to be written, or is being written.
        case pending
        /// Its writing has failed.
        case failed
    }

    /// False without a store: then everything counts as recorded.
    let isOn: Bool
    private var recorded = Mark(served: 0, ends: 0)
    private var underWay: Mark?
    private var failed: Mark?
    private var waiters: [@Sendable () -> Void] = []
    /// How many of those who waited for the write that failed have not heard of it yet.
    private var owed = 0

    init(isOn: Bool) { self.isOn = isOn }

    /// What to do with somebody who is to be handed something only after this change is recorded. Whoever is told of a
    /// failure may ask again: that is another attempt.
    mutating func standing(of change: UInt64) -> Standing {
        if !self.isOn || change <= self.recorded.served { return .recorded }
        if self.underWay == nil, let failed, change <= failed.served {
            // All who waited hear of this failure, or each of them would wait for an attempt of its own.
            self.owed -= 1
            if self.owed <= 0 { self.failed = nil }
            return .failed
        }
        return .pending
    }

    /// Has somebody called when the write that is next, or under way, is over; then it is to ask again.
    mutating func wait(_ waiter: @escaping @Sendable () -> Void) { self.waiters.append(waiter) }

    /// Whether to write now; then ``finished(succeeded:)`` must follow. What has failed is tried again with the next change, or
    /// when somebody asks.
    ///
    /// - Parameter mark: Of what would be written.
    mutating func begin(_ mark: Mark) -> Bool {
        guard self.isOn, self.underWay == nil, mark != self.recorded, mark != self.failed else {
            return false
        }
        self.underWay = mark
        return true
    }

    /// The write is over.
    ///
    /// - Returns: Who waits, to be called outside any lock.
    mutating func finished(succeeded: Bool) -> [@Sendable () -> Void] {
        if succeeded {
            self.recorded = self.underWay ?? self.recorded
            self.failed = nil
        } else {
            self.failed = self.underWay
            self.owed = self.waiters.count
        }
        self.underWay = nil
        defer { self.waiters = [] }
        return self.waiters
    }
}
