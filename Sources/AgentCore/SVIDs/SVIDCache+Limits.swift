package import SPIFFE

/// What a workload is told of partners' limits, as of one moment.
package final class PartnerLimitView: Sendable {
    /// All trust domains whose bundles the workload is given, for whatever use; our own comes first.
    package let trustDomains: [TrustDomain]
    /// Of those partners that have some.
    package let limits: [TrustDomainLimits]
    /// Equal numbers mean equal content.
    let versions: [UInt64]
    package let encoded = EncodedForm()

    init(trustDomains: [TrustDomain], limits: [TrustDomainLimits], versions: [UInt64]) {
        self.trustDomains = trustDomains
        self.limits = limits
        self.versions = versions
    }
}

/// What partners are trusted with, told to workloads that verify by themselves.
extension SVIDCache {
    /// Tells a stream of limits what has changed, unless it knows.
    mutating func tellLimits(
        _ subscriber: SubscriberID, _ state: Group.Subscriber, _ id: Int, _ effects: inout Effects
    ) {
        let view = self.limitView(id)
        if state.bundleVersions == view.versions { return }
        self.groups[id]?.subscribers[subscriber]?.bundleVersions = view.versions
        effects.deliveries.append((subscriber, .limits(view)))
    }

    private mutating func limitView(_ id: Int) -> PartnerLimitView {
        if let known = self.groups[id]?.limits { return known }
        let trustDomains = [self.trustDomain] + (self.groups[id]?.federated.sorted() ?? [])
        let held = trustDomains.compactMap { self.bundles.entry($0) }
        let versions = held.map(\.limitsVersion)
        // Groups that see the same share one view, and with it the bytes it is sent as.
        let view =
            self.sharedLimits.flatMap { $0.versions == versions ? $0 : nil }
            ?? PartnerLimitView(
                trustDomains: held.map(\.bundle.trustDomain),
                // Nobody limits our own trust domain, whatever the server says.
                limits: held.map(\.bundle).filter { $0.trustDomain != self.trustDomain }
                    .compactMap(\.limits),
                versions: versions)
        self.sharedLimits = view
        self.groups[id]?.limits = view
        return view
    }
}
