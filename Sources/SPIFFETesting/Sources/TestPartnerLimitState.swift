import NIOConcurrencyHelpers
import SPIFFE

/// What the test sources know of partners' limits.
final class TestPartnerLimitState: PartnerLimitSource, Sendable {
    private let known = NIOLockedValueBox<[TrustDomain: TrustDomainLimits]>([:])
    private let observers = RevocationObservers()

    func set(_ limits: [TrustDomainLimits]) {
        self.known.withLockedValue {
            $0 = Dictionary(limits.map { ($0.trustDomain, $0) }) { _, last in last }
        }
        self.observers.notify()
    }

    func partnerLimits(for trustDomain: TrustDomain) -> TrustDomainLimits? {
        self.known.withLockedValue { $0[trustDomain] }
    }

    func observePartnerLimits(
        _ onChange: @escaping @Sendable () -> Void
    ) -> RevocationObservation? { self.observers.add(onChange) }
}
