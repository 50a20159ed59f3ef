import NIOConcurrencyHelpers
import SPIFFE

/// What the test sources know of SVIDs that were taken back.
final class TestRevocationState: RevocationSource, Sendable {
    private let known = NIOLockedValueBox<[TrustDomain: TrustDomainRevocations]>([:])
    private let observers = RevocationObservers()

    func set(_ revocations: [TrustDomainRevocations]) {
        self.known.withLockedValue {
            $0 = Dictionary(revocations.map { ($0.trustDomain, $0) }) { _, last in last }
        }
        self.observers.notify()
    }

    func revocations(for trustDomain: TrustDomain) -> TrustDomainRevocations? {
        self.known.withLockedValue { $0[trustDomain] }
    }

    func observeRevocations(
        _ onChange: @escaping @Sendable () -> Void
    ) -> RevocationObservation? { self.observers.add(onChange) }
}
