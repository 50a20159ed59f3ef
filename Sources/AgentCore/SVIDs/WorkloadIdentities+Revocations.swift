import Logging
import NIOConcurrencyHelpers
import SPIFFE

#if canImport(FoundationEssentials)
    import FoundationEssentials
#else
    import Foundation
#endif

/// What the server takes back. Lists are read and their signatures checked outside the lock.
extension WorkloadIdentities {
    /// gRPC's FAILED_PRECONDITION, with which the server refuses what a revocation covers.
    private static let failedPrecondition = 9

    static func isRevocation(_ error: any Error) -> Bool {
        (error as? IssuanceRefusal)?.code == self.failedPrecondition
    }

    func receive(_ change: RevocationChange) {
        let (bundles, held) = self.state.withLockedValue {
            ($0.cache.bundles, $0.cache.revocations)
        }
        let checked = change.upserted.map {
            AgentRevocations.check($0, bundle: bundles[$0.trustDomain], held: held[$0.trustDomain])
        }
        self.apply(checked, removed: change.removed, confirmation: change.confirmation)
    }

    /// Bundles have changed: lists may have lost their authority, or found it.
    func checkRevocations(again trustDomains: Set<TrustDomain>) {
        let (bundles, held) = self.state.withLockedValue {
            ($0.cache.bundles, $0.cache.revocations)
        }
        if held.isEmpty { return }
        var removed: [TrustDomain] = []
        var checked: [AgentRevocations.Checked] = []
        for trustDomain in trustDomains.sorted() {
            guard let known = held[trustDomain] else { continue }
            if let bundle = bundles[trustDomain] {
                checked.append(
                    AgentRevocations.check(again: known, of: trustDomain, bundle: bundle))
            } else {
                removed.append(trustDomain)
            }
        }
        if removed.isEmpty, checked.isEmpty { return }
        self.apply(checked, removed: removed, confirmation: 0)
    }

    private func apply(
        _ checked: [AgentRevocations.Checked], removed: [TrustDomain], confirmation: UInt64
    ) {
        let own = self.state.withLockedValue { $0.cache.trustDomain }
        for one in checked {
            for problem in one.problems {
                self.logger.error(
                    "a list of revoked certificates is not used",
                    metadata: [
                        LogKeys.trustDomain: "\(one.trustDomain)", LogKeys.reason: "\(problem)",
                    ])
            }
            let bytes = one.held.lists.reduce(0) { $0 + $1.der.count }
            if bytes > SVIDCache.mostPartnerCRLBytes, one.trustDomain != own {
                self.logger.warning(
                    "a partner's lists of revoked certificates are too large for the crl field; workloads get them from WorkloadRevocations only",
                    metadata: [LogKeys.trustDomain: "\(one.trustDomain)", "bytes": "\(bytes)"])
            }
        }
        let dropped = self.mutate { state in
            let before = state.cache.x509SVIDCount
            let effects = state.cache.apply(checked, removed: removed, now: self.now())
            // Streams hear of it before the lock is given back, so it may be confirmed from then on.
            if confirmation != 0 { state.owedRevocations = confirmation }
            return (before - state.cache.x509SVIDCount, effects)
        }
        if dropped > 0 {
            self.logger.notice(
                "X509-SVIDs were revoked; they are not handed out any more",
                metadata: ["revoked": "\(dropped)"])
        }
    }
}
