import SPIFFE
import ServerTestSupport
import Testing

@testable import ServerCore

/// The same questions as ``EntryIndex``, answered by looking at every entry.
private struct IndexModel {
    var entries: [String: Entry] = [:]

    func children(_ path: String) -> Set<String> {
        Set(self.entries.values.filter { $0.parentID.path == path }.map(\.id))
    }

    func parents(_ spiffePath: String) -> [String] {
        self.entries.values.filter { $0.spiffeID.path == spiffePath }.map(\.parentID.path).sorted()
    }

    func aliases(_ selectors: Set<Selector>) -> Set<String> {
        if selectors.isEmpty { return [] }
        return Set(
            self.entries.values.filter {
                $0.parentID.path == "/spire/server" && Set($0.selectors).isSubset(of: selectors)
            }.map(\.spiffeID.path))
    }

    /// Grows the set of parents until nothing is added any more.
    func authorized(_ agent: String, _ aliases: Set<String>) -> Set<String> {
        var parents = aliases.union([agent])
        while true {
            let found = self.entries.values.filter { parents.contains($0.parentID.path) }
            let grown = parents.union(found.map(\.spiffeID.path))
            if grown == parents { return Set(found.map(\.id)) }
            parents = grown
        }
    }

    func hasSimilar(_ entry: Entry) -> Bool {
        self.entries.values.contains {
            $0.spiffeID == entry.spiffeID && $0.parentID == entry.parentID
                && $0.selectors == entry.selectors
        }
    }

    var digest: EntryDigest {
        var digest = EntryDigest()
        for entry in self.entries.values { digest.toggle(entry) }
        return digest
    }
}

/// Makes random entries over few paths, so that they often meet, also in cycles.
struct RandomEntries {
    static let agents = (0..<4).map { "/spire/agent/join_token/\($0)" }
    static let workloads = (0..<8).map { "/w/\($0)" }
    static let selectors = (0..<4).map { "k8s:node:\($0)" }

    var generator: SeededGenerator

    init(seed: UInt64) { self.generator = SeededGenerator(seed: seed) }

    mutating func selectors(atLeast: Int = 1) -> [String] {
        let count = Int.random(in: atLeast...3, using: &self.generator)
        return Array(Self.selectors.shuffled(using: &self.generator).prefix(count))
    }

    mutating func entry(id: String) throws -> Entry {
        let parents = Self.agents + Self.workloads + ["/spire/server"]
        let path = Self.workloads[Int.random(in: 0..<8, using: &self.generator)]
        let parent = parents[Int.random(in: 0..<parents.count, using: &self.generator)]
        var entry = try Entry.test(id, path, parent: parent, self.selectors())
        entry.admin = Int.random(in: 0..<6, using: &self.generator) == 0
        entry.downstream = Int.random(in: 0..<6, using: &self.generator) == 0
        entry.expiresAt = Int64.random(in: 0..<4, using: &self.generator)
        entry.revision = Int64.random(in: 0..<1000, using: &self.generator)
        entry.createdAt = Int64.random(in: 0..<1000, using: &self.generator)
        return entry
    }
}

@Suite struct EntryIndexTests {
    @Test(arguments: [1, 2, 3, 4] as [UInt64])
    func `answers like a plain dictionary after any sequence of changes`(seed: UInt64) throws {
        var random = RandomEntries(seed: seed)
        var index = EntryIndex(trustDomain: try TrustDomain("acme.test"))
        var model = IndexModel()
        for step in 0..<1_500 {
            let id = "e\(Int.random(in: 0..<70, using: &random.generator))"
            if Int.random(in: 0..<3, using: &random.generator) == 0 {
                #expect(index.remove(id: id) == model.entries.removeValue(forKey: id))
            } else {
                let entry = try random.entry(id: id)
                #expect(index.upsert(entry) == model.entries.updateValue(entry, forKey: id))
            }
            #expect(index.entry(id: id) == model.entries[id])
            if step % 50 == 49 {
                try Self.compare(index, model)
                try Self.compareAuthorization(index, model, &random)
            }
        }
        for id in Array(model.entries.keys) {
            index.remove(id: id)
            model.entries[id] = nil
        }
        try Self.compare(index, model)
        #expect(index.digest == EntryDigest())
    }

    private static func compare(_ index: EntryIndex, _ model: IndexModel) throws {
        #expect(index.count == model.entries.count)
        #expect(index.digest == model.digest)
        for path in RandomEntries.agents + RandomEntries.workloads + ["/spire/server", "/none"] {
            var children: Set<String> = []
            index.forEachChild(ofPath: path) { children.insert($0.id) }
            #expect(children == model.children(path))
            #expect(index.hasChildren(path: path) == !children.isEmpty)
            #expect(index.parentPaths(ofSPIFFEPath: path).sorted() == model.parents(path))
            let same = model.entries.values.filter { $0.spiffeID.path == path }
            var found: Set<String> = []
            index.forEach(spiffePath: path) { found.insert($0.id) }
            #expect(found == Set(same.map(\.id)))
            let id = try SPIFFEID(trustDomain: index.trustDomain, path: path)
            #expect(index.isAdmin(id) == same.contains(where: \.admin))
            #expect(index.isDownstream(id) == same.contains(where: \.downstream))
        }
        var scanned: Set<String> = []
        index.scan { _, entry in scanned.insert(entry.id).inserted }
        #expect(scanned == Set(model.entries.keys))
        for now in 0...3 as ClosedRange<Int64> {
            let expired = model.entries.values.filter { $0.expiresAt > 0 && $0.expiresAt <= now }
            #expect(Set(index.expired(at: now)) == Set(expired.map(\.id)))
        }
    }

    private static func compareAuthorization(
        _ index: EntryIndex, _ model: IndexModel, _ random: inout RandomEntries
    ) throws {
        for agent in RandomEntries.agents {
            let selectors = try Set(
                random.selectors(atLeast: 0).map { text throws in try Selector(text) })
            let aliases = index.aliasPaths(nodeSelectors: selectors)
            #expect(aliases == model.aliases(selectors))
            let authorized = index.authorizedEntries(agentPath: agent, aliasPaths: aliases)
            let wanted = model.authorized(agent, aliases)
            #expect(Set(authorized.map(\.id)) == wanted)
            #expect(authorized.count == wanted.count, "an entry stands in the set twice")
            for entry in model.entries.values {
                let isAuthorized = index.isAuthorized(entry, agentPath: agent, aliasPaths: aliases)
                #expect(isAuthorized == wanted.contains(entry.id), "\(entry.id) for \(agent)")
            }
        }
        for step in 0..<20 {
            let entry = try random.entry(id: "new\(step)")
            #expect((index.similar(to: entry) != nil) == model.hasSimilar(entry))
        }
        for entry in model.entries.values { #expect(index.similar(to: entry) != nil) }
    }

    @Test func `a cycle of parents ends and reaches every entry once`() throws {
        var index = EntryIndex(trustDomain: try TrustDomain("acme.test"))
        index.upsert(try .test("a", "/a", parent: "/b"))
        index.upsert(try .test("b", "/b", parent: "/a"))
        index.upsert(try .test("self", "/s", parent: "/s"))
        #expect(index.authorizedEntries(agentPath: "/spire/agent/x/1", aliasPaths: []).isEmpty)
        index.upsert(try .test("way-in", "/a", parent: "/spire/agent/x/1"))
        let found = index.authorizedEntries(agentPath: "/spire/agent/x/1", aliasPaths: [])
        #expect(found.map(\.id).sorted() == ["a", "b", "way-in"])
        #expect(index.pathsAbove(parentPath: "/a") == ["/a", "/b", "/spire/agent/x/1"])
        #expect(index.pathsAbove(parentPath: "/s") == ["/s"])
    }

    @Test func `an entry whose parent is the server authorises nobody by itself`() throws {
        var index = EntryIndex(trustDomain: try TrustDomain("acme.test"))
        let alias = try Entry.test("alias", "/pool", parent: "/spire/server", ["k8s:node:1"])
        index.upsert(alias)
        let child = try Entry.test("child", "/c", parent: "/pool")
        index.upsert(child)
        let agent = "/spire/agent/x/1"
        #expect(!index.isAuthorized(alias, agentPath: agent, aliasPaths: ["/pool"]))
        #expect(!index.isAuthorized(child, agentPath: agent, aliasPaths: []))
        #expect(index.isAuthorized(child, agentPath: agent, aliasPaths: ["/pool"]))
        #expect(!index.isAuthorized(child, agentPath: "/spire/server", aliasPaths: []))
    }

    @Test func `a node without selectors has no aliases`() throws {
        var index = EntryIndex(trustDomain: try TrustDomain("acme.test"))
        index.upsert(try .test("alias", "/pool", parent: "/spire/server", ["k8s:node:1"]))
        #expect(index.aliasPaths(nodeSelectors: []).isEmpty)
    }

    @Test func `rights of an ID in another trust domain are never found`() throws {
        var index = EntryIndex(trustDomain: try TrustDomain("acme.test"))
        var entry = try Entry.test("a", "/boss", parent: "/spire/agent/x/1")
        entry.admin = true
        entry.downstream = true
        index.upsert(entry)
        let foreign = try SPIFFEID("spiffe://evil.test/boss")
        #expect(!index.isAdmin(foreign))
        #expect(!index.isDownstream(foreign))
        #expect(index.isAdmin(entry.spiffeID))
    }

    @Test func `scanning goes on from a slot and stops when told to`() throws {
        var index = EntryIndex(trustDomain: try TrustDomain("acme.test"))
        for number in 0..<10 {
            index.upsert(try .test("e\(number)", "/w/\(number)", parent: "/spire/agent/x/1"))
        }
        var pages: [[String]] = []
        var start = 0
        for _ in 0..<4 {
            var page: [String] = []
            index.scan(from: start) { slot, entry in
                if page.count == 3 { return false }
                page.append(entry.id)
                start = slot + 1
                return true
            }
            pages.append(page)
        }
        #expect(pages.map(\.count) == [3, 3, 3, 1])
        #expect(Set(pages.joined()).count == 10)
    }

    @Test func `the digest is the XOR of the first half of SHA-256 over ID, revision and time`() {
        var digest = EntryDigest()
        #expect(digest.bytes == [UInt8](repeating: 0, count: 16))
        digest.toggle(id: "a", revision: 1, createdAt: 2)
        // printf 'a\n1\n2' | sha256sum
        #expect(hex(digest.bytes) == "3154744a65aa4fd32f9e4b8fd1ab465a")
        digest.toggle(id: "b", revision: 0, createdAt: 0)
        digest.toggle(id: "a", revision: 1, createdAt: 2)
        #expect(hex(digest.bytes) == "6cea7fccdf4f94d5c254190ee23b0f28")
    }
}
