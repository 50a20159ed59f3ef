import AgentCore
import SPIFFE

/// The limits of the partners whose bundles a workload is given, for the validation of one token.
struct HeldLimits: PartnerLimitSource {
    let bundles: [AgentBundle]
    /// Our own trust domain, which has none.
    let own: TrustDomain

    func partnerLimits(for trustDomain: TrustDomain) -> TrustDomainLimits? {
        if trustDomain == self.own { return nil }
        return self.bundles.first { $0.trustDomain == trustDomain }?.limits
    }
}
