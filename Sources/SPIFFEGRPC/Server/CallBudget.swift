import NIOConcurrencyHelpers

/// What the calls of a listener cost in memory, all together and those of each user: one connection is bounded by
/// itself, but thousands of them add up.
final class CallBudget: Sendable {
    /// Nil means any amount.
    struct Limits: Sendable {
        var calls: Int?
        /// Of one user.
        var callsPerUser: Int?
        var heldBytes: Int?
        /// Of one user.
        var heldBytesPerUser: Int?

        var isEmpty: Bool {
            self.calls == nil && self.callsPerUser == nil && self.heldBytes == nil
                && self.heldBytesPerUser == nil
        }
    }

    /// What one connection costs, or many.
    struct Load: Hashable, Sendable {
        /// Calls that are open, and those whose answers have not left.
        var calls = 0
        /// Bytes kept for them and nobody else: of requests that have come in part, of answers that are not read.
        var heldBytes = 0

        mutating func replace(_ old: Load, with new: Load) {
            self.calls += new.calls - old.calls
            self.heldBytes += new.heldBytes - old.heldBytes
        }
    }

    /// Which limits are passed, seen from one connection.
    struct Verdict: Hashable, Sendable {
        var hasTooManyCalls = false
        var holdsTooMuch = false
    }

    private struct State {
        var all = Load()
        var users: [ConnectionOrigin: Load] = [:]
    }

    private let limits: Limits
    private let state = NIOLockedValueBox(State())

    init(_ limits: Limits) { self.limits = limits }

    /// Puts what a connection costs now in the place of what it cost before.
    func update(_ origin: ConnectionOrigin?, from old: Load, to new: Load) -> Verdict {
        if self.limits.isEmpty { return Verdict() }
        return self.state.withLockedValue { state in
            state.all.replace(old, with: new)
            var verdict = Verdict(
                hasTooManyCalls: Self.exceeds(state.all.calls, self.limits.calls),
                holdsTooMuch: Self.exceeds(state.all.heldBytes, self.limits.heldBytes))
            // Root too: it is the usual user in a container. Whoever comes over TCP has shown a certificate.
            guard let origin, case .user = origin else { return verdict }
            var own = state.users[origin, default: Load()]
            own.replace(old, with: new)
            state.users[origin] = own == Load() ? nil : own
            if Self.exceeds(own.calls, self.limits.callsPerUser) { verdict.hasTooManyCalls = true }
            if Self.exceeds(own.heldBytes, self.limits.heldBytesPerUser) {
                verdict.holdsTooMuch = true
            }
            return verdict
        }
    }

    private static func exceeds(_ value: Int, _ limit: Int?) -> Bool {
        limit.map { value > $0 } ?? false
    }
}
