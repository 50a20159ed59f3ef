import Foundation
import GRDB
import SPIFFE
import ServerCore
import ServerTestSupport
import Testing
import Transparency

@testable import ServerStore

/// The leaves of changes on their way from the commit into the ledger.
@Suite struct ChangeLeafTests {
    private static func open(_ folder: TemporaryFolder) throws -> SQLiteStore {
        try SQLiteStore(
            path: folder.file("store.sqlite"), trustDomain: try TrustDomain("acme.test"))
    }

    private static func recorder(
        _ store: SQLiteStore, _ ledger: MemoryRecorder
    ) -> ChangeRecorder {
        ChangeRecorder(recorder: ledger, store: store, logger: TestPlane.logger)
    }

    @Test func `the row of a change has its leaf, with number, digest and who caused it`()
        async throws
    {
        try await TemporaryFolder.with { folder in
            let store = try Self.open(folder)
            let entry = try Entry.test("e", "/w", parent: "/p")
            try await ChangeActor.$name.withValue("uid:7") {
                _ = try await store.createEntries([entry])
                // Writes that wait together keep their own actors.
                try await withThrowingTaskGroup(of: Void.self) { group in
                    for number in 0..<32 {
                        group.addTask {
                            try await ChangeActor.$name.withValue("uid:\(number)") {
                                _ = try await store.createEntries([
                                    .test("n\(number)", "/n\(number)", parent: "/p")
                                ])
                            }
                        }
                    }
                    try await group.waitForAll()
                }
            }
            let rows = try await store.changeLeaves(after: 0, limit: 100)
            #expect(rows.map(\.seq) == (1...33).map { UInt64($0) })
            #expect(
                rows.first?.leaf?.event
                    == .change(
                        ChangeLeaf(
                            kind: .entry, action: .created, subject: "e", seq: 1, revision: 0,
                            contentDigest: LeafDigests.content(entry), caller: "uid:7")))
            for row in rows.dropFirst() {
                guard case .change(let leaf)? = row.leaf?.event else {
                    Issue.record("no leaf")
                    continue
                }
                #expect(leaf.caller == "uid:" + leaf.subject.dropFirst())
                #expect(leaf.seq == Int64(row.seq))
            }
            #expect(try await store.changeLeaves(after: 30, limit: 2).map(\.seq) == [31, 32])
        }
    }

    @Test func `a node's row says what became of it; what the ledger does not tell has no leaf`()
        async throws
    {
        try await TemporaryFolder.with { folder in
            let store = try Self.open(folder)
            let id = try SPIFFEID("spiffe://acme.test/spire/agent/x/a")
            var node = AttestedNode(id: id, attestationType: "x", serial: "1", expiresAt: 9)
            node.selectors = [try Selector("x:a")]
            #expect(try await store.attestNode(node))
            _ = try await store.updateNode(id) { (node) throws(ServerError) in
                node.preparedSerial = "2"
                node.preparedExpiresAt = 10
            }
            _ = try await store.updateNode(id) { (node) throws(ServerError) in
                node.agentVersion = "v"
            }
            _ = try await store.updateNode(id) { (node) throws(ServerError) in node.ban() }
            #expect(try await store.deleteNode(id))
            let rows = try await store.changeLeaves(after: 0, limit: 100)
            #expect(
                rows.map { $0.leaf?.event.type } == [
                    "node.attested", "node.renewed", nil, "node.banned", "node.evicted",
                ])
        }
    }

    @Test(arguments: [0, 1, 2, 3])
    func `a crash between commit and leaf: the next start records it`(
        recorded: Int
    ) async throws {
        try await TemporaryFolder.with { folder in
            let ledger = MemoryRecorder()
            try await Self.write(folder, ledger, recorded: recorded)
            // The next process finds the first `recorded` changes in the ledger.
            let store = try Self.open(folder)
            let changes = Self.recorder(store, ledger)
            try await changes.start { time in
                #expect(time <= LeafTime(seconds: Int64(Date().timeIntervalSince1970) + 1))
                return Set(ledger.changes.compactMap(\.seq))
            }
            #expect(ledger.changes.map(\.seq) == [1, 2, 3])
            #expect(ledger.changes.map(\.subject) == ["e0", "e1", "e2"])
            #expect(ledger.changes.map(\.caller) == ["uid:0", "uid:1", "uid:2"])
            #expect(try await store.recordedPosition() == 3)
        }
    }

    /// Three changes, of which the ledger gets the first few; the store is closed when this returns.
    private static func write(
        _ folder: TemporaryFolder, _ ledger: MemoryRecorder, recorded: Int
    ) async throws {
        let store = try Self.open(folder)
        let changes = Self.recorder(store, ledger)
        store.setLeafConsumer(changes)
        for number in 0..<3 {
            if number == recorded { ledger.fail(ServerError(.unavailable, "gone")) }
            try await ChangeActor.$name.withValue("uid:\(number)") {
                _ = try await store.createEntries([
                    .test("e\(number)", "/e\(number)", parent: "/p")
                ])
            }
            try? await changes.flush()
        }
        ledger.fail(nil)
    }

    @Test func `what is not committed has no leaf anywhere`() async throws {
        try await TemporaryFolder.with { folder in
            let ledger = MemoryRecorder()
            let store = try Self.open(folder)
            let changes = Self.recorder(store, ledger)
            store.setLeafConsumer(changes)
            try await store.database.write { db in
                try db.execute(
                    sql: """
                        CREATE TRIGGER boom BEFORE UPDATE ON feed_head
                        BEGIN SELECT RAISE(ABORT, 'boom'); END
                        """)
            }
            await #expect(throws: ServerError.self) {
                try await store.createEntries([try .test("e", "/w", parent: "/p")])
            }
            try await store.database.write { db in try db.execute(sql: "DROP TRIGGER boom") }
            try await changes.flush()
            #expect(ledger.events.isEmpty)
            #expect(try await store.changeLeaves(after: 0, limit: 9).isEmpty)
        }
    }

    @Test func `the position only goes forward, and not beyond the head`() async throws {
        try await TemporaryFolder.with { folder in
            let store = try Self.open(folder)
            for id in ["a", "b", "c"] {
                _ = try await store.createEntries([try .test(id, "/" + id, parent: "/p")])
            }
            try await store.setRecordedPosition(2)
            try await store.setRecordedPosition(1)
            #expect(try await store.recordedPosition() == 2)
            try await store.pruneChanges(keep: 0)
            #expect(try await store.changeLeaves(after: 0, limit: 9).map(\.seq) == [3])
            try await store.setRecordedPosition(.max)
            #expect(try await store.recordedPosition() == 3)
        }
    }

    @Test func `a damaged leaf is an error that names the change`() async throws {
        try await TemporaryFolder.with { folder in
            let store = try Self.open(folder)
            _ = try await store.createEntries([try .test("a", "/a", parent: "/p")])
            for bytes in [Data(), Data("{}".utf8), Data([0xFF])] {
                try await store.database.write { db in
                    try db.execute(sql: "UPDATE changes SET leaf = ?", arguments: [bytes])
                }
                let error = await #expect(throws: ServerError.self) {
                    try await store.changeLeaves(after: 0, limit: 9)
                }
                #expect(error?.message.contains("change 1") == true)
            }
        }
    }
}
