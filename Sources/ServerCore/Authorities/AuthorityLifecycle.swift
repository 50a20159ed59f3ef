/// When the authorities of one kind are prepared, activated and dropped.
///
/// One authority signs; the next one is prepared (made and published in the bundle) when the remaining life of
/// the current one falls below the smaller of half its lifetime and 30 days, and activated below the smaller of
/// a sixth and 7 days. Each has a slot, which names its key. An old authority keeps its slot until it has expired
/// or is revoked, so that preparing another one, as often as somebody likes, never drops one that verifiers still
/// need; without such requests two slots are used in turn.
package struct AuthorityLifecycle: Sendable {
    package enum Action: Sendable, Hashable {
        /// Make a new authority in this slot and publish it.
        case prepare(slot: String)
        /// Put the prepared authority into the bundle; it was made, but whether it got there is not known.
        case publish
        /// Let the prepared authority sign.
        case activate
    }

    /// The authority that signs.
    package private(set) var current: JournalEntry?
    /// The one that signs next.
    package private(set) var prepared: JournalEntry?
    /// Those that have signed, the last one last.
    package private(set) var old: [JournalEntry]
    /// Those that go out of the bundle.
    package private(set) var withdrawn: [JournalEntry]
    /// Whether the prepared one is known to be in the bundle.
    package private(set) var isPublished: Bool

    /// Resumes from the journal.
    ///
    /// - Parameter isPublished: whether the prepared authority is in the bundle.
    package init(_ entries: [JournalEntry], isPublished: Bool = true) {
        let current = entries.last { $0.status == .active }
        let others = entries.filter { $0.slot != current?.slot }
        self.current = current
        self.prepared = others.last { $0.status == .prepared }
        self.old = others.filter { $0.status == .old }
        self.withdrawn = others.filter { $0.status == .withdrawn }
        self.isPublished = isPublished
    }

    /// The prepared one, or the old one that its successor replaced.
    package var next: JournalEntry? { self.prepared ?? self.old.last }

    /// The next thing to do at that Unix time, or nil.
    package func action(at now: Int64) -> Action? {
        let isPrepared = (self.prepared?.notAfter ?? 0) > now
        if isPrepared, !self.isPublished { return .publish }
        guard let current, current.notAfter > now else {
            return isPrepared ? .activate : self.preparation(at: now)
        }
        let lifetime = current.notAfter - current.issuedAt
        let remaining = current.notAfter - now
        if isPrepared {
            return remaining < Self.activationThreshold(lifetime) ? .activate : nil
        }
        return remaining < Self.preparationThreshold(lifetime) ? self.preparation(at: now) : nil
    }

    private func preparation(at now: Int64) -> Action? {
        self.freeSlot(at: now).map { .prepare(slot: $0) }
    }

    /// The first slot whose key nobody needs at that Unix time; nil when there is none.
    package func freeSlot(at now: Int64) -> String? {
        var taken = Set(self.withdrawn.map(\.slot))
        if let current { taken.insert(current.slot) }
        for entry in self.old + [self.prepared].compactMap({ $0 }) where entry.notAfter > now {
            taken.insert(entry.slot)
        }
        return JournalEntry.slots.first { !taken.contains($0) }
    }

    /// Seconds from `now` until there may be something to do; at least 1.
    package func secondsUntilDue(at now: Int64) -> Int64 {
        let isPrepared = (self.prepared?.notAfter ?? 0) > now
        guard let current, self.withdrawn.isEmpty, !isPrepared || self.isPublished else { return 1 }
        let lifetime = current.notAfter - current.issuedAt
        let threshold =
            isPrepared ? Self.activationThreshold(lifetime) : Self.preparationThreshold(lifetime)
        return max(1, current.notAfter - threshold - now + 1)
    }

    /// Enters a new authority. One that was prepared before and could still sign is withdrawn; old ones that have
    /// expired by then are forgotten.
    package mutating func prepared(_ entry: JournalEntry, isPublished: Bool = true) {
        if var replaced = self.prepared, replaced.slot != entry.slot {
            replaced.status = .withdrawn
            self.withdrawn.append(replaced)
        }
        self.old.removeAll { $0.slot == entry.slot || $0.notAfter <= entry.issuedAt }
        self.prepared = entry
        self.isPublished = isPublished
    }

    /// The prepared authority is in the bundle.
    package mutating func published() { self.isPublished = true }

    /// Makes the prepared authority the one that signs; the other becomes old.
    package mutating func activated() {
        guard var next = self.prepared else { return }
        next.status = .active
        if var replaced = self.current {
            replaced.status = .old
            self.old.append(replaced)
        }
        self.current = next
        self.prepared = nil
    }

    /// An old authority is to go.
    package mutating func withdraw(_ authorityID: String) {
        guard let index = self.old.firstIndex(where: { $0.authorityID == authorityID }) else {
            return
        }
        var entry = self.old.remove(at: index)
        entry.status = .withdrawn
        self.withdrawn.append(entry)
    }

    /// The authority is out of the bundle.
    package mutating func forget(_ authorityID: String) {
        self.withdrawn.removeAll { $0.authorityID == authorityID }
    }

    /// All that is known, for the journal.
    package var entries: [JournalEntry] {
        [self.current, self.prepared].compactMap { $0 } + self.old + self.withdrawn
    }

    private static let day: Int64 = 86_400

    private static func preparationThreshold(_ lifetime: Int64) -> Int64 {
        min(lifetime / 2, 30 * self.day)
    }

    private static func activationThreshold(_ lifetime: Int64) -> Int64 {
        min(lifetime / 6, 7 * self.day)
    }
}
