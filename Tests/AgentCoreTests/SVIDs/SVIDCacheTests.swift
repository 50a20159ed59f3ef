import Foundation
import SPIFFE
import Testing

@testable import AgentCore

/// One cache with a clock of its own and an authority that signs on request.
private struct Bench {
    var cache: SVIDCache
    let authority: TestAuthority
    var now: Date
    var nextSubscriber: UInt64 = 1

    init(
        entries: [AuthorizedEntry], isSynchronised: Bool = true,
        _ configure: (inout SVIDCache.Settings) -> Void = { _ in }
    ) throws {
        var settings = SVIDCache.Settings()
        configure(&settings)
        self.authority = try TestAuthority()
        self.cache = SVIDCache(trustDomain: acme, settings: settings, random: { 0.5 })
        self.now = Date(timeIntervalSince1970: Date().timeIntervalSince1970.rounded())
        _ = self.cache.connected()
        if isSynchronised {
            _ = self.cache.apply(BundleChange(upserted: [self.authority.bundle()]), now: self.now)
            _ = self.cache.apply(EntryChange(isSnapshot: true, upserted: entries), now: self.now)
        }
    }

    mutating func subscribe(
        _ kind: SVIDCache.Kind = .x509SVIDs, _ texts: String...
    ) throws -> (id: UInt64, effects: SVIDCache.Effects) {
        let id = self.nextSubscriber
        self.nextSubscriber += 1
        let set = Set(try texts.map { try Selector($0) })
        return (id, self.cache.subscribe(id, kind: kind, selectors: set, now: self.now))
    }

    /// Answers everything the cache asks for; the deliveries in order.
    mutating func sign(lifetime: TimeInterval = 3600) throws -> [(to: UInt64, SVIDCache.Delivery)] {
        var deliveries: [(to: UInt64, SVIDCache.Delivery)] = []
        for job in self.cache.takeSigningBatch(limit: 500, now: self.now) {
            let svid = try self.authority.issue(
                job.entry.spiffeID, from: self.now, lifetime: lifetime)
            deliveries += self.cache.signed(job.requestID, svid, now: self.now).deliveries
        }
        return deliveries
    }

    /// Moves the clock; the deliveries of what became due.
    mutating func advance(_ seconds: TimeInterval) -> SVIDCache.Effects {
        self.now += seconds
        return self.cache.tick(self.now)
    }

    mutating func apply(_ change: EntryChange) -> SVIDCache.Effects {
        self.cache.apply(change, now: self.now)
    }
}

extension SVIDCache.Delivery {
    fileprivate var ids: [String]? {
        if case .x509(let view) = self { view.identities.map(\.entry.id) } else { nil }
    }
    fileprivate var refusal: WorkloadRefusal? {
        if case .end(let refusal) = self { refusal } else { nil }
    }
    fileprivate var trustDomains: [String]? {
        if case .bundles(let view) = self { view.bundles.map(\.trustDomain.name) } else { nil }
    }
}

@Suite("SVID cache: streams")
struct SVIDCacheStreamTests {
    @Test("WEP-16: before the first synchronisation a call is UNAVAILABLE at once")
    func notReady() throws {
        var bench = try Bench(entries: [], isSynchronised: false)
        let (_, effects) = try bench.subscribe(.x509SVIDs, "unix:uid:1")
        #expect(effects.deliveries.first?.1.refusal == .notReady)
    }

    @Test(
        "WEP-18, WAPI-26: a workload that nothing matches is refused",
        arguments: [
            SVIDCache.Kind.x509SVIDs, .x509Bundles, .jwtBundles,
        ])
    func noIdentity(kind: SVIDCache.Kind) throws {
        var bench = try Bench(entries: [try .make("a", ["unix:uid:1"])])
        let (_, effects) = try bench.subscribe(kind, "unix:uid:2")
        #expect(effects.deliveries.map { $0.1.refusal } == [.noIdentity])
        #expect(!effects.wantsSigning)
        #expect(bench.cache.subscriberCount == 0)
    }

    @Test("WAPI-26: bundles go to unregistered verifiers only where that is allowed")
    func unauthenticatedVerifier() throws {
        var bench = try Bench(entries: []) { $0.allowsUnauthenticatedVerifiers = true }
        let (_, effects) = try bench.subscribe(.x509Bundles, "unix:uid:2")
        #expect(effects.deliveries.first?.1.trustDomains == ["acme.test"])
        #expect(
            try bench.subscribe(.x509SVIDs, "unix:uid:2").effects.deliveries.first?.1.refusal
                == .noIdentity)
    }

    @Test("an SVID is signed on demand, once for all who wait")
    func singleFlight() throws {
        var bench = try Bench(entries: [try .make("a", ["unix:uid:1"])])
        let (first, effects) = try bench.subscribe(.x509SVIDs, "unix:uid:1")
        #expect(effects.deliveries.isEmpty && effects.wantsSigning)
        let (second, more) = try bench.subscribe(.x509SVIDs, "unix:uid:1", "unix:gid:5")
        #expect(more.deliveries.isEmpty)
        #expect(bench.cache.signing.count == 1)
        let deliveries = try bench.sign()
        #expect(Set(deliveries.map(\.to)) == [first, second])
        #expect(deliveries.allSatisfy { $0.1.ids == ["a"] })
    }

    @Test("WAPI-11: a warm agent answers a new stream at once")
    func warm() throws {
        var bench = try Bench(entries: [try .make("a", ["unix:uid:1"])])
        _ = try bench.subscribe(.x509SVIDs, "unix:uid:1")
        _ = try bench.sign()
        let (_, effects) = try bench.subscribe(.x509SVIDs, "unix:uid:1")
        #expect(effects.deliveries.map { $0.1.ids } == [["a"]])
        #expect(!effects.wantsSigning)
    }

    @Test("workloads with the same identities share one view")
    func sharedView() throws {
        var bench = try Bench(entries: [try .make("a", ["unix:uid:1"])])
        _ = try bench.subscribe(.x509SVIDs, "unix:uid:1", "unix:gid:1")
        _ = try bench.subscribe(.x509SVIDs, "unix:uid:1", "unix:gid:2")
        let views = try bench.sign().compactMap { delivery -> X509View? in
            if case .x509(let view) = delivery.1 { view } else { nil }
        }
        #expect(views.count == 2)
        #expect(views.first === views.last)
    }

    @Test("WAPI-16: the first message waits until all identities are there")
    func firstMessageIsComplete() throws {
        var bench = try Bench(entries: [
            try .make("a", ["unix:uid:1"], createdAt: 1),
            try .make("b", ["unix:uid:1"], createdAt: 2),
        ])
        _ = try bench.subscribe(.x509SVIDs, "unix:uid:1")
        let jobs = bench.cache.takeSigningBatch(limit: 10, now: bench.now)
        #expect(jobs.count == 2)
        let first = try bench.authority.issue(jobs[0].entry.spiffeID, from: bench.now)
        #expect(bench.cache.signed(jobs[0].requestID, first, now: bench.now).deliveries.isEmpty)
        let second = try bench.authority.issue(jobs[1].entry.spiffeID, from: bench.now)
        let effects = bench.cache.signed(jobs[1].requestID, second, now: bench.now)
        #expect(effects.deliveries.map { $0.1.ids } == [["a", "b"]])
    }

    @Test("WAPI-09, WAPI-10: an entry created later reaches the open stream, with all identities")
    func entryCreated() throws {
        var bench = try Bench(entries: [try .make("a", ["unix:uid:1"], createdAt: 1)])
        _ = try bench.subscribe(.x509SVIDs, "unix:uid:1")
        _ = try bench.sign()
        let effects = bench.apply(
            EntryChange(upserted: [try .make("b", ["unix:uid:1"], createdAt: 2)]))
        #expect(effects.deliveries.isEmpty && effects.wantsSigning)
        #expect(try bench.sign().map { $0.1.ids } == [["a", "b"]])
    }

    @Test("entries that do not concern a stream do not touch it")
    func unrelated() throws {
        var bench = try Bench(entries: [try .make("a", ["unix:uid:1"])])
        _ = try bench.subscribe(.x509SVIDs, "unix:uid:1")
        _ = try bench.sign()
        let effects = bench.apply(EntryChange(upserted: [try .make("b", ["unix:uid:2"])]))
        #expect(effects.deliveries.isEmpty && !effects.wantsSigning)
    }

    @Test("WAPI-26: the stream ends when the last identity is withdrawn, and shrinks before")
    func withdrawn() throws {
        var bench = try Bench(entries: [
            try .make("a", ["unix:uid:1"], createdAt: 1),
            try .make("b", ["unix:uid:1"], createdAt: 2),
        ])
        _ = try bench.subscribe(.x509SVIDs, "unix:uid:1")
        _ = try bench.sign()
        #expect(bench.apply(EntryChange(removedIDs: ["a"])).deliveries.map { $0.1.ids } == [["b"]])
        let last = bench.apply(EntryChange(removedIDs: ["b"]))
        #expect(last.deliveries.map { $0.1.refusal } == [.noIdentity])
        #expect(bench.cache.x509SVIDCount == 0)
    }

    @Test("WAPI-23: of several entries with one hint the oldest is served")
    func hints() throws {
        var bench = try Bench(entries: [
            try .make("new", ["unix:uid:1"], hint: "x", createdAt: 9),
            try .make("old", ["unix:uid:1"], hint: "x", createdAt: 3),
            try .make("c", ["unix:uid:1"], createdAt: 4),
            try .make("d", ["unix:uid:1"], createdAt: 5),
        ])
        _ = try bench.subscribe(.x509SVIDs, "unix:uid:1")
        #expect(try bench.sign().last?.1.ids == ["old", "c", "d"])
        // The hidden one takes its place when the older one goes.
        _ = bench.apply(EntryChange(removedIDs: ["old"]))
        #expect(try bench.sign().last?.1.ids == ["c", "d", "new"])
    }

    @Test("WAPI-23: hints that only look alike are different hints")
    func hintBytes() throws {
        var bench = try Bench(entries: [
            try .make("a", ["unix:uid:1"], hint: "caf\u{E9}", createdAt: 1),
            try .make("b", ["unix:uid:1"], hint: "cafe\u{301}", createdAt: 2),
        ])
        _ = try bench.subscribe(.x509SVIDs, "unix:uid:1")
        #expect(try bench.sign().last?.1.ids == ["a", "b"])
    }

    @Test("entries for SVID stores give no identity on the Workload API")
    func stored() throws {
        var bench = try Bench(entries: [try .make("a", ["unix:uid:1"], isStored: true)])
        #expect(
            try bench.subscribe(.x509SVIDs, "unix:uid:1").effects.deliveries.first?.1.refusal
                == .noIdentity)
    }

    @Test("an entry that is given another SPIFFE ID is not served with the old SVID")
    func renamed() throws {
        var bench = try Bench(entries: [try .make("a", ["unix:uid:1"])])
        _ = try bench.subscribe(.x509SVIDs, "unix:uid:1")
        _ = try bench.sign()
        _ = bench.apply(
            EntryChange(upserted: [try .make("a", ["unix:uid:1"], path: "/other", revision: 1)]))
        let (_, effects) = try bench.subscribe(.x509SVIDs, "unix:uid:1")
        #expect(effects.deliveries.isEmpty)
        guard case .x509(let view)? = try bench.sign().last?.1 else { throw Unexpected("no view") }
        #expect(view.identities.map(\.svid.spiffeID.string) == ["spiffe://acme.test/other"])
    }

    @Test("an answer to what was asked before the entry was renamed is not used")
    func lateAnswer() throws {
        var bench = try Bench(entries: [try .make("a", ["unix:uid:1"])])
        _ = try bench.subscribe(.x509SVIDs, "unix:uid:1")
        let job = try #require(bench.cache.takeSigningBatch(limit: 1, now: bench.now).first)
        _ = bench.apply(
            EntryChange(upserted: [try .make("a", ["unix:uid:1"], path: "/other", revision: 1)]))
        let late = try bench.authority.issue(job.entry.spiffeID, from: bench.now)
        #expect(bench.cache.signed(job.requestID, late, now: bench.now).deliveries.isEmpty)
        #expect(bench.cache.x509SVIDCount == 0)
    }

    @Test("the agent's own identity is taken back: all streams end, nothing is kept")
    func suspended() throws {
        var bench = try Bench(entries: [try .make("a", ["unix:uid:1"])])
        _ = try bench.subscribe(.x509SVIDs, "unix:uid:1")
        _ = try bench.sign()
        #expect(bench.cache.suspend(.notAttested).deliveries.map { $0.1.refusal } == [.notAttested])
        #expect(bench.cache.x509SVIDCount == 0)
        #expect(
            try bench.subscribe(.x509SVIDs, "unix:uid:1").effects.deliveries.first?.1.refusal
                == .notAttested)
    }
}

@Suite("SVID cache: rotation and the server's absence")
struct SVIDCacheRotationTests {
    @Test("an SVID in use is replaced at half of its life, and the stream told")
    func rotation() throws {
        var bench = try Bench(entries: [try .make("a", ["unix:uid:1"])])
        _ = try bench.subscribe(.x509SVIDs, "unix:uid:1")
        _ = try bench.sign(lifetime: 1000)
        #expect(!bench.advance(499).wantsSigning)
        let effects = bench.advance(2)
        #expect(effects.wantsSigning && effects.deliveries.isEmpty)
        #expect(try bench.sign(lifetime: 1000).map { $0.1.ids } == [["a"]])
    }

    @Test("what nobody uses is not renewed")
    func unused() throws {
        var bench = try Bench(entries: [try .make("a", ["unix:uid:1"])])
        let (id, _) = try bench.subscribe(.x509SVIDs, "unix:uid:1")
        _ = try bench.sign(lifetime: 1000)
        bench.cache.unsubscribe(id)
        // Used since it was signed: renewed once more, for a workload that comes back.
        #expect(bench.advance(510).wantsSigning)
        _ = try bench.sign(lifetime: 1000)
        #expect(!bench.advance(510).wantsSigning)
        // Still good until it expires, and asked for again when a workload comes.
        let (_, effects) = try bench.subscribe(.x509SVIDs, "unix:uid:1")
        #expect(effects.deliveries.map { $0.1.ids } == [["a"]])
        #expect(effects.wantsSigning)
    }

    @Test("WAPI-47: rotation of one identity does not change the order")
    func stableOrder() throws {
        var bench = try Bench(entries: [
            try .make("b", ["unix:uid:1"], createdAt: 1),
            try .make("a", ["unix:uid:1"], createdAt: 2),
        ])
        _ = try bench.subscribe(.x509SVIDs, "unix:uid:1")
        #expect(try bench.sign().last?.1.ids == ["b", "a"])
        _ = bench.apply(
            EntryChange(upserted: [try .make("b", ["unix:uid:1"], revision: 1, createdAt: 1)]))
        #expect(try bench.sign().last?.1.ids == ["b", "a"])
    }

    @Test("without a server what is held is served until it expires, never after")
    func disconnected() throws {
        var bench = try Bench(entries: [try .make("a", ["unix:uid:1"])])
        _ = try bench.subscribe(.x509SVIDs, "unix:uid:1")
        _ = try bench.sign(lifetime: 1000)
        bench.cache.disconnected(now: bench.now)
        _ = bench.advance(900)
        #expect(
            try bench.subscribe(.x509SVIDs, "unix:uid:1").effects.deliveries.map { $0.1.ids } == [
                ["a"]
            ])
        _ = bench.advance(101)
        let (id, effects) = try bench.subscribe(.x509SVIDs, "unix:uid:1")
        #expect(effects.deliveries.isEmpty)
        let late = bench.advance(2).deliveries.filter { $0.to == id }
        #expect(late.map { $0.1.refusal } == [.notIssuedYet])
    }

    @Test("requests under way when the connection is lost are sent again on the next one")
    func resend() throws {
        var bench = try Bench(entries: [try .make("a", ["unix:uid:1"])])
        _ = try bench.subscribe(.x509SVIDs, "unix:uid:1")
        let lost = bench.cache.takeSigningBatch(limit: 10, now: bench.now)
        bench.cache.disconnected(now: bench.now)
        #expect(bench.cache.connected().wantsSigning)
        #expect(try bench.sign().map { $0.1.ids } == [["a"]])
        let late = try bench.authority.issue(lost[0].entry.spiffeID, from: bench.now)
        #expect(bench.cache.signed(lost[0].requestID, late, now: bench.now).deliveries.isEmpty)
    }

    @Test("a refusal by the server ends the wait, and is tried again later")
    func refusedByServer() throws {
        var bench = try Bench(entries: [
            try .make("a", ["unix:uid:1"], createdAt: 1),
            try .make("b", ["unix:uid:2"], createdAt: 2),
        ])
        let (id, _) = try bench.subscribe(.x509SVIDs, "unix:uid:1")
        let job = try #require(bench.cache.takeSigningBatch(limit: 1, now: bench.now).first)
        let effects = bench.cache.signingFailed(job.requestID, now: bench.now)
        #expect(effects.deliveries.map(\.to) == [id])
        #expect(effects.deliveries.first?.1.refusal == .notIssuedYet)
        // Not asked at once for the next caller, but after the rest.
        _ = try bench.subscribe(.x509SVIDs, "unix:uid:1")
        #expect(bench.cache.takeSigningBatch(limit: 1, now: bench.now).isEmpty)
        _ = bench.advance(61)
        _ = try bench.subscribe(.x509SVIDs, "unix:uid:1")
        #expect(try bench.sign().map { $0.1.ids } == [["a"]])
    }

    @Test("a request without an answer is given up and made again")
    func signingTimeout() throws {
        var bench = try Bench(entries: [try .make("a", ["unix:uid:1"])]) {
            $0.firstAnswerTimeout = 100
        }
        _ = try bench.subscribe(.x509SVIDs, "unix:uid:1")
        #expect(bench.cache.takeSigningBatch(limit: 1, now: bench.now).count == 1)
        let effects = bench.advance(31)
        #expect(effects.deliveries.first?.1.refusal == .notIssuedYet)
    }

    @Test("SVIDs under a tainted authority are replaced at once")
    func tainted() throws {
        var bench = try Bench(entries: [try .make("a", ["unix:uid:1"])])
        _ = try bench.subscribe(.x509SVIDs, "unix:uid:1")
        _ = try bench.sign()
        let change = BundleChange(upserted: [bench.authority.bundle(isTainted: true)])
        #expect(bench.cache.apply(change, now: bench.now).wantsSigning)
        #expect(try bench.sign().map { $0.1.ids } == [["a"]])
    }

    @Test("the cache drops what was used least recently, never what has a listener")
    func eviction() throws {
        let entries = try (0..<20).map {
            try AuthorizedEntry.make("e\($0)", ["unix:uid:\($0)"], createdAt: Int64($0))
        }
        var bench = try Bench(entries: entries) { $0.maximumX509SVIDs = 10 }
        _ = try bench.subscribe(.x509SVIDs, "unix:uid:0")
        _ = try bench.sign()
        for uid in 1..<20 {
            let (id, _) = try bench.subscribe(.x509SVIDs, "unix:uid:\(uid)")
            _ = try bench.sign()
            bench.cache.unsubscribe(id)
        }
        #expect(bench.cache.x509SVIDCount <= 10)
        #expect(!(try bench.subscribe(.x509SVIDs, "unix:uid:0").effects.deliveries.isEmpty))
        #expect(!(try bench.subscribe(.x509SVIDs, "unix:uid:19").effects.deliveries.isEmpty))
    }

    @Test("signing ahead fills the cache up to its size and no further")
    func ahead() throws {
        let entries = try (0..<20).map { try AuthorizedEntry.make("e\($0)", ["unix:uid:\($0)"]) }
        let bench = try Bench(entries: entries) {
            $0.maximumX509SVIDs = 10
            $0.signsAhead = true
        }
        #expect(bench.cache.signing.count == 10)
    }
}

@Suite("SVID cache: bundles")
struct SVIDCacheBundleTests {
    @Test("WAPI-10: bundle streams are told what changed on their side, and only then")
    func sides() throws {
        var bench = try Bench(entries: [
            try .make("a", ["unix:uid:1"], federatesWith: ["partner.test"])
        ])
        let partner = try TrustDomain("partner.test")
        let (x509, first) = try bench.subscribe(.x509Bundles, "unix:uid:1")
        let (jwt, second) = try bench.subscribe(.jwtBundles, "unix:uid:1")
        #expect(first.deliveries.map { $0.1.trustDomains } == [["acme.test"]])
        #expect(second.deliveries.map { $0.1.trustDomains } == [["acme.test"]])
        var bundle = try TestAuthority(partner, name: "partner").bundle(partner)
        var effects = bench.cache.apply(BundleChange(upserted: [bundle]), now: bench.now)
        #expect(Set(effects.deliveries.map(\.to)) == [x509, jwt])
        #expect(effects.deliveries.first?.1.trustDomains == ["acme.test", "partner.test"])
        bundle.jwtAuthorities = [AgentBundle.JWTAuthority(keyID: "k", publicKeyDER: [1])]
        effects = bench.cache.apply(BundleChange(upserted: [bundle]), now: bench.now)
        #expect(effects.deliveries.map(\.to) == [jwt])
        effects = bench.cache.apply(BundleChange(upserted: [bundle]), now: bench.now)
        #expect(effects.deliveries.isEmpty)
        effects = bench.cache.apply(BundleChange(removed: [partner]), now: bench.now)
        #expect(effects.deliveries.first?.1.trustDomains == ["acme.test"])
    }

    @Test("WAPI-29, WAPI-36: the own trust domain is never removed")
    func own() throws {
        var bench = try Bench(entries: [try .make("a", ["unix:uid:1"])])
        _ = bench.cache.apply(BundleChange(isSnapshot: true, removed: [acme]), now: bench.now)
        let (_, effects) = try bench.subscribe(.x509Bundles, "unix:uid:1")
        #expect(effects.deliveries.first?.1.trustDomains == ["acme.test"])
    }

    @Test("a stranger's bundle does not reach a workload that does not federate with it")
    func strangers() throws {
        var bench = try Bench(entries: [try .make("a", ["unix:uid:1"])])
        let other = try TrustDomain("other.test")
        _ = bench.cache.apply(
            BundleChange(upserted: [try TestAuthority(other).bundle(other)]), now: bench.now)
        #expect(
            try bench.subscribe(.x509Bundles, "unix:uid:1").effects.deliveries.first?.1.trustDomains
                == ["acme.test"])
    }
}
