import Foundation
import SPIFFE
import Testing

@testable import AgentCore

@Suite("Partners' limits, as workloads are told")
struct PartnerLimitViewTests {
    private let now = Date()
    private let authority: TestAuthority
    private let energy: TrustDomain
    private let water: TrustDomain

    init() throws {
        self.authority = try TestAuthority()
        self.energy = try TrustDomain("energy.test")
        self.water = try TrustDomain("water.test")
    }

    private func bundle(_ trustDomain: TrustDomain, _ paths: [String]?) throws -> AgentBundle {
        var bundle = self.authority.bundle(trustDomain)
        bundle.limits = try paths.map { try TrustDomainLimits(of: trustDomain, acceptedPaths: $0) }
        return bundle
    }

    /// A cache with one workload that federates with `energy.test` and one that federates with both.
    private func cache() throws -> SVIDCache {
        var cache = SVIDCache(trustDomain: acme)
        _ = cache.apply(
            BundleChange(upserted: [
                self.authority.bundle(), try self.bundle(self.energy, nil),
                try self.bundle(self.water, nil),
            ]), now: self.now)
        _ = cache.apply(
            EntryChange(
                isSnapshot: true,
                upserted: [
                    try .make("a", ["unix:uid:1"], federatesWith: ["energy.test"]),
                    try .make("b", ["unix:uid:2"], federatesWith: ["energy.test", "water.test"]),
                    try .make("c", ["unix:uid:3"], federatesWith: ["energy.test"]),
                ]), now: self.now)
        return cache
    }

    private func views(_ effects: SVIDCache.Effects) -> [UInt64: PartnerLimitView] {
        var views: [UInt64: PartnerLimitView] = [:]
        for case (let id, .limits(let view)) in effects.deliveries { views[id] = view }
        return views
    }

    @Test("a change of paths is told to those whom it concerns, on the stream of limits only")
    func concerns() throws {
        var cache = try self.cache()
        _ = cache.subscribe(
            1, kind: .limits, selectors: try selectors("unix:uid:1"), now: self.now)
        _ = cache.subscribe(
            2, kind: .limits, selectors: try selectors("unix:uid:2"), now: self.now)
        for (id, kind) in [
            (UInt64(3), SVIDCache.Kind.x509Bundles), (4, .jwtBundles), (5, .revocations),
        ] {
            let first = cache.subscribe(
                id, kind: kind, selectors: try selectors("unix:uid:2"), now: self.now)
            #expect(first.deliveries.count == 1)
        }
        let water = cache.apply(
            BundleChange(upserted: [try self.bundle(self.water, ["/pumps/*"])]), now: self.now)
        #expect(water.deliveries.map(\.to) == [2])
        #expect(self.views(water)[2]?.limits.map(\.acceptedPaths) == [["/pumps/*"]])
        let energy = cache.apply(
            BundleChange(upserted: [try self.bundle(self.energy, [])]), now: self.now)
        #expect(Set(energy.deliveries.map(\.to)) == [1, 2])
        #expect(self.views(energy)[1]?.limits.map(\.trustDomain) == [self.energy])
        #expect(self.views(energy)[2]?.limits.map(\.trustDomain) == [self.energy, self.water])
        #expect(self.views(energy)[1]?.trustDomains == [acme, self.energy])
        // The same again is no news.
        let again = cache.apply(
            BundleChange(upserted: [try self.bundle(self.energy, [])]), now: self.now)
        #expect(again.deliveries.isEmpty)
    }

    @Test("workloads that see the same share one view")
    func shared() throws {
        var cache = try self.cache()
        let first = cache.subscribe(
            1, kind: .limits, selectors: try selectors("unix:uid:1"), now: self.now)
        let second = cache.subscribe(
            2, kind: .limits, selectors: try selectors("unix:uid:3"), now: self.now)
        let (one, other) = (self.views(first)[1], self.views(second)[2])
        #expect(one != nil && one === other)
    }

    @Test("a partner's end and its return are told, also with limits as before")
    func comesBack() throws {
        var cache = try self.cache()
        _ = cache.subscribe(
            1, kind: .limits, selectors: try selectors("unix:uid:1"), now: self.now)
        let gone = cache.apply(BundleChange(removed: [self.energy]), now: self.now)
        #expect(self.views(gone)[1]?.trustDomains == [acme])
        let back = cache.apply(
            BundleChange(upserted: [try self.bundle(self.energy, nil)]), now: self.now)
        #expect(self.views(back)[1]?.trustDomains == [acme, self.energy])
        #expect(self.views(back)[1]?.limits == [])
    }
}
