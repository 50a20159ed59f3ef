import NIOConcurrencyHelpers
import SPIFFE
import ServerCore

/// The keys that a discovery provider has been told by a server or an agent, and how fresh they are.
///
/// Keys stay when the source fails: tokens in circulation are judged by them. Whether the provider is well then
/// depends on how long it lasts.
final class FetchedKeys: DiscoveryKeySource {
    private struct State {
        var version: UInt64 = 0
        var bundle: JWTBundle?
        /// Since when nothing is heard from the source; at first since the start.
        var failingSince: ContinuousClock.Instant?
        /// Whether that has been said.
        var isReported = false
    }

    private let patience: Duration
    private let state: NIOLockedValueBox<State>

    /// - Parameters:
    ///   - patience: How long the source may fail before the provider is unwell.
    ///   - now: The moment of the start.
    init(patience: Duration, now: ContinuousClock.Instant = .now) {
        self.patience = patience
        self.state = NIOLockedValueBox(State(failingSince: now))
    }

    /// Five times the interval, and three minutes at least, as SPIRE's program has it.
    static func patience(interval: Duration) -> Duration { max(interval * 5, .seconds(180)) }

    var version: UInt64? {
        self.state.withLockedValue { $0.bundle == nil ? nil : $0.version }
    }

    func keys() -> JWTBundle? { self.state.withLockedValue { $0.bundle } }

    /// The source has answered.
    ///
    /// - Returns: Whether the keys differ from those before.
    @discardableResult
    func update(_ bundle: JWTBundle) -> Bool {
        self.state.withLockedValue { state in
            state.failingSince = nil
            state.isReported = false
            if state.bundle == bundle { return false }
            state.bundle = bundle
            state.version += 1
            return true
        }
    }

    /// The source has failed.
    ///
    /// - Returns: Whether this is the first failure since it last answered.
    @discardableResult
    func failed(at now: ContinuousClock.Instant = .now) -> Bool {
        self.state.withLockedValue { state in
            state.failingSince = state.failingSince ?? now
            defer { state.isReported = true }
            return !state.isReported
        }
    }

    /// Whether the source answers, or has not failed for long.
    func isLive(at now: ContinuousClock.Instant = .now) -> Bool {
        self.state.withLockedValue { state in
            state.failingSince.map { now - $0 < self.patience } ?? true
        }
    }

    /// Whether there are keys, and fresh ones.
    func isReady(at now: ContinuousClock.Instant = .now) -> Bool {
        self.version != nil && self.isLive(at: now)
    }
}
