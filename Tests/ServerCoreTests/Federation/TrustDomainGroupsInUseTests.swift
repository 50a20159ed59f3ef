import SPIFFE
import ServerTestSupport
import Testing

@testable import ServerCore

@Suite struct TrustDomainGroupsInUseTests {
    private static let agent = "spiffe://acme.test/spire/agent/join_token/1"

    private static func directory(_ members: [String]) throws -> Directory {
        let city = Set(try members.map { name throws in try TrustDomain(name) })
        return Directory(
            trustDomain: try TrustDomain("acme.test"), groups: try TrustDomainGroups(["city": city])
        )
    }

    private static func entry() throws -> Entry {
        var entry = Entry(
            id: "e", spiffeID: try SPIFFEID("spiffe://acme.test/light"),
            parentID: try SPIFFEID(Self.agent), selectors: [try Selector("unix:uid:1")])
        try entry.federate(with: "group:city")
        try entry.federate(with: "z.test")
        return entry
    }

    private static func connect(
        _ directory: Directory, knownDigest: [UInt8] = []
    ) async throws -> (session: SyncSession, update: SyncUpdate) {
        let id = try SPIFFEID(Self.agent)
        let node = AttestedNode(
            id: id, attestationType: "join_token", serial: "01", expiresAt: .max)
        directory.apply([.nodeUpserted(node), .entryUpserted(try Self.entry())], seq: 2)
        let session = directory.openSession(agent: id, knownDigest: knownDigest)
        return (session, try #require(try await session.next()))
    }

    @Test("references are read and written in one list, and survive packing")
    func references() throws {
        let entry = try Self.entry()
        #expect(entry.federatesWith.map(\.name) == ["z.test"])
        #expect(entry.federatesWithGroups == ["city"])
        #expect(entry.federationReferences == ["z.test", "group:city"])
        let directory = try Self.directory([])
        directory.apply([.entryUpserted(entry)], seq: 1)
        #expect(directory.withEntries { $0.entry(id: "e") } == entry)
        var bad = entry
        for reference in ["group:", "group:City", "group:a b", "b.test:1", ""] {
            #expect(throws: ServerError.self, "\(reference)") { try bad.federate(with: reference) }
        }
    }

    @Test("an agent sees the members, not the group, and never its own trust domain")
    func expands() async throws {
        let directory = try Self.directory(["b.test", "a.test", "acme.test"])
        let bundle = TrustBundle(trustDomain: try TrustDomain("a.test"))
        directory.apply([.bundleUpserted(bundle)], seq: 1)
        let (_, update) = try await Self.connect(directory)
        let entry = try #require(update.upserted.first)
        #expect(entry.federatesWith.map(\.name) == ["a.test", "b.test", "z.test"])
        #expect(entry.federatesWithGroups.isEmpty)
        #expect(update.bundles == [bundle], "the bundles of members come with the entry")
        let agent = try SPIFFEID(Self.agent)
        #expect(directory.authorizedEntries(agent: agent) == [entry], "stock agents see the same")
        #expect(
            directory.withEntries { $0.entry(id: "e") } == (try Self.entry()), "operators do not")
        var digest = EntryDigest()
        digest.toggle(entry)
        #expect(update.digest == digest, "the agent reckons with what it was sent")
    }

    @Test("a changed group reaches an agent that was up to date before")
    func changes() async throws {
        let before = try await Self.connect(Self.directory(["a.test"])).update
        let same = try await Self.connect(
            Self.directory(["a.test"]), knownDigest: before.digest.bytes
        ).update
        #expect(!same.changesEntries)
        for members in [["b.test"], ["a.test", "b.test"], []] {
            let after = try await Self.connect(
                Self.directory(members), knownDigest: before.digest.bytes
            ).update
            #expect(after.isSnapshot, "\(members)")
            #expect(
                after.upserted.first?.federatesWith.map(\.name) == (members + ["z.test"]).sorted())
            #expect(after.upserted.first?.revision != before.upserted.first?.revision)
        }
    }

    @Test("an entry cannot name a group that is not there, and keeps one that is there no more")
    func validates() async throws {
        let plane = try await TestPlane()
        let result = try await plane.entries.create([.success(try Self.entry())])
        guard case .refused(let error)? = result.first else {
            Issue.record("not refused: \(result)")
            return
        }
        #expect(error.code == .invalidArgument && error.message.contains("\"city\""))
        var stored = try Self.entry()
        stored.federatesWith = []
        _ = try await plane.store.createEntries([stored])
        let updates = try await plane.entries.update([
            EntryUpdate(id: "e") { (old: Entry) throws(ServerError) -> Entry in
                var new = old
                new.hint = "x"
                return new
            }
        ])
        guard case .updated(let new)? = updates.first else {
            Issue.record("not updated: \(updates)")
            return
        }
        #expect(new.federatesWithGroups == ["city"])
        #expect(plane.directory.groups.expanding(new, own: plane.trustDomain).federatesWith.isEmpty)
    }

    @Test("a search for a trust domain finds the entries of its groups")
    func searches() throws {
        let directory = try Self.directory(["a.test"])
        let entry = try Self.entry()
        directory.apply([.entryUpserted(entry)], seq: 1)
        let registry = EntryRegistry(directory: directory, store: MemoryStore())
        for (name, found) in [("a.test", 1), ("z.test", 1), ("b.test", 0)] {
            var filter = EntryFilter()
            filter.federatesWith = ([try TrustDomain(name)], .any)
            #expect(registry.count(filter) == found, "\(name)")
            filter.parentID = entry.parentID
            #expect(registry.list(filter).entries == (found == 1 ? [entry] : []), "\(name)")
        }
    }
}
