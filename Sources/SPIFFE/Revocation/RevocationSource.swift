import NIOConcurrencyHelpers

/// Where it is known which SVIDs were taken back.
///
/// The sources of the Workload API are such sources; verifiers that are given one of them for bundles ask it without
/// being told to. Answers are asked for at each verification: an implementer hands out what it has now, without
/// blocking.
public protocol RevocationSource: Sendable {
    /// What is known about SVIDs of exactly this trust domain.
    ///
    /// - Returns: nil when nothing is known, as with an agent that has no revocation. Then nothing is refused for it.
    func revocations(for trustDomain: TrustDomain) -> TrustDomainRevocations?

    /// Asks to be told of changes, for those who keep connections open.
    ///
    /// - Parameter onChange: Called after each change, perhaps from several threads; must be quick.
    /// - Returns: What keeps the calls coming, until it is let go. Nil from a source that never changes.
    func observeRevocations(_ onChange: @escaping @Sendable () -> Void) -> RevocationObservation?
}

extension RevocationSource {
    /// Never changes.
    public func observeRevocations(
        _ onChange: @escaping @Sendable () -> Void
    ) -> RevocationObservation? { nil }
}

/// Keeps calls about changes, of revocations or of partners' limits, coming as long as somebody holds it.
public final class RevocationObservation: Sendable {
    private let onEnd: @Sendable () -> Void

    /// - Parameter onEnd: Called once, when nobody holds it any more.
    public init(onEnd: @escaping @Sendable () -> Void) { self.onEnd = onEnd }

    deinit { self.onEnd() }
}

/// Those who want to be told of changes; for implementers of ``RevocationSource`` and ``PartnerLimitSource``.
package final class RevocationObservers: Sendable {
    private struct State {
        var bodies: [UInt64: @Sendable () -> Void] = [:]
        var next: UInt64 = 0
    }

    private let state = NIOLockedValueBox(State())

    package init() {}

    /// Adds one.
    package func add(_ body: @escaping @Sendable () -> Void) -> RevocationObservation {
        let key = self.state.withLockedValue { state in
            defer { state.next += 1 }
            state.bodies[state.next] = body
            return state.next
        }
        return RevocationObservation { [weak self] in
            _ = self?.state.withLockedValue { $0.bodies.removeValue(forKey: key) }
        }
    }

    /// Tells all of them, outside of the lock.
    package func notify() {
        let bodies = self.state.withLockedValue { Array($0.bodies.values) }
        for body in bodies { body() }
    }
}

extension TrustDomainRevocations: RevocationSource {
    /// Itself for its own trust domain, nil for any other.
    public func revocations(for trustDomain: TrustDomain) -> TrustDomainRevocations? {
        trustDomain == self.trustDomain ? self : nil
    }
}
