import Foundation
import SPIFFE
import Testing
import X509

@testable import AgentCore

/// A session in which the own bundle's authorities change.
private struct Session {
    let old: TestAuthority
    let new: TestAuthority
    let agent: TestSession

    var identities: WorkloadIdentities { self.agent.identities }

    init(_ ids: [String]) throws {
        self.old = try TestAuthority(name: "old")
        self.new = try TestAuthority(name: "new")
        self.agent = try TestSession(
            try ids.map { try AuthorizedEntry.make($0, ["unix:uid:1"]) }, authority: self.old,
            bundle: Self.change([(self.old, false)], confirmation: 1))
    }

    private static func change(
        _ authorities: [(TestAuthority, isTainted: Bool)], confirmation: UInt64
    ) -> BundleChange {
        let bundle = AgentBundle(
            trustDomain: acme,
            x509Authorities: authorities.map { .init(der: $0.0.der, isTainted: $0.isTainted) },
            sequenceNumber: confirmation)
        return BundleChange(upserted: [bundle], confirmation: confirmation)
    }

    func bundle(_ authorities: [(TestAuthority, isTainted: Bool)], confirmation: UInt64) {
        self.identities.receive(
            .bundles(Self.change(authorities, confirmation: confirmation)))
    }
}

@Suite("Tainted authorities")
struct TaintedAuthorityTests {
    @Test("the server hears of a bundle when it is applied, and again when all is replaced")
    func confirms() throws {
        let session = try Session(["a", "b"])
        #expect(session.agent.requests().bundles == ["1 true"])
        #expect(session.agent.requests().bundles.isEmpty)
        _ = session.identities.subscribe(.x509SVIDs, try selectors("unix:uid:1"), sink: { _ in })
        let first = session.agent.requests().x509
        #expect(first.count == 2)
        try session.agent.sign(first, by: session.old)
        session.bundle([(session.old, false), (session.new, false)], confirmation: 2)
        #expect(session.agent.requests().bundles == ["2 true"])

        session.bundle([(session.old, true), (session.new, false)], confirmation: 3)
        let requests = session.agent.requests()
        let again = requests.x509
        #expect(requests.bundles == ["3 false"])
        #expect(Set(again.map(\.entryID)) == ["a", "b"], "everything is asked for anew at once")
        try session.agent.sign(Array(again.prefix(1)), by: session.new)
        #expect(session.agent.requests().bundles.isEmpty)
        try session.agent.sign(Array(again.dropFirst()), by: session.new)
        #expect(session.agent.requests().bundles == ["3 true"])
        #expect(session.agent.requests().bundles.isEmpty)
    }

    @Test("a new session begins without anything to confirm")
    func reconnects() throws {
        let session = try Session([])
        _ = session.identities.begin(isPush: true)
        #expect(session.agent.requests().bundles.isEmpty)
        session.bundle([(session.old, false)], confirmation: 1)
        #expect(session.agent.requests().bundles == ["1 true"])
    }

    @Test("an SVID whose authority is not in the bundle yet is not handed out")
    func holdsBack() throws {
        var cache = SVIDCache(trustDomain: acme, random: { 0 })
        let old = try TestAuthority(name: "old")
        let new = try TestAuthority(name: "new")
        let now = Date()
        _ = cache.connected()
        _ = cache.apply(BundleChange(upserted: [old.bundle()]), now: now)
        let entry = try AuthorizedEntry.make("a", ["unix:uid:1"])
        _ = cache.apply(EntryChange(isSnapshot: true, upserted: [entry]), now: now)
        _ = cache.subscribe(
            1, kind: .x509SVIDs, selectors: try selectors("unix:uid:1"), now: now)
        let job = try #require(cache.takeSigningBatch(limit: 1, now: now).first)
        let effects = cache.signed(
            job.requestID, try new.issue(entry.spiffeID, from: now), now: now)
        #expect(effects.deliveries.isEmpty)
        #expect(cache.x509SVIDCount == 0)
        #expect(cache.takeSigningBatch(limit: 1, now: now).isEmpty, "it is not asked for again")
        var both = old.bundle()
        both.x509Authorities += new.bundle().x509Authorities
        let delivered = cache.apply(BundleChange(upserted: [both]), now: now)
        #expect(delivered.deliveries.map(\.to) == [1])
        #expect(cache.x509SVIDCount == 1)
    }

    @Test("an SVID whose authority never comes is asked for again")
    func holdsBackNotForEver() throws {
        var cache = SVIDCache(trustDomain: acme, random: { 0 })
        let new = try TestAuthority(name: "new")
        var now = Date()
        _ = cache.connected()
        let old = try TestAuthority(name: "old")
        _ = cache.apply(BundleChange(upserted: [old.bundle()]), now: now)
        let entry = try AuthorizedEntry.make("a", ["unix:uid:1"])
        _ = cache.apply(EntryChange(isSnapshot: true, upserted: [entry]), now: now)
        _ = cache.subscribe(
            1, kind: .x509SVIDs, selectors: try selectors("unix:uid:1"), now: now)
        let job = try #require(cache.takeSigningBatch(limit: 1, now: now).first)
        _ = cache.signed(job.requestID, try new.issue(entry.spiffeID, from: now), now: now)
        now += 31
        _ = cache.tick(now)
        _ = cache.apply(
            BundleChange(upserted: [old.bundle(), new.bundle()]), now: now)
        #expect(cache.x509SVIDCount == 0)
        now += 2
        _ = cache.tick(now)
        _ = cache.subscribe(
            2, kind: .x509SVIDs, selectors: try selectors("unix:uid:1"), now: now)
        #expect(cache.takeSigningBatch(limit: 1, now: now).count == 1)
    }

    @Test("an SVID that was under way when its authority was tainted is replaced soon")
    func underWay() throws {
        var cache = SVIDCache(trustDomain: acme, random: { 0 })
        let authority = try TestAuthority()
        var now = Date()
        _ = cache.connected()
        _ = cache.apply(BundleChange(upserted: [authority.bundle()]), now: now)
        let entry = try AuthorizedEntry.make("a", ["unix:uid:1"])
        _ = cache.apply(EntryChange(isSnapshot: true, upserted: [entry]), now: now)
        _ = cache.subscribe(
            1, kind: .x509SVIDs, selectors: try selectors("unix:uid:1"), now: now)
        let job = try #require(cache.takeSigningBatch(limit: 1, now: now).first)
        _ = cache.apply(
            BundleChange(upserted: [authority.bundle(isTainted: true)]), now: now)
        let effects = cache.signed(
            job.requestID, try authority.issue(entry.spiffeID, from: now), now: now)
        #expect(effects.deliveries.map(\.to) == [1], "better than none")
        #expect(cache.restsOnTaintedAuthority)
        #expect(cache.takeSigningBatch(limit: 1, now: now).isEmpty, "not at full speed")
        now += 3
        _ = cache.tick(now)
        #expect(cache.takeSigningBatch(limit: 1, now: now).count == 1)
    }

    @Test("a token that was under way when its authority was tainted is not kept")
    func tokens() async throws {
        let session = try Session(["a"])
        func bundle(_ isTainted: Bool) -> AgentBundle {
            var bundle = session.old.bundle()
            bundle.jwtAuthorities = [
                .init(keyID: "k", publicKeyDER: [1], isTainted: isTainted)
            ]
            return bundle
        }
        session.identities.receive(.bundles(BundleChange(upserted: [bundle(false)])))
        let wanted = try selectors("unix:uid:1")
        async let tokens = session.identities.jwtSVIDs(
            wanted, audience: ["x"], spiffeID: nil, for: nil)
        var id: UInt64?
        while id == nil {
            for request in session.identities.takeRequests(limit: 10) {
                if case .jwt(let requestID, _, _) = request { id = requestID }
            }
            await Task.yield()
        }
        session.identities.receive(.bundles(BundleChange(upserted: [bundle(true)])))
        let now = Date()
        session.identities.receive(
            .jwt(
                requestID: try #require(id),
                .success(
                    IssuedJWTSVID(
                        spiffeID: try SPIFFEID("spiffe://acme.test/w/a"), token: "t",
                        issuedAt: now, expiresAt: now.addingTimeInterval(300), keyID: "k"))))
        #expect(try await tokens.map(\.svid.token) == ["t"])
        #expect(session.identities.counts.jwtSVIDs == 0)
    }
}
