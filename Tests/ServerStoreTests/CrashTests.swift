import Foundation
import GRDB
import NIOConcurrencyHelpers
import SPIFFE
import ServerCore
import ServerTestSupport
import Testing

@testable import ServerStore

/// The two ways in which a write can end badly: "failed, not stored" and "failed, but stored".
@Suite struct CrashTests {
    private static func open(_ folder: TemporaryFolder) throws -> SQLiteStore {
        try SQLiteStore(
            path: folder.file("store.sqlite"), trustDomain: try TrustDomain("acme.test"))
    }

    private static func execute(_ sql: String, on store: SQLiteStore) async throws {
        try await store.database.write { db in try db.execute(sql: sql) }
    }

    struct FailurePoint: Sendable, CustomTestStringConvertible {
        let name: String
        let trigger: String
        var testDescription: String { self.name }
    }

    /// Each statement that a write is made of, and the ways in which SQLite reports a failure.
    private static let points: [FailurePoint] = ["ABORT", "FAIL", "ROLLBACK"].flatMap { way in
        [
            FailurePoint(
                name: "\(way) at the row of the entry",
                trigger: "BEFORE INSERT ON entries BEGIN SELECT RAISE(\(way), 'boom'); END"),
            FailurePoint(
                name: "\(way) behind the row of the entry",
                trigger: "AFTER INSERT ON entries BEGIN SELECT RAISE(\(way), 'boom'); END"),
            FailurePoint(
                name: "\(way) at the row of the feed",
                trigger: "BEFORE INSERT ON changes BEGIN SELECT RAISE(\(way), 'boom'); END"),
            FailurePoint(
                name: "\(way) at the head of the feed",
                trigger: "BEFORE UPDATE ON feed_head BEGIN SELECT RAISE(\(way), 'boom'); END"),
        ]
    }

    @Test(arguments: points)
    func `what fails at any step is not stored, not told, and can be done again`(
        point: FailurePoint
    ) async throws {
        try await TemporaryFolder.with { folder in
            let log = FeedLog()
            let open = try Self.open(folder)
            open.setConsumer(log)
            _ = try await open.createEntries([try .test("before", "/b", parent: "/p")])
            try await Self.execute("CREATE TRIGGER boom \(point.trigger)", on: open)
            let entry = try Entry.test("e", "/w", parent: "/p")
            await #expect(throws: ServerError.self) { try await open.createEntries([entry]) }
            await #expect(throws: ServerError.self) {
                try await open.createJoinToken(JoinToken(value: "t", expiresAt: 9), alias: entry)
            }
            #expect(log.seq == 1)
            let kept = try await Contents.of(open)
            #expect(kept == (Contents(applying: log.changes), 1))
            try await Self.execute("DROP TRIGGER boom", on: open)
            try await open.createJoinToken(JoinToken(value: "t", expiresAt: 9), alias: entry)
            #expect(log.seq == 2 && log.gaps == 0)
        }
    }

    @Test(arguments: ["ABORT", "FAIL", "ROLLBACK"])
    func `one write that fails takes no neighbour's answer with it`(way: String) async throws {
        try await TemporaryFolder.with { folder in
            let log = FeedLog()
            let store = try Self.open(folder)
            store.setConsumer(log)
            try await Self.execute(
                """
                CREATE TRIGGER boom BEFORE INSERT ON entries WHEN NEW.hint = 'boom'
                BEGIN SELECT RAISE(\(way), 'boom'); END
                """, on: store)
            let stored = NIOLockedValueBox<Set<String>>([])
            let refused = NIOLockedValueBox<Set<String>>([])
            await withTaskGroup(of: Void.self) { group in
                for number in 0..<200 {
                    group.addTask {
                        guard var entry = try? Entry.test("e\(number)", "/\(number)", parent: "/p")
                        else {
                            return
                        }
                        let id = entry.id
                        if number % 7 == 0 { entry.hint = "boom" }
                        let isStored = (try? await store.createEntries([entry])) == [true]
                        (isStored ? stored : refused).withLockedValue { _ = $0.insert(id) }
                    }
                }
            }
            let ids = Set(try await Contents.of(store).contents.entries.map(\.id))
            #expect(
                ids == stored.withLockedValue { $0 },
                "success means stored, failure means not stored")
            #expect(
                stored.withLockedValue { $0.count } + refused.withLockedValue { $0.count } == 200)
            #expect(ids.isDisjoint(with: (0..<200).filter { $0 % 7 == 0 }.map { "e\($0)" }))
            if way == "ABORT" { #expect(ids.count == 200 - 29) }
            #expect(log.gaps == 0)
            #expect(Contents(applying: log.changes).entries.count == ids.count)
        }
    }

    @Test func `a full disk refuses writes without losing any, and recovers`() async throws {
        try await TemporaryFolder.with { folder in
            let stored = try await Self.fillDisk(folder)
            let again = try Self.open(folder)
            #expect(Set(try await Contents.of(again).contents.entries.map(\.id)) == stored)
        }
    }

    /// Writes until there is no room, then makes room and writes once more.
    ///
    /// - Returns: the entries that were answered for.
    private static func fillDisk(_ folder: TemporaryFolder) async throws -> Set<String> {
        let log = FeedLog()
        let store = try self.open(folder)
        store.setConsumer(log)
        let pages = try await store.read { db in try Int.fetchOne(db, sql: "PRAGMA page_count") ?? 0
        }
        try await store.database.writeWithoutTransaction { db in
            try db.execute(sql: "PRAGMA max_page_count = \(pages + 20)")
        }
        var stored: Set<String> = []
        var failure: ServerError?
        for number in 0..<2_000 where failure == nil {
            var entry = try Entry.test("e\(number)", "/\(number)", parent: "/p")
            entry.hint = String(repeating: "h", count: 1_000)
            do {
                _ = try await store.createEntries([entry])
                stored.insert(entry.id)
            } catch { failure = error as? ServerError }
        }
        #expect(failure?.code == .unavailable)
        #expect(failure?.message.contains("disk is full") == true)
        #expect(Set(try await Contents.of(store).contents.entries.map(\.id)) == stored)
        #expect(log.seq == UInt64(stored.count))
        try await store.database.writeWithoutTransaction { db in
            try db.execute(sql: "PRAGMA max_page_count = 1000000")
        }
        _ = try await store.createEntries([try .test("last", "/last", parent: "/p")])
        stored.insert("last")
        return stored
    }

    /// Copies the files as a crash would leave them and opens the copy.
    private static func afterCrash(
        _ folder: TemporaryFolder, _ body: (SQLiteStore) async throws -> Void
    ) async throws {
        try await TemporaryFolder.with { copy in
            for name in ["store.sqlite", "store.sqlite-wal"] {
                try FileManager.default.copyItem(atPath: folder.file(name), toPath: copy.file(name))
            }
            try await body(try self.open(copy))
        }
    }

    @Test func `a crash right after any write keeps what was answered`() async throws {
        try await TemporaryFolder.with { folder in
            let store = try Self.open(folder)
            let log = FeedLog()
            store.setConsumer(log)
            for step in 0..<12 {
                switch step % 4 {
                case 0:
                    _ = try await store.createEntries([
                        try .test("e\(step)", "/\(step)", parent: "/p")
                    ])
                case 1:
                    _ = try await store.updateBundle(try TrustDomain("acme.test")) {
                        $0.refreshHint += 1
                    }
                case 2: _ = try await store.deleteEntries(["e\(step - 6)"])
                default: try await store.saveJournal([])
                }
                let wanted = Contents(applying: log.changes)
                let seq = log.seq
                try await Self.afterCrash(folder) { reopened in
                    let kept = try await Contents.of(reopened)
                    #expect(kept == (wanted, seq))
                }
            }
        }
    }

    @Test func `a crash among many writers keeps what was answered, and nothing by halves`()
        async throws
    {
        try await TemporaryFolder.with { folder in
            let store = try Self.open(folder)
            let answered = NIOLockedValueBox<Set<String>>([])
            try await withThrowingTaskGroup(of: Void.self) { group in
                for writer in 0..<16 {
                    group.addTask {
                        for round in 0..<20 {
                            let id = "e\(writer)-\(round)"
                            _ = try await store.createEntries([
                                try .test(id, "/\(id)", parent: "/p"),
                                try .test(id + "-twin", "/\(id)/twin", parent: "/p"),
                            ])
                            answered.withLockedValue { _ = $0.insert(id) }
                        }
                    }
                }
                for _ in 0..<6 {
                    try await group.next()
                    let before = answered.withLockedValue { $0 }
                    try await Self.afterCrash(folder) { reopened in
                        let (contents, seq) = try await Contents.of(reopened)
                        let ids = Set(contents.entries.map(\.id))
                        #expect(before.isSubset(of: ids))
                        #expect(
                            ids.allSatisfy { $0.hasSuffix("-twin") || ids.contains($0 + "-twin") })
                        #expect(Int(seq) == ids.count)
                    }
                }
                try await group.waitForAll()
            }
        }
    }
}
