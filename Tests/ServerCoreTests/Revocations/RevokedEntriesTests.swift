import Crypto
import SPIFFE
import ServerCore
import ServerTestSupport
import Testing
import X509

/// What agents are authorised for while entries or agents are revoked.
@Suite struct RevokedEntriesTests {
    private static let agent = "/spire/agent/join_token/1"

    /// Feed, with an agent that holds a session.
    private final class Feed {
        let clock = TestClock()
        let directory: Directory
        private var seq: UInt64 = 0

        init() throws {
            self.directory = Directory(
                trustDomain: try TrustDomain("acme.test"), now: self.clock.now)
            self.apply(
                .nodeUpserted(
                    AttestedNode(
                        id: try Sample.id(RevokedEntriesTests.agent), attestationType: "join_token",
                        serial: "01", expiresAt: .max)))
        }

        func apply(_ changes: Change...) {
            self.seq += UInt64(changes.count)
            self.directory.apply(changes, seq: self.seq)
        }

        var authorized: [String] {
            get throws {
                self.directory.authorizedEntries(agent: try Sample.id(RevokedEntriesTests.agent))
                    .map(\.id)
            }
        }
    }

    /// What the session's reader holds.
    private struct View {
        let session: SyncSession
        var ids: Set<String> = []
        var digest = EntryDigest()

        mutating func refresh() async throws -> [String] {
            while self.session.settled == nil {
                guard let update = try await self.session.next() else { break }
                if update.isSnapshot { self.ids = [] }
                self.ids.subtract(update.removedIDs)
                self.ids.formUnion(update.upserted.map(\.id))
                self.digest = update.digest
            }
            return self.ids.sorted()
        }
    }

    /// A tree: the agent's e1 and e2, below e1 e3, below e3 e4.
    private static func tree(_ feed: Feed) throws {
        feed.apply(
            .entryUpserted(try .test("e1", "/a", parent: self.agent, ["k:v"])),
            .entryUpserted(try .test("e2", "/b", parent: self.agent)),
            .entryUpserted(try .test("e3", "/a/c", parent: "/a")),
            .entryUpserted(try .test("e4", "/d", parent: "/a/c")))
    }

    struct Case: Sendable, CustomTestStringConvertible {
        let name: String
        let kind: RevocationTarget.Kind
        let value: String
        var children = false
        let left: [String]
        var testDescription: String { self.name }
    }

    private static let cases: [Case] = [
        Case(
            name: "an ID", kind: .spiffeID, value: "spiffe://acme.test/a", left: ["e2", "e3", "e4"]),
        Case(
            name: "an ID and below", kind: .spiffeID, value: "spiffe://acme.test/a", children: true,
            left: ["e2", "e4"]),
        Case(name: "a prefix", kind: .pathPrefix, value: "/a", left: ["e2", "e4"]),
        Case(name: "an entry", kind: .entryID, value: "e1", left: ["e2", "e3", "e4"]),
        Case(
            name: "an entry and its children", kind: .entryID, value: "e1", children: true,
            left: ["e2"]),
        Case(
            name: "a child and its children", kind: .entryID, value: "e3", children: true,
            left: ["e1", "e2"]),
        Case(name: "a selector", kind: .selector, value: "k:v", left: ["e2", "e3", "e4"]),
        Case(
            name: "a selector and below", kind: .selector, value: "k:v", children: true,
            left: ["e2"]),
        Case(
            name: "an agent alone", kind: .agentID, value: "spiffe://acme.test" + agent,
            left: ["e1", "e2", "e3", "e4"]),
        Case(
            name: "an agent and its entries", kind: .agentID, value: "spiffe://acme.test" + agent,
            children: true, left: []),
        Case(name: "a serial number", kind: .serial, value: "ab", left: ["e1", "e2", "e3", "e4"]),
    ]

    @Test(arguments: cases) func `revoked entries leave the agents' sets, and come back`(one: Case)
        async throws
    {
        let feed = try Feed()
        try Self.tree(feed)
        let revocation = try Sample.revocation("r", one.kind, one.value, children: one.children)
        feed.apply(.revocationUpserted(revocation))
        #expect(try feed.authorized == one.left)
        #expect(
            Set(feed.directory.entryIDs(coveredBy: revocation))
                == Set(["e1", "e2", "e3", "e4"]).subtracting(one.left))
        for id in ["e1", "e2", "e3", "e4"] {
            let blocking = feed.directory.revocation(blockingEntry: id, now: feed.clock.unixTime)
            #expect((blocking?.id == "r") == !one.left.contains(id))
        }
        // The entry is still there for operators, and for issuance, which says why it refuses.
        #expect(feed.directory.withEntries { $0.count } == 4)
        #expect(feed.directory.authorizedEntry(id: "e4", agent: try Sample.id(Self.agent)) != nil)
        feed.apply(.revocationRemoved(id: "r"))
        #expect(try feed.authorized == ["e1", "e2", "e3", "e4"])
    }

    @Test func `a replacement takes nothing from the agents`() throws {
        let feed = try Feed()
        try Self.tree(feed)
        feed.apply(
            .revocationUpserted(
                try Sample.revocation("r", .pathPrefix, "/a", children: true, replacement: true)))
        #expect(try feed.authorized == ["e1", "e2", "e3", "e4"])
    }

    @Test func `a connected agent is told, also of entries that come and move later`() async throws
    {
        let feed = try Feed()
        try Self.tree(feed)
        let session = feed.directory.openSession(agent: try Sample.id(Self.agent), knownDigest: [])
        var view = View(session: session)
        #expect(try await view.refresh() == ["e1", "e2", "e3", "e4"])
        feed.apply(.revocationUpserted(try Sample.revocation("r", .entryID, "e1", children: true)))
        #expect(try await view.refresh() == ["e2"])
        feed.apply(.entryUpserted(try .test("e5", "/new", parent: "/d")))
        #expect(try await view.refresh() == ["e2"], "a new child of what is revoked")
        var moved = try Entry.test("e3", "/a/c", parent: "/b")
        moved.revision = 1
        feed.apply(.entryUpserted(moved))
        #expect(try await view.refresh() == ["e2", "e3", "e4", "e5"], "no longer below e1")
        feed.apply(.revocationUpserted(try Sample.revocation("q", .selector, "k:w")))
        var marked = try Entry.test("e2", "/b", parent: Self.agent, ["k:w"])
        marked.revision = 1
        feed.apply(.entryUpserted(marked))
        #expect(try await view.refresh() == ["e3", "e4", "e5"])
        feed.apply(.entryRemoved(id: "e1"), .revocationRemoved(id: "r"))
        #expect(try await view.refresh() == ["e3", "e4", "e5"])
        feed.apply(.revocationRemoved(id: "q"))
        #expect(try await view.refresh() == ["e2", "e3", "e4", "e5"])
        #expect(try feed.authorized == ["e2", "e3", "e4", "e5"])
    }

    @Test func `what two revocations block stays blocked until both have ended`() throws {
        let feed = try Feed()
        try Self.tree(feed)
        feed.apply(
            .revocationUpserted(try Sample.revocation("r", .entryID, "e1", children: true)),
            .revocationUpserted(try Sample.revocation("q", .pathPrefix, "/a")))
        #expect(try feed.authorized == ["e2"])
        feed.apply(.revocationRemoved(id: "r"))
        #expect(try feed.authorized == ["e2", "e4"])
        feed.apply(
            .revocationUpserted(
                try Sample.revocation(
                    "r2", .agentID, "spiffe://acme.test" + Self.agent, children: true)))
        #expect(try feed.authorized == [])
        feed.apply(.revocationRemoved(id: "q"))
        #expect(try feed.authorized == [])
        feed.apply(.revocationRemoved(id: "r2"))
        #expect(try feed.authorized == ["e1", "e2", "e3", "e4"])
    }

    @Test func `under random changes the agent holds what a fresh look says`() async throws {
        var random = SeededGenerator(seed: 42)
        let feed = try Feed()
        let session = feed.directory.openSession(agent: try Sample.id(Self.agent), knownDigest: [])
        var view = View(session: session)
        let paths = ["/a", "/a/b", "/b", "/c", "/a/b/c"]
        var revocations: [String: Revocation] = [:]
        for step in 1...600 {
            let id = "e\(Int.random(in: 0..<8, using: &random))"
            switch Int.random(in: 0..<6, using: &random) {
            case 0: feed.apply(.entryRemoved(id: id))
            case 1:
                let number = "r\(Int.random(in: 0..<5, using: &random))"
                let rows: [(RevocationTarget.Kind, String)] = [
                    (.entryID, id), (.pathPrefix, paths[Int.random(in: 0..<5, using: &random)]),
                    (.selector, "k:1"), (.agentID, "spiffe://acme.test/spire/agent/join_token/2"),
                ]
                let row = rows[Int.random(in: 0..<rows.count, using: &random)]
                let revocation = try Sample.revocation(
                    number, row.0, row.1, children: Bool.random(using: &random))
                if revocations[number] != nil { feed.apply(.revocationRemoved(id: number)) }
                revocations[number] = revocation
                feed.apply(.revocationUpserted(revocation))
            case 2:
                if let number = revocations.keys.sorted().first {
                    revocations[number] = nil
                    feed.apply(.revocationRemoved(id: number))
                }
            default:
                let parents = paths + [Self.agent, Self.agent]
                var entry = try Entry.test(
                    id, paths[Int.random(in: 0..<5, using: &random)],
                    parent: parents[Int.random(in: 0..<parents.count, using: &random)],
                    ["k:\(Int.random(in: 0..<3, using: &random))"])
                entry.revision = Int64(step)
                feed.apply(.entryUpserted(entry))
            }
            let held = try await view.refresh()
            #expect(try held == feed.authorized.sorted(), "step \(step)")
            // Against the definition: reachable, and covered by no revocation.
            var covered: Set<String> = []
            for revocation in revocations.values {
                covered.formUnion(feed.directory.entryIDs(coveredBy: revocation))
            }
            #expect(covered.isDisjoint(with: held), "step \(step)")
            let reachable = feed.directory.withEntries { entries in
                var all: Set<String> = []
                entries.scan { _, entry in
                    if entries.isAuthorized(entry, agentPath: Self.agent, aliasPaths: []) {
                        all.insert(entry.id)
                    }
                    return true
                }
                return all
            }
            #expect(reachable.subtracting(covered) == Set(held), "step \(step)")
        }
    }

    @Test
    func `a revoked agent is refused, its session ends, and it may come back when it is lifted`()
        async throws
    {
        let plane = try await TestPlane()
        let key = try await plane.agentKey("t1")
        let id = key.id
        let session = plane.directory.openSession(agent: id, knownDigest: [])
        _ = try await session.next()
        var draft = RevocationRegistry.Draft(try Sample.target(.agentID, id.string))
        draft.isSuspension = true
        let made = try await plane.revocations.create(draft, caller: "uid:0").revocation
        let ended = await #expect(throws: ServerError.self) { try await session.next() }
        #expect(ended?.code == .permissionDenied && ended?.message.contains(made.id) == true)
        #expect(ended?.agentReason == nil, "it may come back, so it is not told to give up")
        let refused = await #expect(throws: ServerError.self) {
            try await plane.nodes.authorize(id, serial: key.serial, expiresAt: .max)
        }
        #expect(refused?.message.contains(made.id) == true)
        let late = plane.directory.openSession(agent: id, knownDigest: [])
        #expect(late.hasEnded)
        _ = try await plane.revocations.lift(made.id, reason: "", caller: "uid:0")
        try await plane.nodes.authorize(id, serial: key.serial, expiresAt: .max)
        draft.isSuspension = false
        _ = try await plane.revocations.create(draft, caller: "uid:0")
        let banned = await #expect(throws: ServerError.self) {
            try await plane.nodes.authorize(id, serial: key.serial, expiresAt: .max)
        }
        #expect(banned?.agentReason == .banned)
    }

    @Test func `a revoked agent cannot attest`() async throws {
        let plane = try await TestPlane()
        let draft = RevocationRegistry.Draft(
            try Sample.target(.agentID, "spiffe://acme.test/spire/agent/join_token/t1"))
        let made = try await plane.revocations.create(draft, caller: "uid:0").revocation
        let refused = await #expect(throws: ServerError.self) { try await plane.agentKey("t1") }
        #expect(refused?.code == .permissionDenied && refused?.message.contains(made.id) == true)
    }
}

extension TestPlane {
    /// Attests an agent with that token.
    fileprivate func agentKey(_ token: String) async throws -> (id: SPIFFEID, serial: String) {
        _ = try await self.nodes.createJoinToken(value: token, ttl: 60, agentID: nil)
        let svid = try await self.nodes.attest(
            joinToken: token, publicKey: Certificate.PublicKey(P256.Signing.PrivateKey().publicKey),
            from: "test")
        return (svid.spiffeID, svid.serial)
    }
}
