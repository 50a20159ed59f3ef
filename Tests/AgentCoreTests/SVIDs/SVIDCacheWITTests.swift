import Crypto
import Foundation
import SPIFFE
import Testing
import X509

@testable import AgentCore

/// One cache with a clock of its own and a WIT authority that signs on request.
private struct WITBench {
    var cache: SVIDCache
    let x509: TestAuthority
    let signer: JWSSigner
    var now: Date
    var nextSubscriber: UInt64 = 1

    init(
        entries: [AuthorizedEntry], offersWIT: Bool = true,
        _ configure: (inout SVIDCache.Settings) -> Void = { _ in }
    ) throws {
        var settings = SVIDCache.Settings()
        configure(&settings)
        self.x509 = try TestAuthority()
        self.signer = try JWSSigner(
            privateKey: Certificate.PrivateKey(P256.Signing.PrivateKey()), keyID: "w1",
            type: "wit+jwt")
        self.cache = SVIDCache(trustDomain: acme, settings: settings, random: { 0.5 })
        self.now = Date(timeIntervalSince1970: 1_800_000_000)
        _ = self.cache.connected()
        _ = self.cache.apply(
            BundleChange(upserted: [self.bundle(offersWIT ? ["w1"] : [])]), now: self.now)
        _ = self.cache.apply(EntryChange(isSnapshot: true, upserted: entries), now: self.now)
    }

    func bundle(_ keyIDs: [String], tainted: Set<String> = []) -> AgentBundle {
        var bundle = self.x509.bundle()
        bundle.witAuthorities = keyIDs.map {
            AgentBundle.WITAuthority(
                keyID: $0, publicKeyDER: self.signer.publicKey.publicKeyDER,
                isTainted: tainted.contains($0))
        }
        return bundle
    }

    mutating func apply(_ bundle: AgentBundle) -> SVIDCache.Effects {
        self.cache.apply(BundleChange(upserted: [bundle]), now: self.now)
    }

    mutating func subscribe(
        _ kind: SVIDCache.Kind = .witSVIDs, spiffeID: String? = nil, _ texts: String...
    ) throws -> (id: UInt64, effects: SVIDCache.Effects) {
        let id = self.nextSubscriber
        self.nextSubscriber += 1
        let set = Set(try texts.map { try Selector($0) })
        return (
            id,
            self.cache.subscribe(
                id, kind: kind, selectors: set, spiffeID: try spiffeID.map { try SPIFFEID($0) },
                now: self.now)
        )
    }

    func issue(_ id: SPIFFEID, _ key: ProofKey, lifetime: Int64 = 3600) throws -> IssuedWITSVID {
        let issuedAt = Int64(self.now.timeIntervalSince1970)
        let claims: JSONValue = [
            "sub": .string(id.string), "iat": .int(issuedAt), "exp": .int(issuedAt + lifetime),
            "cnf": ["jwk": .object(key.confirmationKey.jwk)],
        ]
        return try IssuedWITSVID(
            token: try self.signer.sign(claims: claims.serialized()), key: key, expectedID: id,
            receivedAt: self.now)
    }

    /// Answers everything the cache asks for; the deliveries in order.
    mutating func sign(lifetime: Int64 = 3600) throws -> [(to: UInt64, SVIDCache.Delivery)] {
        var deliveries: [(to: UInt64, SVIDCache.Delivery)] = []
        for job in self.cache.takeWITSigningBatch(limit: 500, now: self.now) {
            let svid = try self.issue(
                job.entry.spiffeID, try ProofKey(generatingFor: .es256), lifetime: lifetime)
            deliveries += self.cache.witSigned(job.requestID, svid, now: self.now).deliveries
        }
        return deliveries
    }

    mutating func advance(_ seconds: TimeInterval) -> SVIDCache.Effects {
        self.now += seconds
        return self.cache.tick(self.now)
    }
}

extension SVIDCache.Delivery {
    fileprivate var wit: WITView? {
        if case .wit(let view) = self { view } else { nil }
    }
    fileprivate var ids: [String]? { self.wit?.identities.map(\.entry.id) }
    fileprivate var keys: [String]? { self.wit?.identities.map(\.svid.privateJWK) }
    fileprivate var refusal: WorkloadRefusal? {
        if case .end(let refusal) = self { refusal } else { nil }
    }
}

@Suite("SVID cache: WIT-SVIDs")
struct SVIDCacheWITTests {
    @Test("streams that ask for the same are told one and the same view, which is worked out once")
    func shared() throws {
        var bench = try WITBench(entries: [
            try .make("a", ["unix:uid:1"], createdAt: 1),
            try .make("b", ["unix:uid:1"], createdAt: 2),
        ])
        for _ in 0..<3 { _ = try bench.subscribe(.witSVIDs, "unix:uid:1") }
        let told = try bench.sign().compactMap { $0.1.wit }
        #expect(told.count == 3)
        #expect(Set(told.map { ObjectIdentifier($0) }).count == 1)
        // A newcomer is no news for the others.
        let (id, effects) = try bench.subscribe(.witSVIDs, "unix:uid:1")
        #expect(effects.deliveries.map(\.to) == [id])
        #expect(effects.deliveries.first?.1.ids == ["a", "b"])
    }

    @Test("WAPI-43, WAPI-44: one WIT-SVID for each identity, and none before all are there")
    func all() throws {
        var bench = try WITBench(entries: [
            try .make("a", ["unix:uid:1"], createdAt: 1),
            try .make("b", ["unix:uid:1"], createdAt: 2),
        ])
        let (id, effects) = try bench.subscribe(.witSVIDs, "unix:uid:1")
        #expect(effects.deliveries.isEmpty && effects.wantsSigning)
        #expect(bench.cache.signing.count == 0, "no X509-SVID is asked for")
        let deliveries = try bench.sign()
        #expect(deliveries.map(\.to) == [id])
        #expect(deliveries.first?.1.ids == ["a", "b"])
        #expect(bench.cache.witSVIDCount == 2)
        // A warm agent answers at once, with the same.
        let (_, more) = try bench.subscribe(.witSVIDs, "unix:uid:1")
        #expect(more.deliveries.first?.1.keys == deliveries.first?.1.keys)
        #expect(!more.wantsSigning)
    }

    @Test("WAPI-43, WAPI-26: only the identity that is named; another one's is denied")
    func named() throws {
        var bench = try WITBench(entries: [
            try .make("a", ["unix:uid:1"], createdAt: 1),
            try .make("b", ["unix:uid:1"], createdAt: 2), try .make("c", ["unix:uid:2"]),
        ])
        let (one, _) = try bench.subscribe(
            .witSVIDs, spiffeID: "spiffe://acme.test/w/b", "unix:uid:1")
        #expect(try bench.sign().map { $0.1.ids } == [["b"]])
        #expect(bench.cache.witSVIDCount == 1)
        for other in ["spiffe://acme.test/w/c", "spiffe://acme.test/none"] {
            let (_, effects) = try bench.subscribe(.witSVIDs, spiffeID: other, "unix:uid:1")
            #expect(effects.deliveries.map { $0.1.refusal } == [.noIdentity])
        }
        // It goes away while the stream is open; the other identity stays.
        let effects = bench.cache.apply(EntryChange(removedIDs: ["b"]), now: bench.now)
        #expect(effects.deliveries.map(\.to) == [one])
        #expect(effects.deliveries.first?.1.refusal == .noIdentity)
        #expect(bench.cache.subscriberCount == 0 && bench.cache.witSVIDCount == 0)
    }

    @Test("WIT-25: instances of one workload share a key, workloads never do")
    func keys() throws {
        var bench = try WITBench(entries: [
            try .make("a", ["unix:uid:1"], path: "/same"),
            try .make("b", ["unix:uid:2"], path: "/same"),
        ])
        _ = try bench.subscribe(.witSVIDs, "unix:uid:1", "unix:gid:1")
        _ = try bench.subscribe(.witSVIDs, "unix:uid:1", "unix:gid:2")
        _ = try bench.subscribe(.witSVIDs, "unix:uid:2")
        let deliveries = try bench.sign()
        let byID = Dictionary(uniqueKeysWithValues: deliveries.map { ($0.to, $0.1.keys) })
        #expect(byID.count == 3 && byID[1] == byID[2] && byID[1] != byID[3])
    }

    @Test(
        "WAPI-10: past half of its life a WIT-SVID is replaced with its key, and streams hear of it"
    )
    func rotation() throws {
        var bench = try WITBench(entries: [try .make("a", ["unix:uid:1"])])
        let (id, _) = try bench.subscribe(.witSVIDs, "unix:uid:1")
        let first = try bench.sign().first?.1.keys
        #expect(bench.advance(1790).wantsSigning == false)
        let effects = bench.advance(20)
        #expect(effects.wantsSigning && effects.deliveries.isEmpty)
        let second = try bench.sign()
        #expect(second.map(\.to) == [id])
        #expect(second.first?.1.keys != first)
        // Nobody listens: no renewal, and at the end it is gone.
        bench.cache.unsubscribe(id)
        #expect(bench.advance(1900).wantsSigning == false)
        _ = bench.advance(1800)
        #expect(bench.cache.witSVIDCount == 0)
    }

    @Test("an expired WIT-SVID is never handed out")
    func expired() throws {
        var bench = try WITBench(entries: [try .make("a", ["unix:uid:1"])])
        _ = try bench.subscribe(.witSVIDs, "unix:uid:1")
        _ = try bench.sign(lifetime: 60)
        bench.cache.disconnected(now: bench.now)
        _ = bench.advance(61)
        let (_, effects) = try bench.subscribe(.witSVIDs, "unix:uid:1")
        #expect(effects.deliveries.isEmpty)
        let later = bench.advance(2)
        #expect(later.deliveries.last?.1.refusal == .notIssuedYet)
    }

    @Test("WAPI-26: a workload that nothing matches is refused, also where verifiers are let in")
    func noIdentity() throws {
        var bench = try WITBench(entries: [try .make("a", ["unix:uid:1"])]) {
            $0.allowsUnauthenticatedVerifiers = true
        }
        #expect(
            try bench.subscribe(.witSVIDs, "unix:uid:2").effects.deliveries.first?.1.refusal
                == .noIdentity)
        let (_, bundles) = try bench.subscribe(.witBundles, "unix:uid:2")
        guard case .bundles? = bundles.deliveries.first?.1 else { throw Unexpected("no bundles") }
        var strict = try WITBench(entries: [try .make("a", ["unix:uid:1"])])
        #expect(
            try strict.subscribe(.witBundles, "unix:uid:2").effects.deliveries.first?.1.refusal
                == .noIdentity)
    }

    @Test("WAPI-23: of two identities with one hint the older one is told")
    func hints() throws {
        var bench = try WITBench(entries: [
            try .make("a", ["unix:uid:1"], hint: "h", createdAt: 2),
            try .make("b", ["unix:uid:1"], hint: "h", createdAt: 1),
        ])
        _ = try bench.subscribe(.witSVIDs, "unix:uid:1")
        #expect(try bench.sign().first?.1.ids == ["b"])
    }

    @Test("WAPI-03: without WIT authorities of the server the profile is not offered")
    func notOffered() throws {
        var bench = try WITBench(entries: [try .make("a", ["unix:uid:1"])], offersWIT: false)
        for kind in [SVIDCache.Kind.witSVIDs, .witBundles] {
            let (_, effects) = try bench.subscribe(kind, "unix:uid:1")
            #expect(effects.deliveries.map { $0.1.refusal?.code } == [.unimplemented])
        }
        // They come, and go.
        _ = bench.apply(bench.bundle(["w1"]))
        let (svids, _) = try bench.subscribe(.witSVIDs, "unix:uid:1")
        let (bundles, first) = try bench.subscribe(.witBundles, "unix:uid:1")
        #expect(first.deliveries.count == 1)
        let effects = bench.apply(bench.bundle([]))
        let ended = effects.deliveries.filter { $0.1.refusal?.code == .unimplemented }
        #expect(Set(ended.map(\.to)) == [svids, bundles])
        #expect(bench.cache.subscriberCount == 0)
    }

    @Test("WAPI-10: a WIT bundle stream hears of WIT authorities, and of no others")
    func bundles() throws {
        var bench = try WITBench(entries: [try .make("a", ["unix:uid:1"])])
        let (wit, _) = try bench.subscribe(.witBundles, "unix:uid:1")
        let (jwt, _) = try bench.subscribe(.jwtBundles, "unix:uid:1")
        var bundle = bench.bundle(["w1", "w2"])
        #expect(bench.apply(bundle).deliveries.map(\.to) == [wit])
        bundle.jwtAuthorities = [AgentBundle.JWTAuthority(keyID: "k", publicKeyDER: [1])]
        #expect(bench.apply(bundle).deliveries.map(\.to) == [jwt])
        #expect(bench.apply(bundle).deliveries.isEmpty)
    }

    @Test("what a withdrawn or tainted authority signed is replaced", arguments: [true, false])
    func withdrawn(isTainted: Bool) throws {
        var bench = try WITBench(entries: [try .make("a", ["unix:uid:1"])])
        _ = try bench.subscribe(.witSVIDs, "unix:uid:1")
        let first = try bench.sign().first?.1.keys
        let bundle =
            isTainted ? bench.bundle(["w1", "w2"], tainted: ["w1"]) : bench.bundle(["w2"])
        #expect(bench.apply(bundle).wantsSigning)
        #expect(try bench.sign().first?.1.keys != first)
    }

    @Test("an entry that changes its SPIFFE ID gets a new WIT-SVID, and never the old one")
    func entryChange() throws {
        var bench = try WITBench(entries: [try .make("a", ["unix:uid:1"])])
        _ = try bench.subscribe(.witSVIDs, "unix:uid:1")
        _ = try bench.sign()
        let moved = try AuthorizedEntry.make("a", ["unix:uid:1"], path: "/moved", revision: 1)
        let effects = bench.cache.apply(EntryChange(upserted: [moved]), now: bench.now)
        #expect(effects.deliveries.isEmpty && effects.wantsSigning)
        let view = try bench.sign().first?.1.wit
        #expect(view?.identities.map(\.svid.spiffeID.path) == ["/moved"])
    }

    @Test("a refusal of the server rests, and a stream that waits is sent away")
    func refused() throws {
        var bench = try WITBench(entries: [try .make("a", ["unix:uid:1"])])
        _ = try bench.subscribe(.witSVIDs, "unix:uid:1")
        let job = try #require(bench.cache.takeWITSigningBatch(limit: 1, now: bench.now).first)
        let effects = bench.cache.witSigningFailed(job.requestID, now: bench.now)
        #expect(effects.deliveries.map { $0.1.refusal } == [.notIssuedYet])
        #expect(!effects.wantsSigning)
    }

    @Test("a suspended agent ends WIT streams too")
    func suspended() throws {
        var bench = try WITBench(entries: [try .make("a", ["unix:uid:1"])])
        let (id, _) = try bench.subscribe(.witSVIDs, "unix:uid:1")
        _ = try bench.sign()
        let effects = bench.cache.suspend(.notAttested)
        #expect(effects.deliveries.map(\.to) == [id])
        #expect(bench.cache.witSVIDCount == 0)
    }

    @Test("what the server signs is checked: identity, key and end")
    func issued() throws {
        let bench = try WITBench(entries: [])
        let key = try ProofKey(generatingFor: .es256)
        let id = try SPIFFEID("spiffe://acme.test/a")
        let good = try bench.issue(id, key)
        #expect(good.spiffeID == id && good.keyID == "w1")
        let other = try ProofKey(generatingFor: .es256)
        for (token, key, expected, lateness) in [
            (good.token, other, id, 0), (good.token, key, try SPIFFEID("spiffe://acme.test/b"), 0),
            (good.token, key, id, 3600), ("x", key, id, 0),
        ] as [(String, ProofKey, SPIFFEID, TimeInterval)] {
            let error = #expect(throws: AgentError.self) {
                try IssuedWITSVID(
                    token: token, key: key, expectedID: expected,
                    receivedAt: bench.now + lateness)
            }
            #expect(error?.code == .badIssuance)
        }
    }
}
