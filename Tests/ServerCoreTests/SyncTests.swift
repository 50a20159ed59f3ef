import SPIFFE
import ServerCore
import ServerTestSupport
import Testing

/// A directory with agents that hold sessions, changed directly through its feed.
private final class Feed {
    let directory: Directory
    private(set) var seq: UInt64 = 0

    init() throws { self.directory = Directory(trustDomain: try TrustDomain("acme.test")) }

    func apply(_ changes: Change...) { self.apply(changes) }

    func apply(_ changes: [Change]) {
        self.seq += UInt64(changes.count)
        self.directory.apply(changes, seq: self.seq)
    }

    func agent(_ number: Int) throws -> SPIFFEID {
        try SPIFFEID("spiffe://acme.test/spire/agent/join_token/\(number)")
    }

    func node(_ number: Int, _ selectors: [String] = []) throws -> AttestedNode {
        var node = AttestedNode(
            id: try self.agent(number), attestationType: "join_token", serial: "0\(number)",
            expiresAt: .max)
        node.selectors = try selectors.map { text throws in try Selector(text) }.sorted()
        return node
    }

    /// Attests the agent, opens its session and takes the first snapshot.
    func connect(_ number: Int, _ selectors: [String] = []) async throws -> SyncSession {
        self.apply(.nodeUpserted(try self.node(number, selectors)))
        let session = self.directory.openSession(agent: try self.agent(number), knownDigest: [])
        let first = try #require(try await session.pending())
        #expect(first.isSnapshot)
        return session
    }
}

extension SyncSession {
    /// What waits to be taken; nil when nothing does.
    fileprivate func pending() async throws -> SyncUpdate? {
        self.settled == nil ? try await self.next() : nil
    }
}

/// What an agent holds after the updates it has taken.
private struct View {
    var entries: [String: Entry] = [:]

    mutating func take(_ update: SyncUpdate) {
        if update.isSnapshot { self.entries = [:] }
        for id in update.removedIDs { self.entries[id] = nil }
        for entry in update.upserted { self.entries[entry.id] = entry }
    }

    var digest: EntryDigest {
        var digest = EntryDigest()
        for entry in self.entries.values { digest.toggle(entry) }
        return digest
    }
}

private let agentPath = "/spire/agent/join_token/"

@Suite struct SyncTests {
    @Test func `one agent has a handful of sessions and no more`() async throws {
        let feed = try Feed()
        let other = try await feed.connect(2)
        var sessions = [try await feed.connect(1)]
        for _ in 0..<3 {
            sessions.append(
                feed.directory.openSession(agent: try feed.agent(1), knownDigest: []))
        }
        #expect(sessions.allSatisfy { !$0.hasEnded })
        let newest = feed.directory.openSession(agent: try feed.agent(1), knownDigest: [])
        #expect(sessions.allSatisfy { $0.hasEnded })
        #expect(!newest.hasEnded && !other.hasEnded)
        try newest.requireOpen()
        #expect(throws: ServerError.self) { try sessions[0].requireOpen() }
    }

    @Test func `a change goes to the agents it concerns and to no other`() async throws {
        let feed = try Feed()
        let one = try await feed.connect(1)
        let two = try await feed.connect(2)
        feed.apply(.entryUpserted(try .test("e", "/a", parent: agentPath + "1")))
        let update = try #require(try await one.pending())
        #expect(!update.isSnapshot)
        #expect(update.upserted.map(\.id) == ["e"])
        #expect(update.seq == feed.seq)
        #expect(two.settled?.digest == EntryDigest())
        feed.apply(.entryUpserted(try .test("e", "/a", parent: agentPath + "2")))
        #expect(try await one.pending()?.removedIDs == ["e"])
        #expect(try await two.pending()?.upserted.map(\.id) == ["e"])
        feed.apply(.entryRemoved(id: "e"))
        #expect(one.settled?.digest == EntryDigest())
        #expect(try await two.pending()?.removedIDs == ["e"])
    }

    @Test func `an entry below another entry reaches the agent above both`() async throws {
        let feed = try Feed()
        let one = try await feed.connect(1)
        feed.apply(.entryUpserted(try .test("top", "/top", parent: agentPath + "1")))
        feed.apply(.entryUpserted(try .test("leaf", "/leaf", parent: "/top")))
        #expect(Set(try await one.pending()?.upserted.map(\.id) ?? []) == ["top", "leaf"])
        feed.apply(.entryRemoved(id: "top"))
        let update = try #require(try await one.pending())
        #expect(update.isSnapshot, "the graph of parents has changed")
        #expect(update.upserted.isEmpty)
        #expect(update.digest == EntryDigest())
    }

    @Test func `a new alias that covers a node gives it a snapshot`() async throws {
        let feed = try Feed()
        let one = try await feed.connect(1, ["k8s:node:a", "k8s:zone:z"])
        let two = try await feed.connect(2, ["k8s:node:b"])
        feed.apply(.entryUpserted(try .test("e", "/e", parent: "/pool")))
        #expect(one.settled != nil && two.settled != nil)
        feed.apply(
            .entryUpserted(try .test("alias", "/pool", parent: "/spire/server", ["k8s:node:a"])))
        let update = try #require(try await one.pending())
        #expect(update.isSnapshot)
        #expect(update.upserted.map(\.id) == ["e"])
        #expect(two.settled != nil)
        feed.apply(.entryRemoved(id: "alias"))
        let after = try #require(try await one.pending())
        #expect(after.isSnapshot && after.upserted.isEmpty)
    }

    @Test func `an entry that becomes an alias, or stops being one, leaves the digest right`()
        async throws
    {
        let feed = try Feed()
        let one = try await feed.connect(1, ["k8s:node:a"])
        for parent in [agentPath + "1", "/spire/server", agentPath + "1", "/spire/server"] {
            feed.apply(.entryUpserted(try .test("e", "/e", parent: parent, ["k8s:node:a"])))
            var wanted = EntryDigest()
            for entry in feed.directory.authorizedEntries(agent: try feed.agent(1)) {
                wanted.toggle(entry)
            }
            #expect(try await one.pending()?.digest == wanted, "parent \(parent)")
        }
    }

    @Test func `an entry that becomes the parent of its old place leaves the digest right`()
        async throws
    {
        let feed = try Feed()
        let one = try await feed.connect(1)
        feed.apply(.entryUpserted(try .test("e", "/c", parent: "/a")))
        #expect(one.settled != nil)
        let moved = try Entry.test("e", "/a", parent: agentPath + "1")
        feed.apply(.entryUpserted(moved))
        var wanted = EntryDigest()
        wanted.toggle(moved)
        #expect(try await one.pending()?.digest == wanted)
    }

    @Test func `other selectors of a node bring it other entries`() async throws {
        let feed = try Feed()
        let one = try await feed.connect(1, ["k8s:node:a"])
        feed.apply(
            .entryUpserted(try .test("alias", "/pool", parent: "/spire/server", ["k8s:node:b"])),
            .entryUpserted(try .test("e", "/e", parent: "/pool")))
        #expect(one.settled != nil)
        feed.apply(.nodeUpserted(try feed.node(1, ["k8s:node:b"])))
        let update = try #require(try await one.pending())
        #expect(update.isSnapshot)
        #expect(update.upserted.map(\.id) == ["e"])
    }

    @Test func `a ban ends the session and says why`() async throws {
        let feed = try Feed()
        let one = try await feed.connect(1)
        let two = try await feed.connect(2)
        var node = try feed.node(1)
        node.ban()
        feed.apply(.nodeUpserted(node))
        let error = await #expect(throws: ServerError.self) { try await one.next() }
        #expect(error?.code == .permissionDenied)
        #expect(error?.agentReason == .banned)
        #expect(two.settled != nil)
        feed.directory.closeSession(one)
        #expect(feed.directory.sessionCount == 1)
    }

    @Test func `an eviction ends the session and says why`() async throws {
        let feed = try Feed()
        let one = try await feed.connect(1)
        feed.apply(.nodeRemoved(try feed.agent(1)))
        let error = await #expect(throws: ServerError.self) { try await one.next() }
        #expect(error?.agentReason == .notAttested)
        let again = await #expect(throws: ServerError.self) { try await one.next() }
        #expect(again?.agentReason == .notAttested, "the reason stays")
    }

    @Test func `a reader that waits is woken by the change`() async throws {
        let feed = try Feed()
        let one = try await feed.connect(1)
        let reader = Task { try await one.next() }
        feed.apply(.entryUpserted(try .test("e", "/a", parent: agentPath + "1")))
        #expect(try await reader.value?.upserted.map(\.id) == ["e"])
    }

    @Test func `a reader that is cancelled gets nothing`() async throws {
        let feed = try Feed()
        let one = try await feed.connect(1)
        let reader = Task { try await one.next() }
        reader.cancel()
        let update = try await reader.value
        #expect(update == nil)
    }

    @Test func `closing a session ends it without error and forgets it`() async throws {
        let feed = try Feed()
        let one = try await feed.connect(1)
        feed.directory.closeSession(one)
        let update = try await one.next()
        #expect(update == nil)
        #expect(feed.directory.sessionCount == 0)
        feed.apply(.entryUpserted(try .test("e", "/a", parent: agentPath + "1")))
        #expect(one.settled != nil, "nothing is queued for it any more")
    }

    @Test func `a slow reader gets one update with the newest state of each entry`() async throws {
        let feed = try Feed()
        let one = try await feed.connect(1)
        var entry = try Entry.test("e", "/a", parent: agentPath + "1")
        for revision in 0..<500 as Range<Int64> {
            entry.revision = revision
            feed.apply(.entryUpserted(entry))
        }
        feed.apply(.entryUpserted(try .test("gone", "/b", parent: agentPath + "1")))
        feed.apply(.entryRemoved(id: "gone"))
        let update = try #require(try await one.pending())
        #expect(update.upserted.map(\.revision) == [499])
        #expect(update.removedIDs == ["gone"])
        #expect(update.seq == 503)
        #expect(one.settled?.seq == 503)
        feed.apply(.entryRemoved(id: "e"))
        feed.apply(.entryUpserted(entry))
        let next = try #require(try await one.pending())
        #expect(next.upserted.count == 1 && next.removedIDs.isEmpty)
    }

    @Test func `changes on top of a snapshot that waits are joined into it`() async throws {
        let feed = try Feed()
        let one = try await feed.connect(1)
        feed.apply(.entryUpserted(try .test("e", "/a", parent: agentPath + "1")))
        feed.directory.resync(one)
        feed.apply(.entryUpserted(try .test("f", "/f", parent: agentPath + "1")))
        feed.apply(.entryRemoved(id: "e"))
        let update = try #require(try await one.pending())
        #expect(update.isSnapshot)
        #expect(update.upserted.map(\.id) == ["f"])
        #expect(update.removedIDs.isEmpty)
    }

    @Test func `a digest that the agent holds already saves it the snapshot`() async throws {
        let feed = try Feed()
        feed.apply(.nodeUpserted(try feed.node(1)))
        feed.apply(.entryUpserted(try .test("e", "/a", parent: agentPath + "1")))
        let agent = try feed.agent(1)
        let first = try #require(
            try await feed.directory.openSession(agent: agent, knownDigest: []).pending())
        #expect(first.isSnapshot && first.upserted.count == 1)
        let known = feed.directory.openSession(agent: agent, knownDigest: first.digest.bytes)
        #expect(known.settled?.digest == first.digest)
        let other = feed.directory.openSession(
            agent: agent, knownDigest: [UInt8](repeating: 1, count: 16))
        #expect(try await other.pending()?.isSnapshot == true)
        feed.apply(.entryUpserted(try .test("f", "/f", parent: agentPath + "1")))
        #expect(try await known.pending()?.upserted.map(\.id) == ["f"])
    }

    @Test func `bundles go to agents whose entries federate, the own one to all`() async throws {
        let feed = try Feed()
        let one = try await feed.connect(1)
        let two = try await feed.connect(2)
        let foreign = try TrustDomain("b.test")
        var bundle = TrustBundle(trustDomain: foreign)
        bundle.sequenceNumber = 1
        feed.apply(.bundleUpserted(bundle))
        #expect(one.settled != nil && two.settled != nil)
        var entry = try Entry.test("e", "/a", parent: agentPath + "1")
        entry.federatesWith = [foreign]
        feed.apply(.entryUpserted(entry))
        #expect(try await one.pending()?.bundles == [bundle])
        bundle.sequenceNumber = 2
        feed.apply(.bundleUpserted(bundle))
        let update = try #require(try await one.pending())
        #expect(update.bundles == [bundle])
        #expect(!update.changesEntries)
        feed.apply(.bundleRemoved(foreign))
        #expect(try await one.pending()?.removedBundles == [foreign])
        #expect(two.settled != nil)
        var own = TrustBundle(trustDomain: feed.directory.trustDomain)
        own.sequenceNumber = 9
        feed.apply(.bundleUpserted(own))
        #expect(try await one.pending()?.bundles == [own])
        #expect(try await two.pending()?.bundles == [own])
    }

    @Test("FED-39: an agent gives up the bundle of a partner with the last entry that federates")
    func separates() async throws {
        let feed = try Feed()
        let one = try await feed.connect(1)
        let foreign = try TrustDomain("b.test")
        let bundle = TrustBundle(trustDomain: foreign)
        feed.apply(.bundleUpserted(bundle))
        var first = try Entry.test("e", "/a", parent: agentPath + "1")
        first.federatesWith = [foreign]
        var second = try Entry.test("f", "/b", parent: agentPath + "1")
        second.federatesWith = [foreign]
        feed.apply(.entryUpserted(first))
        #expect(try await one.pending()?.bundles == [bundle])
        feed.apply(.entryUpserted(second))
        let again = try #require(try await one.pending())
        #expect(again.bundles.isEmpty && again.removedBundles.isEmpty, "it has the bundle")
        first.federatesWith = []
        first.revision = 1
        feed.apply(.entryUpserted(first))
        #expect(try await one.pending()?.removedBundles == [], "the second still federates")
        feed.apply(.entryRemoved(id: "f"))
        #expect(try await one.pending()?.removedBundles == [foreign])
        feed.apply(.bundleUpserted(bundle))
        #expect(one.settled != nil, "it is not told any more")
    }

    @Test func `a partner without bundle costs an agent the one it may have held before`()
        async throws
    {
        let feed = try Feed()
        let foreign = try TrustDomain("b.test")
        var entry = try Entry.test("e", "/a", parent: agentPath + "1")
        entry.federatesWith = [foreign]
        feed.apply(.nodeUpserted(try feed.node(1)), .entryUpserted(entry))
        let session = feed.directory.openSession(agent: try feed.agent(1), knownDigest: [])
        let update = try #require(try await session.pending())
        #expect(update.removedBundles == [foreign] && update.upserted == [entry])
        let bundle = TrustBundle(trustDomain: foreign)
        feed.apply(.bundleUpserted(bundle))
        #expect(try await session.pending()?.bundles == [bundle])
    }

    @Test(arguments: [21, 22, 23, 24, 25, 26] as [UInt64])
    func `after any changes each agent holds its authorised set, and the digest says so`(
        seed: UInt64
    ) async throws {
        let feed = try Feed()
        var random = RandomEntries(seed: seed)
        var sessions: [SyncSession] = []
        var views = [View](repeating: View(), count: 4)
        for number in 0..<4 {
            sessions.append(try await feed.connect(number, random.selectors(atLeast: 0)))
        }
        for _ in 0..<250 {
            var changes: [Change] = []
            for _ in 0..<Int.random(in: 1...3, using: &random.generator) {
                let id = "e\(Int.random(in: 0..<25, using: &random.generator))"
                switch Int.random(in: 0..<10, using: &random.generator) {
                case 0..<3: changes.append(.entryRemoved(id: id))
                case 3:
                    let number = Int.random(in: 0..<4, using: &random.generator)
                    changes.append(
                        .nodeUpserted(try feed.node(number, random.selectors(atLeast: 0))))
                default: changes.append(.entryUpserted(try random.entry(id: id)))
                }
            }
            feed.apply(changes)
            for number in 0..<4 where Int.random(in: 0..<3, using: &random.generator) == 0 {
                guard let update = try await sessions[number].pending() else { continue }
                views[number].take(update)
                let wanted = feed.directory.authorizedEntries(agent: try feed.agent(number))
                #expect(views[number].entries.values.sorted { $0.id < $1.id } == wanted)
                #expect(views[number].digest == update.digest)
                #expect(sessions[number].settled?.digest == update.digest)
            }
        }
        for number in 0..<4 {
            if let update = try await sessions[number].pending() { views[number].take(update) }
            let wanted = feed.directory.authorizedEntries(agent: try feed.agent(number))
            #expect(views[number].entries.values.sorted { $0.id < $1.id } == wanted)
            #expect(sessions[number].settled?.digest == views[number].digest)
        }
    }

    @Test func `filling the directory anew mends every session`() async throws {
        let store = MemoryStore()
        let feed = try Feed()
        let agents = try (1...3).map(feed.agent)
        for number in 1...3 { _ = try await store.attestNode(try feed.node(number)) }
        try await feed.directory.load(from: store)
        let sessions = agents.map { feed.directory.openSession(agent: $0, knownDigest: []) }
        for session in sessions { _ = try await session.pending() }
        // The store goes on without telling the directory.
        _ = try await store.createEntries([try .test("e", "/a", parent: agentPath + "1")])
        _ = try await store.updateBundle(feed.directory.trustDomain) { $0.refreshHint = 5 }
        _ = try await store.updateNode(agents[1]) {
            (node: inout AttestedNode) throws(ServerError) in
            node.ban()
        }
        _ = try await store.deleteNode(agents[2])
        try await feed.directory.load(from: store)
        let update = try #require(try await sessions[0].pending())
        #expect(update.isSnapshot)
        #expect(update.upserted.map(\.id) == ["e"])
        #expect(update.bundles.map(\.refreshHint) == [5])
        let banned = await #expect(throws: ServerError.self) { try await sessions[1].next() }
        #expect(banned?.agentReason == .banned)
        let gone = await #expect(throws: ServerError.self) { try await sessions[2].next() }
        #expect(gone?.agentReason == .notAttested)
        let stored = try await store.entryDigest()
        #expect(feed.directory.entryDigest.digest == stored.digest)
        #expect(feed.directory.seq == stored.seq)
    }
}
