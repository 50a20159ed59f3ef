import SPIFFE
import ServerCore
import ServerTestSupport
import Testing

private let agentID = "spiffe://acme.test/spire/agent/join_token/t1"

/// What every store does; the one in memory included, so that tests built on it mean something.
@Suite struct StoreTests {
    private static func node(_ name: String = "t1") throws -> AttestedNode {
        var node = AttestedNode(
            id: try SPIFFEID("spiffe://acme.test/spire/agent/join_token/\(name)"),
            attestationType: "join_token", serial: "ab", expiresAt: 1_000)
        node.selectors = [try Selector("spiffe_id:\(node.id)")]
        return node
    }

    @Test(arguments: StoreKind.allCases)
    func `an entry is created once; its ID and its likeness are unique`(kind: StoreKind)
        async throws
    {
        let log = FeedLog()
        try await kind.run(log) { store in
            let entry = try Entry.test("a", "/w", parent: "/p", ["x:1", "x:2"])
            #expect(try await store.createEntries([entry]) == [true])
            let sameID = try Entry.test("a", "/other", parent: "/p")
            let similar = try Entry.test("b", "/w", parent: "/p", ["x:2", "x:1"])
            let fewer = try Entry.test("c", "/w", parent: "/p", ["x:1"])
            let elsewhere = try Entry.test("d", "/w", parent: "/q", ["x:1", "x:2"])
            #expect(
                try await store.createEntries([sameID, similar, fewer, elsewhere, fewer])
                    == [false, false, true, true, false])
            #expect(log.seq == 3)
            #expect(try await Contents.of(store).contents.entries.map(\.id) == ["a", "c", "d"])
        }
    }

    @Test(arguments: StoreKind.allCases)
    func `likeness tells selectors apart that only look alike when joined`(kind: StoreKind)
        async throws
    {
        try await kind.run(FeedLog()) { store in
            var one = try Entry.test("a", "/w", parent: "/p")
            one.selectors = [
                try Selector(type: "x", value: "1:y"), try Selector(type: "z", value: "2"),
            ]
            var two = try Entry.test("b", "/w", parent: "/p")
            two.selectors = [
                try Selector(type: "x", value: "1"), try Selector(type: "y", value: "z:2"),
            ]
            #expect(try await store.createEntries([one, two]) == [true, true])
        }
    }

    @Test(arguments: StoreKind.allCases)
    func `an update counts the revision up and keeps the time of creation`(kind: StoreKind)
        async throws
    {
        let log = FeedLog()
        try await kind.run(log) { store in
            var entry = try Entry.test("a", "/w", parent: "/p")
            entry.createdAt = 77
            let target = entry
            _ = try await store.createEntries([entry, try .test("b", "/v", parent: "/p")])
            let results = try await store.updateEntries([
                EntryUpdate(id: "a") { (old: Entry) throws(ServerError) in
                    var new = old
                    new.hint = "h"
                    new.revision = 500
                    new.createdAt = 1
                    return new
                },
                EntryUpdate(id: "none") { (old: Entry) throws(ServerError) in old },
                EntryUpdate(id: "b") { (old: Entry) throws(ServerError) in
                    throw ServerError(.invalidArgument, "no")
                },
                EntryUpdate(id: "b") { (old: Entry) throws(ServerError) in
                    var new = old
                    new.spiffeID = target.spiffeID
                    return new
                },
                EntryUpdate(id: "a") { (old: Entry) throws(ServerError) in old },
            ])
            let texts = results.map { result in
                switch result {
                case .updated(let entry):
                    "\(entry.id) \(entry.revision) \(entry.createdAt) \(entry.hint)"
                case .notFound: "not found"
                case .similarExists: "similar"
                case .refused(let error): error.message
                }
            }
            #expect(texts == ["a 1 77 h", "not found", "no", "similar", "a 2 77 h"])
            #expect(log.seq == 4, "what failed left no change")
        }
    }

    @Test(arguments: StoreKind.allCases)
    func `deleting says which entries there were`(kind: StoreKind) async throws {
        let log = FeedLog()
        try await kind.run(log) { store in
            _ = try await store.createEntries([try .test("a", "/w", parent: "/p")])
            #expect(try await store.deleteEntries(["a", "a", "b"]) == [true, false, false])
            #expect(log.seq == 2)
            #expect(try await store.createEntries([try .test("a", "/w", parent: "/p")]) == [true])
        }
    }

    @Test(arguments: StoreKind.allCases)
    func `of 32 that take one token exactly one gets it`(kind: StoreKind) async throws {
        try await kind.run(FeedLog()) { store in
            let token = JoinToken(value: "t1", expiresAt: 99)
            try await store.createJoinToken(token, alias: nil)
            let taken = try await withThrowingTaskGroup(of: JoinToken?.self) { group in
                for _ in 0..<32 { group.addTask { try await store.takeJoinToken("t1") } }
                return try await group.reduce(into: []) { $0.append($1) }.compactMap { $0 }
            }
            #expect(taken == [token])
        }
    }

    @Test(arguments: StoreKind.allCases)
    func `a token that exists is refused together with its alias`(kind: StoreKind) async throws {
        let log = FeedLog()
        try await kind.run(log) { store in
            let token = JoinToken(value: "t1", expiresAt: 99)
            try await store.createJoinToken(token, alias: try .test("a", "/w", parent: "/p"))
            let error = await #expect(throws: ServerError.self) {
                try await store.createJoinToken(token, alias: try .test("b", "/v", parent: "/p"))
            }
            #expect(error?.code == .alreadyExists)
            // A token whose alias is refused is not kept either.
            await #expect(throws: ServerError.self) {
                try await store.createJoinToken(
                    JoinToken(value: "t2", expiresAt: 9), alias: try .test("c", "/w", parent: "/p"))
            }
            let second = try await store.takeJoinToken("t2")
            #expect(second == nil)
            #expect(log.seq == 1)
        }
    }

    @Test(arguments: StoreKind.allCases)
    func `pruning takes the tokens that have ended`(kind: StoreKind) async throws {
        try await kind.run(FeedLog()) { store in
            for time in 1...3 as ClosedRange<Int64> {
                try await store.createJoinToken(
                    JoinToken(value: "t\(time)", expiresAt: time), alias: nil)
            }
            #expect(try await store.pruneJoinTokens(expiredAt: 2) == 2)
            #expect(try await store.takeJoinToken("t3") != nil)
            #expect(try await store.takeJoinToken("t1") == nil)
        }
    }

    @Test(arguments: StoreKind.allCases)
    func `a node attests again, but not while it is banned`(kind: StoreKind) async throws {
        let log = FeedLog()
        try await kind.run(log) { store in
            var node = try Self.node()
            #expect(try await store.attestNode(node))
            node.serial = "cd"
            #expect(try await store.attestNode(node))
            let banned = try await store.updateNode(node.id) {
                (node: inout AttestedNode) throws(ServerError) in node.ban()
            }
            #expect(banned?.isBanned == true)
            #expect(try await store.attestNode(node) == false)
            #expect(log.seq == 3)
            #expect(try await store.deleteNode(node.id))
            #expect(try await store.deleteNode(node.id) == false)
            #expect(try await store.attestNode(node))
        }
    }

    @Test(arguments: StoreKind.allCases)
    func `changing a node to what it is leaves no change`(kind: StoreKind) async throws {
        let log = FeedLog()
        try await kind.run(log) { store in
            let node = try Self.node()
            _ = try await store.attestNode(node)
            let same = try await store.updateNode(node.id) {
                (node: inout AttestedNode) throws(ServerError) in node.agentVersion = ""
            }
            #expect(same == node)
            #expect(log.seq == 1)
            let none = try await store.updateNode(try Self.node("other").id) {
                (node: inout AttestedNode) throws(ServerError) in node.ban()
            }
            #expect(none == nil)
            await #expect(throws: ServerError.self) {
                try await store.updateNode(node.id) {
                    (node: inout AttestedNode) throws(ServerError) in
                    node.serial = "zz"
                    throw ServerError(.permissionDenied, "no")
                }
            }
            #expect(try await Contents.of(store).contents.nodes == [node])
        }
    }

    @Test(arguments: StoreKind.allCases)
    func `a node goes with its own alias and with nothing else`(kind: StoreKind) async throws {
        let log = FeedLog()
        try await kind.run(log) { store in
            let node = try Self.node()
            _ = try await store.attestNode(node)
            let path = node.id.path
            _ = try await store.createEntries([
                try .test("alias", "/pool", parent: path, ["spiffe_id:\(agentID)"]),
                try .test("more", "/w", parent: path, ["spiffe_id:\(agentID)", "unix:uid:1"]),
                try .test("other", "/v", parent: path, ["unix:uid:1"]),
                try .test("elsewhere", "/u", parent: "/p", ["spiffe_id:\(agentID)"]),
            ])
            #expect(try await store.deleteNode(node.id))
            let left = try await Contents.of(store).contents
            #expect(left.entries.map(\.id) == ["elsewhere", "more", "other"])
            #expect(left.nodes.isEmpty)
            #expect(Contents(applying: log.changes) == left)
        }
    }

    @Test(arguments: StoreKind.allCases)
    func `BND-06 and BND-07: a bundle gets the next number when it differs`(kind: StoreKind)
        async throws
    {
        let log = FeedLog()
        try await kind.run(log) { store in
            let domain = try TrustDomain("acme.test")
            let untouched = try await store.updateBundle(domain) { _ in }
            #expect(untouched.sequenceNumber == 0)
            let first = try await store.updateBundle(domain) {
                $0.x509Authorities = [.init(der: [1, 2]), .init(der: [3], tainted: true)]
                $0.jwtAuthorities = [
                    .init(keyID: "k", publicKeyDER: [4], expiresAt: 5, tainted: true)
                ]
                $0.witAuthorities = [
                    .init(keyID: "w", publicKeyDER: [6], expiresAt: 7, tainted: true),
                    .init(keyID: "v", publicKeyDER: [8], expiresAt: 0),
                ]
                $0.refreshHint = 60
            }
            #expect(first.sequenceNumber == 1)
            let same = try await store.updateBundle(domain) { $0.refreshHint = 60 }
            #expect(same == first)
            let second = try await store.updateBundle(domain) {
                $0.x509Authorities.reverse()
                $0.sequenceNumber = 900
            }
            #expect(second.sequenceNumber == 2)
            #expect(try await Contents.of(store).contents.bundles == [second])
            #expect(log.seq == 2)
        }
    }

    @Test(arguments: StoreKind.allCases)
    func `the journal is replaced as a whole`(kind: StoreKind) async throws {
        try await kind.run(FeedLog()) { store in
            let entries = [("A", AuthorityStatus.active), ("B", .prepared), ("C", .old)].map {
                slot, status in
                JournalEntry(
                    kind: slot == "A" ? .wit : slot == "B" ? .jwt : .x509, slot: slot,
                    authorityID: "id-\(slot)",
                    status: status, issuedAt: 1, notAfter: 2, der: [0, 255])
            }
            try await store.saveJournal(entries)
            #expect(try await store.loadJournal() == entries)
            try await store.saveJournal([entries[2], entries[0]])
            #expect(try await store.loadJournal() == [entries[2], entries[0]])
            try await store.saveJournal([])
            #expect(try await store.loadJournal().isEmpty)
        }
    }

    @Test(arguments: StoreKind.allCases)
    func `with 64 writers the feed has no gap and tells what the store holds`(
        kind: StoreKind
    ) async throws {
        let log = FeedLog()
        try await kind.run(log) { store in
            try await withThrowingTaskGroup(of: Void.self) { group in
                for writer in 0..<64 {
                    group.addTask { try await Self.writeMuch(store, writer) }
                }
                try await group.waitForAll()
            }
            let (contents, seq) = try await Contents.of(store)
            #expect(log.gaps == 0)
            #expect(log.seq == seq)
            #expect(log.changes.count == Int(seq))
            #expect(Contents(applying: log.changes) == contents)
            var digest = EntryDigest()
            for entry in contents.entries { digest.toggle(entry) }
            let stored = try await store.entryDigest()
            #expect(stored.digest == digest && stored.seq == seq)
        }
    }

    /// Own entries, and some that all writers fight over.
    private static func writeMuch(_ store: any AnyStore, _ writer: Int) async throws {
        for round in 0..<6 {
            let own = "w\(writer)-\(round)"
            _ = try await store.createEntries([
                try .test(own, "/w/\(writer)", parent: "/p", ["x:\(round)"]),
                try .test("shared\(round)", "/shared", parent: "/p", ["x:\(round)"]),
            ])
            _ = try await store.updateEntries([
                EntryUpdate(id: "shared\(round)") { (old: Entry) throws(ServerError) in
                    var new = old
                    new.hint = own
                    return new
                }
            ])
            if round % 2 == 0 { _ = try await store.deleteEntries([own]) }
            if round == 3 { _ = try await store.deleteEntries(["shared2"]) }
            _ = try await store.attestNode(try self.node("n\(writer % 8)"))
            _ = try await store.updateBundle(try TrustDomain("acme.test")) { $0.refreshHint += 1 }
        }
    }

    @Test(arguments: StoreKind.allCases)
    func `who has written finds it in the directory at once`(kind: StoreKind) async throws {
        let directory = Directory(trustDomain: try TrustDomain("acme.test"))
        try await kind.run(directory) { store in
            try await withThrowingTaskGroup(of: Void.self) { group in
                for number in 0..<64 {
                    group.addTask {
                        let entry = try Entry.test("e\(number)", "/w/\(number)", parent: "/p")
                        _ = try await store.createEntries([entry])
                        #expect(directory.withEntries { $0.entry(id: entry.id) } == entry)
                    }
                }
                try await group.waitForAll()
            }
        }
    }
}
