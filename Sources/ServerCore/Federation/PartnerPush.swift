/// Whether a partner's endpoint announces changes, and what comes next: a state machine without a clock.
///
/// An endpoint that says `Preference-Applied: wait` holds the answer to a conditional request back until its bundle is
/// another one (RFC 7240 §4.3). Then there is always one such request, and a change arrives as it happens. One that
/// does not say it, or says it and does not do it, is asked at its refresh hint.
///
/// What an endpoint does is never a reason to ask it without end: each waiting request costs one credit, of which
/// there are few, and time brings them back. Where a wait fails or ends early, ordinary attempts follow at growing
/// intervals, none longer than without all this.
package struct PartnerPush: Sendable, Hashable {
    /// What comes next.
    package enum Step: Sendable, Hashable {
        /// An ordinary attempt, which is answered at once.
        case ask(after: Duration)
        /// A request that waits for a change.
        case wait(after: Duration)
    }

    /// For how long a request asks to be held back. An SVID that proved the endpoint is checked again after that.
    package static let patience = Duration.seconds(60)
    /// Waiting requests that may follow each other without a pause.
    static let mostCredit = 8
    /// How long it takes for one more.
    static let creditInterval = Duration.seconds(10)
    /// The first wait after a setback; it doubles.
    static let firstPause = Duration.seconds(5)

    /// Whether the endpoint said that it holds answers back, when it was asked last.
    package private(set) var isOffered = false
    private var credit = Self.mostCredit
    private var setbacks = 0

    /// Nothing is known of the endpoint.
    package init() {}

    /// Notes the answer to an ordinary attempt.
    ///
    /// - Parameter applied: the wait that the endpoint says to have heeded; nil when it said nothing.
    package mutating func asked(applied: Duration?) {
        self.isOffered = applied != nil
        if applied == nil { self.setbacks = 0 }
    }

    /// Notes that an ordinary attempt has failed. Whether the endpoint offers to wait is not known any more, but
    /// that it did is a reason to come back soon.
    package mutating func askingFailed() {
        guard self.isOffered || self.setbacks > 0 else { return }
        self.isOffered = false
        self.setBack()
    }

    /// Notes the answer to a waiting request.
    ///
    /// - Parameters:
    ///   - isChanged: whether it brought another bundle.
    ///   - applied: the wait that the endpoint says to have heeded.
    ///   - elapsed: how long it took.
    package mutating func waited(isChanged: Bool, applied: Duration?, elapsed: Duration) {
        self.spend(elapsed)
        let promised = min(max(applied ?? .zero, .seconds(1)), Self.patience)
        if isChanged || (applied != nil && elapsed * 2 >= promised) {
            self.setbacks = 0
        } else {
            // It has no place for another one, is being shut down, or does not do what it says.
            self.isOffered = false
            self.setBack()
        }
    }

    /// Notes that a waiting request has failed, or that what it brought was not taken.
    package mutating func waitingFailed(elapsed: Duration) {
        self.spend(elapsed)
        self.isOffered = false
        self.setBack()
    }

    /// What comes next.
    ///
    /// - Parameters:
    ///   - ordinary: the wait until the next attempt by the refresh hint.
    ///   - jitter: 0 to 1; makes the pause after a setback up to a half shorter, so that those who waited at one
    ///     endpoint do not come back to it at the same moment.
    ///   - canWait: whether there is a bundle that an entity tag names, without which an endpoint answers at once.
    package func next(ordinary: Duration, jitter: Double, canWait: Bool) -> Step {
        if self.isOffered, canWait {
            return .wait(after: self.credit > 0 ? .zero : Self.creditInterval)
        }
        guard self.setbacks > 0, !self.isOffered else { return .ask(after: ordinary) }
        let share = min(max(jitter.isFinite ? jitter : 1, 0), 1)
        let pause = Self.firstPause * (1 << min(self.setbacks - 1, 16))
        return .ask(after: min(pause * (1 - share / 2), ordinary))
    }

    private mutating func setBack() {
        self.setbacks = min(self.setbacks + 1, 32)
    }

    /// Takes a credit for the request and adds those that its time has brought.
    private mutating func spend(_ elapsed: Duration) {
        let earned = max(elapsed, .zero) / Self.creditInterval
        self.credit = min(
            max(self.credit - 1, 0) + Int(min(earned, Double(Self.mostCredit))), Self.mostCredit)
    }
}
