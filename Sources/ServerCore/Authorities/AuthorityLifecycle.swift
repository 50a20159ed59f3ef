/// When the authorities of one kind are prepared and activated.
///
/// Two slots: the one that signs and the next one. The next authority is prepared (made and published in the
/// bundle) when the remaining life of the current one falls below the smaller of half its lifetime and 30
/// days, and activated below the smaller of a sixth and 7 days.
package struct AuthorityLifecycle: Sendable {
    package enum Action: Sendable, Hashable {
        /// Make a new authority in this slot and publish it.
        case prepare(slot: String)
        /// Let the prepared authority sign.
        case activate
    }

    /// The authority that signs.
    package private(set) var current: JournalEntry?
    /// The prepared one, or the old one that its successor replaced.
    package private(set) var next: JournalEntry?

    /// Resumes from the journal.
    package init(_ entries: [JournalEntry]) {
        self.current = entries.last { $0.status == .active }
        let others = entries.filter { $0.slot != self.current?.slot }
        self.next = others.last { $0.status == .prepared } ?? others.last { $0.status == .old }
    }

    /// The next thing to do at that Unix time, or nil.
    package func action(at now: Int64) -> Action? {
        guard let current, current.notAfter > now else {
            if let next, next.status == .prepared, next.notAfter > now { return .activate }
            return .prepare(slot: self.current?.slot == "A" ? "B" : "A")
        }
        let lifetime = current.notAfter - current.issuedAt
        let remaining = current.notAfter - now
        let isPrepared = next?.status == .prepared && (next?.notAfter ?? 0) > now
        if isPrepared {
            return remaining < Self.activationThreshold(lifetime) ? .activate : nil
        }
        return remaining < Self.preparationThreshold(lifetime)
            ? .prepare(slot: current.slot == "A" ? "B" : "A") : nil
    }

    /// Seconds from `now` until there may be something to do; at least 1.
    package func secondsUntilDue(at now: Int64) -> Int64 {
        guard let current else { return 1 }
        let lifetime = current.notAfter - current.issuedAt
        let isPrepared = next?.status == .prepared && (next?.notAfter ?? 0) > now
        let threshold =
            isPrepared ? Self.activationThreshold(lifetime) : Self.preparationThreshold(lifetime)
        return max(1, current.notAfter - threshold - now + 1)
    }

    package mutating func prepared(_ entry: JournalEntry) { self.next = entry }

    /// Makes the prepared authority the one that signs; the other becomes old.
    package mutating func activated() {
        guard var next, next.status == .prepared else { return }
        next.status = .active
        var old = self.current
        old?.status = .old
        self.current = next
        self.next = old
    }

    /// Both slots, for the journal.
    package var entries: [JournalEntry] { [self.current, self.next].compactMap { $0 } }

    private static let day: Int64 = 86_400

    private static func preparationThreshold(_ lifetime: Int64) -> Int64 {
        min(lifetime / 2, 30 * self.day)
    }

    private static func activationThreshold(_ lifetime: Int64) -> Int64 {
        min(lifetime / 6, 7 * self.day)
    }
}
