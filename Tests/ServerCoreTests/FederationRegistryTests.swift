import SPIFFE
import ServerCore
import ServerTestSupport
import Testing

@Suite struct FederationRegistryTests {
    private struct World {
        let plane: TestPlane
        let registry: FederationRegistry
        let bundles: BundleRegistry
        let partner: TrustDomain

        init() async throws {
            self.plane = try await TestPlane()
            self.registry = FederationRegistry(
                directory: self.plane.directory, store: self.plane.store)
            self.bundles = BundleRegistry(directory: self.plane.directory, store: self.plane.store)
            self.partner = try TrustDomain("b.test")
        }

        func entry(_ id: String, federatesWith names: [String]) throws -> Entry {
            var entry = try Entry.test(id, "/\(id)", parent: "/spire/agent/x/1")
            entry.federatesWith = try names.map { name throws in try TrustDomain(name) }
            return entry
        }

        func create(_ entry: Entry) async throws -> EntryRegistry.CreateResult? {
            try await self.plane.entries.create([.success(entry)]).first
        }
    }

    private static func code(_ body: () async throws -> Void) async -> ServerError.Code? {
        await #expect(throws: ServerError.self) { try await body() }?.code
    }

    @Test func `a relationship is made once, with the bundle that comes with it`() async throws {
        let world = try await World()
        let bundle = try Partner.stored("b.test", sequence: 3)
        let relationship = try Partner.relationship("b.test")
        #expect(
            try await world.registry.create(.init(relationship, bundle: bundle)) == relationship)
        #expect(world.plane.directory.bundle(world.partner)?.foreignSequence == 3)
        #expect(try world.registry.relationship(world.partner) == relationship)
        #expect(
            await Self.code { _ = try await world.registry.create(.init(relationship)) }
                == .alreadyExists)
        #expect(world.registry.list() == [relationship])
    }

    @Test func `a bundle of somebody else is refused and nothing is stored`() async throws {
        let world = try await World()
        let draft = FederationRegistry.Draft(
            try Partner.relationship("b.test"), bundle: try Partner.stored("c.test"))
        #expect(
            await Self.code { _ = try await world.registry.create(draft) } == .invalidArgument)
        #expect(world.registry.list().isEmpty && world.plane.directory.foreignBundles.isEmpty)
    }

    @Test func `an update that breaks a rule changes nothing`() async throws {
        let world = try await World()
        let relationship = try Partner.relationship("b.test")
        _ = try await world.registry.create(.init(relationship))
        #expect(
            await Self.code {
                _ = try await world.registry.update(
                    .init(world.partner, bundleEndpointURL: "http://b.test"))
            } == .invalidArgument)
        #expect(
            await Self.code {
                _ = try await world.registry.update(.init(try TrustDomain("c.test")))
            } == .notFound)
        #expect(world.registry.list() == [relationship])
    }

    @Test("FED-39: ending a relationship takes the bundle away, and entries stay as they are")
    func end() async throws {
        let world = try await World()
        _ = try await world.registry.create(
            .init(try Partner.relationship("b.test"), bundle: try Partner.stored("b.test")))
        let entry = try world.entry("e", federatesWith: ["b.test"])
        _ = try await world.create(entry)
        try await world.registry.delete(world.partner)
        #expect(world.plane.directory.bundle(world.partner) == nil)
        #expect(world.plane.entries.entry(id: "e")?.federatesWith == [world.partner])
        #expect(await Self.code { try await world.registry.delete(world.partner) } == .notFound)
        // The entry can be changed though it names a partner that is gone; no other may name it.
        let results = try await world.plane.entries.update([
            EntryUpdate(id: "e") { (old: Entry) throws(ServerError) in
                var new = old
                new.hint = "h"
                return new
            }
        ])
        guard case .updated(let changed)? = results.first else {
            Issue.record("the update was refused: \(results)")
            return
        }
        #expect(changed.hint == "h")
        guard
            case .refused(let error)? = try await world.create(
                world.entry("f", federatesWith: ["b.test"]))
        else {
            Issue.record("an entry may name a partner that is gone")
            return
        }
        #expect(error.code == .invalidArgument)
    }

    @Test func `an entry is not held up by a partner whose bundle has not come yet`() async throws {
        let world = try await World()
        _ = try await world.registry.create(.init(try Partner.relationship("b.test")))
        guard
            case .created? = try await world.create(world.entry("e", federatesWith: ["b.test"]))
        else {
            Issue.record("the entry was refused")
            return
        }
    }

    @Test func `a relationship of the configuration counts before a stored one`() async throws {
        let store = MemoryStore()
        var configured = try Partner.relationship("b.test")
        configured.bundleEndpointURL = "https://configured.test"
        let directory = Directory(
            trustDomain: try TrustDomain("acme.test"), relationships: [configured])
        try await directory.load(from: store)
        store.setConsumer(directory)
        let registry = FederationRegistry(directory: directory, store: store)
        let bundles = BundleRegistry(directory: directory, store: store)
        #expect(
            await Self.code { _ = try registry.relationship(configured.trustDomain) } == .notFound)
        let stored = try Partner.relationship("b.test")
        _ = try await registry.create(.init(stored, bundle: try Partner.stored("b.test")))
        #expect(directory.relationship(stored.trustDomain) == configured)
        #expect(directory.relationships == [configured] && registry.list() == [stored])
        try await registry.delete(stored.trustDomain)
        #expect(
            try bundles.foreignBundle(stored.trustDomain).x509Authorities.count == 1,
            "the configuration still trusts the partner")
    }

    @Test func `lists go page by page in the order of names`() async throws {
        let world = try await World()
        for name in ["d.test", "b.test", "e.test", "c.test"] {
            _ = try await world.registry.create(.init(try Partner.relationship(name)))
            _ = try await world.bundles.create(try Partner.stored(name))
        }
        var seen: [String] = []
        var after: TrustDomain?
        while true {
            let page = world.registry.list(after: after, limit: 3)
            #expect(
                page.map(\.trustDomain)
                    == world.bundles.list(after: after, limit: 3).map(\.trustDomain))
            guard let last = page.last else { break }
            seen += page.map(\.trustDomain.name)
            after = last.trustDomain
        }
        #expect(seen == ["b.test", "c.test", "d.test", "e.test"])
        #expect(world.registry.list().count == 4 && world.bundles.list().count == 4)
    }

    // MARK: Bundles

    @Test func `a bundle is created once, set any time, and updated in parts`() async throws {
        let world = try await World()
        let first = try Partner.stored("b.test", sequence: 1)
        #expect(
            await Self.code { _ = try await world.bundles.update(first, parts: .all) } == .notFound)
        _ = try await world.bundles.create(first)
        #expect(await Self.code { _ = try await world.bundles.create(first) } == .alreadyExists)
        let second = try Partner.stored("b.test", sequence: 2)
        let set = try await world.bundles.set(second)
        #expect(set.x509Authorities == second.x509Authorities && set.sequenceNumber == 2)
        var hint = first
        hint.refreshHint = 77
        let updated = try await world.bundles.update(hint, parts: [.refreshHint])
        #expect(updated.refreshHint == 77 && updated.x509Authorities == second.x509Authorities)
        #expect(updated.foreignSequence == 2 && updated.jwtAuthorities == second.jwtAuthorities)
        let keys = try await world.bundles.update(first, parts: [.jwt])
        #expect(keys.jwtAuthorities == first.jwtAuthorities)
        #expect(keys.x509Authorities == second.x509Authorities && keys.refreshHint == 77)
    }

    @Test func `our own bundle is no partner's`() async throws {
        let world = try await World()
        let own = TrustBundle(trustDomain: world.plane.trustDomain)
        #expect(await Self.code { _ = try await world.bundles.set(own) } == .invalidArgument)
        #expect(await Self.code { _ = try await world.bundles.create(own) } == .invalidArgument)
        #expect(
            await Self.code { _ = try await world.bundles.update(own, parts: .all) }
                == .invalidArgument)
        #expect(
            await Self.code { _ = try world.bundles.foreignBundle(own.trustDomain) }
                == .invalidArgument)
        for mode in BundleDeletionMode.allCases {
            #expect(
                await Self.code { try await world.bundles.delete(own.trustDomain, mode: mode) }
                    == .invalidArgument)
        }
        #expect(world.plane.directory.ownBundle?.x509Authorities.isEmpty == false)
    }

    @Test func `deleting a bundle does with its entries what the mode says`() async throws {
        for (mode, left) in [
            (BundleDeletionMode.dissociate, ["both", "none", "one"]), (.delete, ["none"]),
            (.leave, ["both", "none", "one"]),
        ] {
            let world = try await World()
            for name in ["b.test", "bb.test"] {
                _ = try await world.bundles.create(try Partner.stored(name))
            }
            for (id, names) in [
                ("both", ["b.test", "bb.test"]), ("one", ["b.test"]), ("none", ["bb.test"]),
            ] {
                _ = try await world.create(world.entry(id, federatesWith: names))
            }
            #expect(
                await Self.code {
                    try await world.bundles.delete(world.partner, mode: .restrict)
                } == .failedPrecondition)
            #expect(world.plane.directory.bundle(world.partner) != nil)
            try await world.bundles.delete(world.partner, mode: mode)
            #expect(world.plane.directory.bundle(world.partner) == nil)
            #expect(
                world.plane.entries.list(EntryFilter()).entries.map(\.id).sorted() == left,
                "\(mode)")
            let both = world.plane.entries.entry(id: "both")
            switch mode {
            case .dissociate:
                #expect(both?.federatesWith.map(\.name) == ["bb.test"] && both?.revision == 1)
            case .leave: #expect(both?.federatesWith.count == 2 && both?.revision == 0)
            default: #expect(both == nil)
            }
            #expect(world.plane.entries.entry(id: "none")?.revision == 0)
            #expect(
                await Self.code { try await world.bundles.delete(world.partner, mode: mode) }
                    == .notFound)
        }
    }

    @Test func `authorities are appended to our own bundle once, and none takes another's name`()
        async throws
    {
        let world = try await World()
        let own = world.plane.trustDomain
        let before = try #require(world.plane.directory.ownBundle)
        var addition = TrustBundle(trustDomain: own)
        #expect(
            await Self.code { _ = try await world.bundles.append(addition) } == .invalidArgument)
        addition.x509Authorities = [.init(der: try Partner.certificate([own.id.string]))]
        addition.jwtAuthorities = try Partner.stored("b.test").jwtAuthorities
        let after = try await world.bundles.append(addition)
        #expect(after.x509Authorities == before.x509Authorities + addition.x509Authorities)
        #expect(after.jwtAuthorities == before.jwtAuthorities + addition.jwtAuthorities)
        #expect(after.sequenceNumber == before.sequenceNumber + 1)
        #expect(try await world.bundles.append(addition) == after, "nothing is new")
        var stolen = TrustBundle(trustDomain: own)
        stolen.jwtAuthorities = [
            .init(
                keyID: try #require(before.jwtAuthorities.first).keyID,
                publicKeyDER: addition.jwtAuthorities[0].publicKeyDER, expiresAt: 0)
        ]
        let attempt = stolen
        #expect(await Self.code { _ = try await world.bundles.append(attempt) } == .invalidArgument)
        #expect(world.plane.directory.ownBundle == after)
    }

    @Test func `a bundle that was deleted and set again is not the old one`() async throws {
        let world = try await World()
        let source = DirectoryBundleSource(directory: world.plane.directory)
        let first = try Partner.stored("b.test")
        _ = try await world.bundles.set(first)
        #expect(
            source.x509Bundle(for: world.partner)?.authoritiesDER
                == first.x509Authorities.map(\.der))
        try await world.bundles.delete(world.partner, mode: .restrict)
        let second = try Partner.stored("b.test")
        _ = try await world.bundles.set(second)
        #expect(world.plane.directory.bundle(world.partner)?.sequenceNumber == 1)
        #expect(
            source.x509Bundle(for: world.partner)?.authoritiesDER
                == second.x509Authorities.map(\.der))
    }
}
