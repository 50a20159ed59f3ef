import NIOConcurrencyHelpers
package import SPIFFE

/// One state of a trust domain's revocations as it was published: made once, shared by all sessions.
package final class PublishedRevocations: Sendable {
    /// The trust domain's lists and tokens.
    package let state: TrustDomainLists
    /// As given to ``RevocationAudience/publish(_:number:)``.
    package let number: UInt64
    /// What an agent that holds the state before this one lacks; nil when tokens have left the set, so that only the
    /// whole set will do, and when there is none before.
    package let addedTokens: Set<[UInt8]>?
    /// Number of the state that ``addedTokens`` add to.
    let precedingNumber: UInt64?
    private let forms = NIOLockedValueBox<(whole: (any Sendable)?, addition: (any Sendable)?)>(
        (nil, nil))

    init(
        _ state: TrustDomainLists, number: UInt64, after preceding: PublishedRevocations?
    ) {
        self.state = state
        self.number = number
        self.precedingNumber = preceding?.number
        if let preceding, preceding.state.revokedTokens.isSubset(of: state.revokedTokens) {
            self.addedTokens = state.revokedTokens.subtracting(preceding.state.revokedTokens)
        } else {
            self.addedTokens = nil
        }
    }

    package var trustDomain: TrustDomain { self.state.trustDomain }

    /// The form on the wire, made by the first who needs it and shared by the others. One type per state.
    ///
    /// - Parameter isAddition: for agents that hold the state before this one.
    package func form<Form: Sendable>(isAddition: Bool, _ make: () -> Form) -> Form {
        if let form = self.forms.withLockedValue({ isAddition ? $0.addition : $0.whole }) as? Form {
            return form
        }
        let made = make()
        return self.forms.withLockedValue { forms in
            if let first = (isAddition ? forms.addition : forms.whole) as? Form { return first }
            if isAddition { forms.addition = made } else { forms.whole = made }
            return made
        }
    }
}

/// What a session is to be told of one trust domain.
package struct RevocationNews: Sendable {
    /// The state to be told, or what is new in it.
    package let published: PublishedRevocations
    /// The agent holds the state before: ``PublishedRevocations/addedTokens`` are all it lacks of the tokens.
    package let isAddition: Bool
}

/// What one session's agent has been told of revocations, what it is to be told, and what it has confirmed.
///
/// States that were not taken yet are joined per trust domain, the newest winning. Those of partners have numbers of their
/// own, and nobody waits for their confirmation.
struct SessionRevocations {
    /// Numbers of the states that one update carried.
    private struct Asked {
        var lowest: UInt64
        var highest: UInt64
    }

    /// Somebody who waits for a number.
    struct Waiter {
        let number: UInt64
        /// Called once: true when the state is confirmed, false when the session has ended.
        let body: @Sendable (Bool) -> Void
    }

    /// Updates whose confirmation is remembered one by one; beyond that they are taken together.
    private static let mostAsked = 16

    /// The trust domain whose numbers agents confirm.
    private let own: TrustDomain
    private var told: [TrustDomain: UInt64] = [:]
    private var pending: [TrustDomain: PublishedRevocations] = [:]
    private var removed: Set<TrustDomain> = []
    /// Lowest number among the states that were put here since the last update was taken; not lowered by joining.
    private var lowestPending: UInt64?
    private var asked: [Asked] = []
    private(set) var hasConfirmed = false
    /// When the agent was first asked.
    private(set) var firstAsked: ContinuousClock.Instant?
    private var waiters: [UInt64: Waiter] = [:]
    private var nextWaiter: UInt64 = 1

    init(own: TrustDomain) { self.own = own }

    var hasNews: Bool { !self.pending.isEmpty || !self.removed.isEmpty }

    /// - Returns: whether there is something new to tell.
    mutating func upsert(_ published: PublishedRevocations) -> Bool {
        let trustDomain = published.trustDomain
        self.removed.remove(trustDomain)
        if self.told[trustDomain] == published.number {
            return false
        }
        self.pending[trustDomain] = published
        if trustDomain == self.own {
            self.lowestPending = min(self.lowestPending ?? .max, published.number)
        }
        return true
    }

    /// - Returns: whether there is something new to tell.
    mutating func remove(_ trustDomain: TrustDomain) -> Bool {
        self.pending[trustDomain] = nil
        if trustDomain == self.own { self.lowestPending = nil }
        guard self.told.removeValue(forKey: trustDomain) != nil else { return false }
        self.removed.insert(trustDomain)
        return true
    }

    mutating func take() -> (news: [RevocationNews], removed: [TrustDomain], confirm: UInt64) {
        guard self.hasNews else { return ([], [], 0) }
        let news = self.pending.values.sorted { $0.trustDomain < $1.trustDomain }.map {
            RevocationNews(
                published: $0,
                isAddition: $0.addedTokens != nil && $0.precedingNumber == self.told[$0.trustDomain]
                    && $0.precedingNumber != nil)
        }
        for (trustDomain, published) in self.pending { self.told[trustDomain] = published.number }
        let removed = self.removed.sorted()
        let isOwn = self.pending[self.own] != nil
        // An update is complete for agents with the message that asks. One of partners only repeats what they were asked
        // before: to confirm that again says nothing new.
        let confirm = news.isEmpty ? 0 : max(self.told[self.own] ?? 0, 1)
        if isOwn {
            if self.firstAsked == nil { self.firstAsked = .now }
            let asked = Asked(lowest: min(self.lowestPending ?? confirm, confirm), highest: confirm)
            if self.asked.count < Self.mostAsked {
                self.asked.append(asked)
            } else {
                // Confirmed only with the last of them.
                self.asked[self.asked.count - 1].highest = max(
                    self.asked[self.asked.count - 1].highest, confirm)
            }
        }
        self.pending = [:]
        self.removed = []
        self.lowestPending = nil
        return (news, removed, confirm)
    }

    /// Whether the agent has confirmed all that it was given up to that number.
    func holds(_ number: UInt64) -> Bool {
        if let lowestPending, lowestPending <= number { return false }
        return self.asked.allSatisfy { $0.lowest > number }
    }

    /// - Returns: those whose wait is over.
    mutating func confirm(_ number: UInt64) -> [Waiter] {
        self.hasConfirmed = true
        self.asked.removeAll { $0.highest <= number }
        let done = self.waiters.filter { self.holds($0.value.number) }
        for id in done.keys { self.waiters[id] = nil }
        return Array(done.values)
    }

    mutating func add(_ waiter: Waiter) -> UInt64 {
        let id = self.nextWaiter
        self.nextWaiter += 1
        self.waiters[id] = waiter
        return id
    }

    mutating func forget(waiter id: UInt64) { self.waiters[id] = nil }

    mutating func takeWaiters() -> [Waiter] {
        defer { self.waiters = [:] }
        return Array(self.waiters.values)
    }
}
