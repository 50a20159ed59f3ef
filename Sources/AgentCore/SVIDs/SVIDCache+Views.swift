import SPIFFE

/// What subscribers of one group are told: made once, shared by those who see the same.
extension SVIDCache {
    func makeView(
        _ group: Group, _ ready: [(entry: AuthorizedEntry, record: Record)]
    ) -> X509View? {
        guard let own = self.bundles.entry(self.trustDomain) else { return nil }
        var federated = Set<TrustDomain>()
        for (entry, _) in ready { federated.formUnion(entry.federatesWith) }
        federated.remove(self.trustDomain)
        let held = federated.sorted().compactMap { self.bundles.entry($0) }
            .filter(\.bundle.isForX509)
        let hasHints = ready.contains { !$0.entry.hint.isEmpty }
        let key = X509View.Key(
            identities: ready.map(\.record.number),
            hints: hasHints ? ready.map { Array($0.entry.hint.utf8) } : [],
            bundles: [own.x509Version] + held.map(\.x509Version),
            revocations: self.listVersions([self.trustDomain] + held.map(\.bundle.trustDomain)))
        if let shared = self.views[key] { return shared.view }
        return X509View(
            key: key,
            identities: ready.map { X509View.Identity(svid: $0.record.svid, entry: $0.entry) },
            ownBundle: own.bundle, federatedBundles: held.map(\.bundle),
            crls: self.messageCRLs([self.trustDomain] + held.map(\.bundle.trustDomain)))
    }

    mutating func share(_ view: X509View) -> X509View {
        self.views[view.key, default: (view, 0)].users += 1
        return self.views[view.key]?.view ?? view
    }

    mutating func releaseView(_ id: Int) {
        guard let view = self.groups[id]?.view else { return }
        self.groups[id]?.view = nil
        guard let users = self.views[view.key]?.users else { return }
        if users > 1 { self.views[view.key]?.users = users - 1 } else { self.views[view.key] = nil }
    }

    mutating func bundleView(_ id: Int, _ kind: Kind) -> BundleView {
        let known =
            switch kind {
            case .x509Bundles: self.groups[id]?.x509Bundles
            case .witBundles: self.groups[id]?.witBundles
            default: self.groups[id]?.jwtBundles
            }
        if let known { return known }
        let domains = [self.trustDomain] + (self.groups[id]?.federated.sorted() ?? [])
        let held = domains.compactMap { self.bundles.entry($0) }.filter {
            kind == .x509Bundles ? $0.bundle.isForX509 : $0.bundle.isForJWT
        }
        let versions = held.map {
            switch kind {
            case .x509Bundles: $0.x509Version
            case .witBundles: $0.witVersion
            default: $0.jwtVersion
            }
        }
        let told = kind == .x509Bundles ? held.map(\.bundle.trustDomain) : []
        let view = BundleView(
            bundles: held.map(\.bundle), versions: versions + self.listVersions(told),
            crls: self.messageCRLs(told))
        switch kind {
        case .x509Bundles: self.groups[id]?.x509Bundles = view
        case .witBundles: self.groups[id]?.witBundles = view
        default: self.groups[id]?.jwtBundles = view
        }
        return view
    }
}
