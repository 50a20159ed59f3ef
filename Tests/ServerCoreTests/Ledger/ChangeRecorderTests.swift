import Crypto
import SPIFFE
import ServerCore
import ServerTestSupport
import Testing
import Transparency
import X509

private let testKey = Certificate.PublicKey(P256.Signing.PrivateKey().publicKey)

/// Changes of the store on their way into the ledger.
@Suite struct ChangeRecorderTests {
    private static let full = ServerError(.unavailable, "disk is full")

    /// A store that reports to a recorder of changes.
    private struct Setup {
        let store = MemoryStore()
        let recorder = MemoryRecorder()
        let changes: ChangeRecorder

        init() {
            self.changes = ChangeRecorder(
                recorder: self.recorder, store: self.store, logger: TestPlane.logger)
            self.store.setLeafConsumer(self.changes)
        }

        func create(_ ids: String...) async throws {
            for id in ids {
                _ = try await self.store.createEntries([try .test(id, "/" + id, parent: "/p")])
            }
        }

        /// The changes in the ledger, as `<number> <type> <subject>`.
        var lines: [String] {
            self.recorder.changes.map {
                "\($0.seq ?? -1) \($0.kind.rawValue).\($0.action.rawValue) \($0.subject)"
            }
        }
    }

    @Test func `changes are recorded in the order of the feed, each once, before what follows`()
        async throws
    {
        let setup = Setup()
        try await setup.create("a", "b")
        #expect(setup.recorder.events.isEmpty, "nothing was waited for yet")
        try await setup.changes.append(.adminCall(.init(method: "m", caller: "c", status: "OK")))
        try await setup.create("c")
        try await setup.changes.flush()
        try await setup.changes.flush()
        #expect(setup.lines == ["1 entry.created a", "2 entry.created b", "3 entry.created c"])
        #expect(setup.recorder.events.map(\.type)[2] == "admin.call")
        #expect(setup.changes.recorded == 3)
    }

    @Test func `each kind of change has its leaf, with who caused it`() async throws {
        let setup = Setup()
        let store = setup.store
        let domain = try TrustDomain("other.test")
        let relationship = try Partner.relationship("other.test")
        try await ChangeActor.$name.withValue("uid:7") {
            try await setup.create("a")
            _ = try await store.updateEntries([
                EntryUpdate(id: "a") { (entry) throws(ServerError) in
                    var entry = entry
                    entry.hint = "h"
                    return entry
                }
            ])
            _ = try await store.createRelationship(
                relationship, bundle: try Partner.stored("other.test"))
            _ = try await store.updateRelationship(domain, bundle: nil) {
                (old) throws(ServerError) in
                var new = old
                new.bundleEndpointURL = "https://other.test/new"
                return new
            }
            _ = try await store.updateBundle(domain) { $0.refreshHint = 5 }
            _ = try await store.deleteRelationship(domain, keepsBundle: false)
        }
        _ = try await store.deleteEntries(["a"])
        try await setup.changes.flush()
        #expect(
            setup.lines == [
                "1 entry.created a", "2 entry.updated a", "3 federation.created other.test",
                "4 bundle.created other.test", "5 federation.updated other.test",
                "6 bundle.updated other.test", "7 federation.deleted other.test",
                "8 bundle.deleted other.test", "9 entry.deleted a",
            ])
        let leaves = setup.recorder.changes
        #expect(leaves.map(\.caller) == [String](repeating: "uid:7", count: 8) + ["self"])
        #expect(leaves.prefix(2).map(\.revision) == [0, 1])
        #expect(
            leaves.map { $0.contentDigest != nil }
                == [true, true, true, true, true, true, false, false, false])
        #expect(leaves[0].contentDigest != leaves[1].contentDigest)
        #expect(leaves[2].contentDigest == LeafDigests.content(relationship))
    }

    @Test func `a node's life: attested, renewed, banned, evicted, and nothing of what is between`()
        async throws
    {
        let plane = try await TestPlane()
        _ = try await plane.nodes.createJoinToken(value: "t1", ttl: 60, agentID: nil)
        let first = try await plane.nodes.attest(
            joinToken: "t1", publicKey: testKey, from: "192.0.2.1")
        let id = first.spiffeID
        let second = try await plane.nodes.renew(id, publicKey: testKey)
        try await plane.nodes.authorize(id, serial: second.serial, expiresAt: second.expiresAt)
        try await plane.nodes.setVersion("9", of: id)
        try await ChangeActor.$name.withValue("uid:7") {
            try await plane.nodes.ban(id)
            try await plane.nodes.ban(id)
            try await plane.nodes.evict(id)
        }
        try await plane.changes.flush()
        let leaves = plane.recorder.nodes
        #expect(leaves.map(\.action) == [.attested, .renewed, .banned, .evicted])
        #expect(leaves.allSatisfy { $0.node == id && $0.seq != nil })
        #expect(leaves.map(\.serial) == [first.serial, second.serial, nil, nil])
        #expect(leaves[0].caller == id.string && leaves[0].attestationType == "join_token")
        #expect(leaves[0].evidenceDigest == Array(SHA256.hash(data: Array("t1".utf8))))
        #expect(leaves[0].notAfter == LeafTime(seconds: first.expiresAt))
        #expect(leaves[0].selectorsDigest != nil && leaves[1].evidenceDigest == nil)
        #expect(leaves[2].caller == "uid:7" && leaves[3].caller == "uid:7")
        // The agent's own SVIDs: of the node, with what it was attested with.
        let issued = plane.recorder.issued
        #expect(issued.map(\.node) == [id, id])
        #expect(issued.map(\.evidenceDigest) == [leaves[0].evidenceDigest, nil])
        #expect(issued[0].selectorsDigest == leaves[0].selectorsDigest)
    }

    @Test(arguments: [false, true])
    func `what could not be recorded comes later, in order, and before what is new`(
        isStored: Bool
    ) async throws {
        let setup = Setup()
        try await setup.create("a")
        setup.recorder.fail(Self.full, isStored: isStored)
        let call = LeafEvent.adminCall(.init(method: "m", caller: "c", status: "OK"))
        await #expect(throws: Self.full) { try await setup.changes.append(call) }
        // These are only in the store.
        try await setup.create("b", "c")
        await #expect(throws: Self.full) { try await setup.changes.flush() }
        #expect(setup.changes.recorded == 0)
        setup.recorder.fail(nil)
        try await setup.create("d")
        try await setup.changes.append(call)
        var lines: [String] = []
        for line in setup.lines where !lines.contains(line) { lines.append(line) }
        #expect(
            lines == [
                "1 entry.created a", "2 entry.created b", "3 entry.created c", "4 entry.created d",
            ])
        // Stored all the same: then it is there twice, with the same number.
        #expect(isStored == (setup.lines.count > 4))
        #expect(setup.recorder.events.last?.type == "admin.call")
        #expect(setup.changes.recorded == 4)
        try await setup.create("e")
        try await setup.changes.flush()
        #expect(setup.lines.last == "5 entry.created e")
    }

    @Test func `everybody whose event was in a failed append is told so`() async throws {
        let setup = Setup()
        setup.recorder.fail(Self.full)
        let failures = await withTaskGroup(of: Bool.self) { group in
            for number in 0..<32 {
                group.addTask {
                    do {
                        try await setup.changes.append(
                            .adminCall(.init(method: "\(number)", caller: "c", status: "OK")))
                        return false
                    } catch { return error as? ServerError == Self.full }
                }
            }
            var count = 0
            for await failed in group where failed { count += 1 }
            return count
        }
        #expect(failures == 32)
        setup.recorder.fail(nil)
        try await setup.changes.flush()
        #expect(setup.recorder.events.isEmpty, "nobody was told that these are recorded")
    }

    @Test func `many at once are all recorded, each after the changes before it`() async throws {
        let setup = Setup()
        try await withThrowingTaskGroup(of: Void.self) { group in
            for number in 0..<64 {
                group.addTask {
                    try await setup.create("e\(number)")
                    try await setup.changes.append(
                        .adminCall(.init(method: "e\(number)", caller: "c", status: "OK")))
                }
            }
            try await group.waitForAll()
        }
        #expect(setup.recorder.changes.map(\.seq) == (1...64).map { Int64($0) })
        var seen: Set<String> = []
        for event in setup.recorder.events {
            switch event {
            case .change(let leaf): seen.insert(leaf.subject)
            case .adminCall(let leaf): #expect(seen.contains(leaf.method))
            default: Issue.record("unexpected \(event.type)")
            }
        }
        #expect(setup.recorder.calls.count == 64)
    }

    /// After a crash the ledger has the first `recorded` changes, and the position is known up to `position`.
    @Test(arguments: [(0, 0), (0, 3), (2, 3), (3, 3), (0, 7), (5, 7), (7, 7)])
    func `after a crash exactly what is missing is recorded`(position: UInt64, recorded: Int)
        async throws
    {
        let setup = Setup()
        try await setup.create("a", "b", "c", "d", "e", "f", "g")
        try await setup.store.setRecordedPosition(position)
        // The next process.
        let recorder = MemoryRecorder()
        let changes = ChangeRecorder(
            recorder: recorder, store: setup.store, logger: TestPlane.logger)
        try await changes.start { _ in
            #expect(position < 7, "nothing is missing")
            return Set((0...Int64(recorded)).dropFirst())
        }
        #expect(recorder.changes.map(\.seq) == (recorded + 1..<8).map { Int64($0) })
        #expect(recorder.changes.map(\.caller) == [String](repeating: "self", count: 7 - recorded))
        #expect(try await setup.store.recordedPosition() == 7)
        setup.store.setLeafConsumer(changes)
        try await setup.create("h")
        try await changes.flush()
        #expect(recorder.changes.last?.seq == 8 && recorder.changes.count == 8 - recorded)
    }

    @Test func `more than fits one append is caught up with`() async throws {
        let setup = Setup()
        for number in 0..<21 {
            _ = try await setup.store.createEntries(
                try (0..<50).map { try .test("\(number)-\($0)", "/\(number)/\($0)", parent: "/p") })
        }
        let recorder = MemoryRecorder()
        let changes = ChangeRecorder(
            recorder: recorder, store: setup.store, logger: TestPlane.logger)
        try await changes.start { _ in [] }
        #expect(recorder.changes.map(\.seq) == (1...1_050).map { Int64($0) })
        #expect(recorder.appends > 1)
    }

    @Test func `the store learns what is recorded when it is told, and after many changes`()
        async throws
    {
        let setup = Setup()
        try await setup.changes.start { _ in [] }
        try await setup.create("a", "b")
        try await setup.changes.flush()
        #expect(try await setup.store.recordedPosition() == 0)
        try await setup.changes.save()
        #expect(try await setup.store.recordedPosition() == 2)
        let running = Task { try await setup.changes.run() }
        for number in 0..<41 {
            _ = try await setup.store.createEntries(
                try (0..<50).map { try .test("\(number)-\($0)", "/\(number)/\($0)", parent: "/p") })
        }
        while try await setup.store.recordedPosition() < 2_002 {
            try await Task.sleep(for: .milliseconds(2))
        }
        running.cancel()
        _ = try? await running.value
    }

    @Test func `a server whose ledger cannot be written does not start with changes missing`()
        async throws
    {
        let setup = Setup()
        try await setup.create("a")
        setup.recorder.fail(Self.full)
        await #expect(throws: Self.full) { try await setup.changes.start { _ in [] } }
        #expect(try await setup.store.recordedPosition() == 0)
    }
}
