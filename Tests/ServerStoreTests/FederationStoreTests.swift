import GRDB
import SPIFFE
import ServerCore
import ServerTestSupport
import Testing

@testable import ServerStore

/// Relationships and partners' bundles, in every store.
@Suite struct FederationStoreTests {
    private static func spiffe(_ name: String) throws -> FederationRelationship {
        FederationRelationship(
            trustDomain: try TrustDomain(name), bundleEndpointURL: "https://\(name)/?a='b",
            profile: .httpsSPIFFE(endpointID: try SPIFFEID("spiffe://\(name)/spire/server")))
    }

    @Test(arguments: StoreKind.allCases)
    func `relationships are made, changed and ended, and the feed tells of it`(kind: StoreKind)
        async throws
    {
        let log = FeedLog()
        try await kind.run(log) { store in
            let one = try Partner.relationship("b.test")
            let two = try Self.spiffe("c.test")
            let bundle = try Partner.stored("c.test", sequence: .max)
            #expect(try await store.createRelationship(one, bundle: nil))
            #expect(try await store.createRelationship(two, bundle: bundle))
            let taken = FederationRelationship(
                trustDomain: one.trustDomain, bundleEndpointURL: "https://x.test",
                profile: .httpsWeb)
            #expect(
                try await !store.createRelationship(
                    taken, bundle: try Partner.stored("b.test")))
            var now = try await Contents.of(store)
            #expect(now.contents.relationships == [one, two])
            #expect(now.contents.bundles.map(\.foreignSequence) == [.max])
            #expect(now.contents.bundles.map(\.isFetched) == [false])

            let changed = try await store.updateRelationship(one.trustDomain, bundle: nil) {
                (old: FederationRelationship) throws(ServerError) -> FederationRelationship in
                var new = old
                new.bundleEndpointURL = "https://new.test"
                new.profile = two.profile
                return new
            }
            #expect(changed?.bundleEndpointURL == "https://new.test")
            #expect(changed?.profile == two.profile)
            await #expect(throws: ServerError.self) {
                try await store.updateRelationship(
                    one.trustDomain, bundle: try Partner.stored("b.test")
                ) { (old: FederationRelationship) throws(ServerError) -> FederationRelationship in
                    throw ServerError(.invalidArgument, "no")
                }
            }
            let none = try await store.updateRelationship(
                try TrustDomain("none.test"), bundle: nil
            ) { (old: FederationRelationship) throws(ServerError) -> FederationRelationship in old }
            #expect(none == nil)

            #expect(try await store.deleteRelationship(two.trustDomain, keepsBundle: false))
            #expect(try await !store.deleteRelationship(two.trustDomain, keepsBundle: false))
            now = try await Contents.of(store)
            #expect(now.contents.relationships == [try #require(changed)])
            #expect(now.contents.bundles.isEmpty, "FED-39")
            #expect(Contents(applying: log.changes) == now.contents)
            #expect(log.seq == now.seq && log.gaps == 0)
        }
    }

    @Test(arguments: StoreKind.allCases)
    func `a bundle may outlive its relationship`(kind: StoreKind) async throws {
        try await kind.run(FeedLog()) { store in
            let relationship = try Partner.relationship("b.test")
            _ = try await store.createRelationship(
                relationship, bundle: try Partner.stored("b.test"))
            #expect(
                try await store.deleteRelationship(relationship.trustDomain, keepsBundle: true))
            #expect(try await Contents.of(store).contents.bundles.count == 1)
        }
    }

    @Test(arguments: StoreKind.allCases)
    func `a bundle is written as the rule says, and counted when it differs`(kind: StoreKind)
        async throws
    {
        let log = FeedLog()
        try await kind.run(log) { store in
            let bundle = TrustBundle(fetched: try Partner.bundle("b.test", sequence: 40))
            let domain = bundle.trustDomain
            let nothing = try await store.writeBundle(domain, requiring: nil) {
                (old: TrustBundle?) throws(ServerError) -> TrustBundle? in nil
            }
            #expect(nothing == nil)
            for (round, hint) in [(1, 0), (1, 0), (2, 60), (2, 60), (3, 0)] as [(UInt64, Int64)] {
                let written = try await store.writeBundle(domain, requiring: nil) {
                    (old: TrustBundle?) throws(ServerError) -> TrustBundle? in
                    var new = bundle
                    new.refreshHint = hint
                    return new
                }
                #expect(written?.sequenceNumber == round)
                #expect(written?.foreignSequence == 40, "the partner's number is not ours")
            }
            #expect(log.seq == 3)
            await #expect(throws: ServerError.self) {
                try await store.writeBundle(domain, requiring: nil) {
                    (old: TrustBundle?) throws(ServerError) -> TrustBundle? in
                    throw ServerError(.failedPrecondition, "older")
                }
            }
            let other = try TrustDomain("c.test")
            let empty = try await store.writeBundle(other, requiring: nil) {
                (old: TrustBundle?) throws(ServerError) -> TrustBundle? in
                TrustBundle(trustDomain: other)
            }
            #expect(empty?.sequenceNumber == 1, "an empty bundle is one")
            let kept = try await store.writeBundle(domain, requiring: nil) {
                (old: TrustBundle?) throws(ServerError) -> TrustBundle? in nil
            }
            #expect(kept?.sequenceNumber == 3)
        }
    }

    @Test(arguments: StoreKind.allCases)
    func `a bundle is not written for a relationship that was changed or ended`(kind: StoreKind)
        async throws
    {
        try await kind.run(FeedLog()) { store in
            let relationship = try Partner.relationship("b.test")
            let bundle = try Partner.stored("b.test")
            func write() async throws -> ServerError.Code? {
                do {
                    _ = try await store.writeBundle(bundle.trustDomain, requiring: relationship) {
                        (old: TrustBundle?) throws(ServerError) -> TrustBundle? in bundle
                    }
                    return nil
                } catch let error as ServerError {
                    return error.code
                }
            }
            #expect(try await write() == .notFound)
            _ = try await store.createRelationship(relationship, bundle: nil)
            #expect(try await write() == nil)
            _ = try await store.updateRelationship(relationship.trustDomain, bundle: nil) {
                (old: FederationRelationship) throws(ServerError) -> FederationRelationship in
                var new = old
                new.bundleEndpointURL = "https://new.test"
                return new
            }
            #expect(try await write() == .notFound)
        }
    }

    @Test(arguments: StoreKind.allCases)
    func `deleting a bundle and what becomes of its entries are one change`(kind: StoreKind)
        async throws
    {
        for mode in BundleDeletionMode.allCases {
            let log = FeedLog()
            try await kind.run(log) { store in
                let domain = try TrustDomain("b.test")
                for name in ["b.test", "bb.test"] {
                    _ = try await store.updateBundle(try TrustDomain(name)) { $0.refreshHint = 1 }
                }
                var entry = try Entry.test("e", "/w", parent: "/p")
                entry.federatesWith = [domain, try TrustDomain("bb.test")]
                var other = try Entry.test("f", "/v", parent: "/p")
                other.federatesWith = [try TrustDomain("bb.test")]
                _ = try await store.createEntries([entry, other])
                let outcome = try await store.deleteBundle(domain, mode: mode)
                let now = try await Contents.of(store).contents
                switch mode {
                case .restrict:
                    #expect(outcome == .restricted(entries: 1))
                    #expect(now.entries == [entry, other] && now.bundles.count == 2)
                case .dissociate:
                    #expect(outcome == .deleted)
                    #expect(now.entries.map(\.federatesWith.count) == [1, 1])
                    #expect(now.entries.map(\.revision) == [1, 0])
                case .delete:
                    #expect(outcome == .deleted)
                    #expect(now.entries == [other])
                case .leave:
                    #expect(outcome == .deleted)
                    #expect(now.entries == [entry, other])
                }
                if mode != .restrict {
                    #expect(now.bundles.map(\.trustDomain.name) == ["bb.test"])
                    #expect(try await store.deleteBundle(domain, mode: mode) == .notFound)
                }
                #expect(Contents(applying: log.changes) == now)
                #expect(log.gaps == 0)
            }
        }
    }

    @Test("FED-32, FED-35: relationships and bundles survive a restart, each under its own name")
    func restart() async throws {
        try await TemporaryFolder.with { folder in
            let path = folder.file("store.sqlite")
            let own = try TrustDomain("acme.test")
            let relationships = [try Partner.relationship("b.test"), try Self.spiffe("c.test")]
            let bundle = TrustBundle(fetched: try Partner.bundle("b.test", sequence: .max))
            var store: SQLiteStore? = try SQLiteStore(path: path, trustDomain: own)
            for relationship in relationships {
                _ = try await store?.createRelationship(relationship, bundle: nil)
            }
            _ = try await store?.writeBundle(bundle.trustDomain, requiring: relationships[0]) {
                (old: TrustBundle?) throws(ServerError) -> TrustBundle? in bundle
            }
            _ = try await store?.writeBundle(try TrustDomain("c.test"), requiring: nil) {
                (old: TrustBundle?) throws(ServerError) -> TrustBundle? in
                try Self.unnumbered()
            }
            store = nil
            let directory = Directory(trustDomain: own)
            try await directory.load(from: try SQLiteStore(path: path, trustDomain: own))
            #expect(directory.relationships == relationships)
            let stored = try #require(directory.bundle(bundle.trustDomain))
            #expect(stored.foreignSequence == .max && stored.isFetched)
            #expect(stored.x509Authorities == bundle.x509Authorities)
            let other = try #require(directory.bundle(try TrustDomain("c.test")))
            #expect(other.foreignSequence == nil && !other.isFetched)
            #expect(Set(other.x509Authorities).isDisjoint(with: stored.x509Authorities))
        }
    }

    private static func unnumbered() throws(ServerError) -> TrustBundle {
        do { return try Partner.stored("c.test") } catch {
            throw ServerError(.internal, "\(error)")
        }
    }

    @Test func `a store of the version before keeps its bundles`() async throws {
        try await TemporaryFolder.with { folder in
            let path = folder.file("store.sqlite")
            let own = try TrustDomain("acme.test")
            do {
                let database = try DatabaseQueue(path: path)
                try Schema.migrator.migrate(database, upTo: "WIT authorities of bundles")
                try await database.write { db in
                    try db.execute(
                        sql: """
                            INSERT INTO meta (key, value) VALUES ('trust_domain', 'acme.test');
                            INSERT INTO bundles VALUES ('b.test', 60, 7);
                            """)
                }
                try database.close()
            }
            let store = try SQLiteStore(path: path, trustDomain: own)
            let bundle = try #require(try await Contents.of(store).contents.bundles.first)
            #expect(bundle.sequenceNumber == 7 && bundle.refreshHint == 60)
            #expect(bundle.foreignSequence == nil && !bundle.isFetched)
        }
    }

    @Test(arguments: StoreKind.allCases)
    func `limits of partners are kept as they are, and no path is not every path`(kind: StoreKind)
        async throws
    {
        let log = FeedLog()
        try await kind.run(log) { store in
            let all = try [
                PartnerLimits(trustDomain: try TrustDomain("a.test"), uses: .jwt),
                PartnerLimits(trustDomain: try TrustDomain("b.test"), acceptedPaths: []),
                PartnerLimits(
                    trustDomain: try TrustDomain("c.test"), acceptedPaths: ["/agents/*", "/x/**"],
                    uses: .x509),
            ]
            for limits in all { try await store.setLimits(limits) }
            #expect(try await Contents.of(store).contents.limits == all)
            let changed = try PartnerLimits(
                trustDomain: try TrustDomain("a.test"), acceptedPaths: ["/y"])
            try await store.setLimits(changed)
            #expect(try await store.deleteLimits(try TrustDomain("c.test")))
            #expect(try await !store.deleteLimits(try TrustDomain("c.test")))
            let now = try await Contents.of(store)
            #expect(now.contents.limits == [changed, all[1]])
            #expect(Contents(applying: log.changes) == now.contents)
            #expect(log.seq == now.seq && log.gaps == 0)
        }
    }

    @Test(arguments: StoreKind.allCases)
    func `groups that entries federate with are kept beside trust domains`(kind: StoreKind)
        async throws
    {
        try await kind.run(FeedLog()) { store in
            var entry = Entry(
                id: "e", spiffeID: try SPIFFEID("spiffe://acme.test/a"),
                parentID: try SPIFFEID("spiffe://acme.test/spire/agent/1"),
                selectors: [try Selector("unix:uid:1")])
            for reference in ["b.test", "group:city", "group:region.1"] {
                try entry.federate(with: reference)
            }
            #expect(try await store.createEntries([entry]) == [true])
            #expect(try await Contents.of(store).contents.entries == [entry])
        }
    }
}
