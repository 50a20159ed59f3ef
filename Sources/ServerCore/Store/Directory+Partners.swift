import NIOConcurrencyHelpers
package import SPIFFE

// Bundles, relationships, and what partners are trusted with.
extension Directory {
    /// The bundle of a trust domain, our own or another; nil when none is stored.
    package func bundle(_ trustDomain: TrustDomain) -> TrustBundle? {
        self.state.withLockedValue { $0.bundles[trustDomain] }
    }

    /// The bundle of the server's own trust domain.
    package var ownBundle: TrustBundle? { self.bundle(self.trustDomain) }

    /// How many bundles are stored, our own included.
    package var bundleCount: Int { self.state.withLockedValue { $0.bundles.count } }

    /// The bundles of other trust domains, ordered by name.
    package var foreignBundles: [TrustBundle] {
        self.state.withLockedValue { Array($0.bundles.values) }
            .filter { $0.trustDomain != self.trustDomain }
            .sorted { $0.trustDomain < $1.trustDomain }
    }

    /// The relationship with a partner that counts: the configuration's before a stored one.
    package func relationship(_ trustDomain: TrustDomain) -> FederationRelationship? {
        self.configuredRelationships[trustDomain] ?? self.storedRelationship(trustDomain)
    }

    /// The relationship that operators made through the API, also where the configuration's counts; nil when there is
    /// none.
    package func storedRelationship(_ trustDomain: TrustDomain) -> FederationRelationship? {
        self.state.withLockedValue { $0.relationships[trustDomain] }
    }

    /// The relationships that operators made through the API, ordered by name.
    package var storedRelationships: [FederationRelationship] {
        self.state.withLockedValue { Array($0.relationships.values) }
            .sorted { $0.trustDomain < $1.trustDomain }
    }

    /// The relationships that count, ordered by name.
    package var relationships: [FederationRelationship] {
        self.state.withLockedValue { $0.relationships }
            .merging(self.configuredRelationships) { _, configured in configured }
            .values.sorted { $0.trustDomain < $1.trustDomain }
    }

    /// What a partner is trusted with, the configuration before what is stored; nil when there are no limits.
    package func limits(_ trustDomain: TrustDomain) -> PartnerLimits? {
        self.configuredLimits[trustDomain]
            ?? self.state.withLockedValue { $0.limits[trustDomain] }
    }

    /// The limits that count, ordered by name.
    package var limits: [PartnerLimits] {
        self.state.withLockedValue { $0.limits }
            .merging(self.configuredLimits) { _, configured in configured }
            .values.sorted { $0.trustDomain < $1.trustDomain }
    }

    /// A partner's bundle with what it may be used for alone; any other as it is.
    package func limited(_ bundle: TrustBundle) -> TrustBundle {
        self.limits(bundle.trustDomain)?.limited(bundle) ?? bundle
    }
}
