/// When revocations were committed, so that `kill` can say how long the last agent took from then on.
///
/// A rule without I/O. Those that workloads cause by ending have room of their own: however many end in the moments between an
/// operator's revocation and the question about it, they displace each other only.
struct RememberedCommits: Sendable {
    /// Commits of one kind, the oldest first.
    private struct Kind {
        var instants: [String: ContinuousClock.Instant] = [:]
        var order: [String] = []

        mutating func note(_ id: String, at instant: ContinuousClock.Instant, most: Int) {
            if self.instants.updateValue(instant, forKey: id) == nil { self.order.append(id) }
            while self.order.count > most { self.instants[self.order.removeFirst()] = nil }
        }
    }

    /// Of each kind so many are remembered, and the oldest forgotten.
    static let mostOfKind = 1_000

    private let most: Int
    private var ofOperators = Kind()
    private var ofEnds = Kind()

    init(mostOfKind: Int = Self.mostOfKind) { self.most = mostOfKind }

    /// A revocation has been committed.
    mutating func note(_ revocation: Revocation, at instant: ContinuousClock.Instant) {
        if revocation.endsWithItsHits {
            self.ofEnds.note(revocation.id, at: instant, most: self.most)
        } else {
            self.ofOperators.note(revocation.id, at: instant, most: self.most)
        }
    }

    /// When it was committed; nil when that was before the start of this program, or forgotten.
    subscript(id: String) -> ContinuousClock.Instant? {
        self.ofOperators.instants[id] ?? self.ofEnds.instants[id]
    }
}
