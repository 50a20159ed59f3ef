import GRDB
import SPIFFE
import ServerCore
import ServerTestSupport
import Testing

@testable import ServerStore

/// Revocations, in every store.
@Suite struct RevocationStoreTests {
    private static func revocation(
        _ id: String, _ kind: RevocationTarget.Kind, _ value: String, at: Int64 = 10
    ) throws -> Revocation {
        Revocation(
            id: id,
            target: try RevocationTarget(
                type: kind, value: value, trustDomain: try TrustDomain("acme.test")),
            andChildren: kind == .pathPrefix, isSuspension: kind == .spiffeID,
            isReplacement: kind == .entryID, reason: "it's \"so\"; --", caller: "uid:0",
            createdAt: at, expiresAt: kind == .jti ? 99 : 0)
    }

    /// One of each kind.
    private static func all() throws -> [Revocation] {
        let rows: [(RevocationTarget.Kind, String)] = [
            (.spiffeID, "spiffe://acme.test/a"), (.pathPrefix, "/a/b"), (.entryID, "e-1"),
            (.serial, "ab"), (.jti, "J_1"), (.agentID, "spiffe://acme.test/spire/agent/x/1"),
            (.selector, "docker:image:a:b'c"), (.authorityID, "0a"),
            (.workload, "e-1@spiffe://acme.test/spire/agent/x/1"),
        ]
        return try rows.enumerated().map {
            try self.revocation("r\($0.offset)", $0.element.0, $0.element.1)
        }
    }

    @Test(arguments: StoreKind.allCases)
    func `revocations are made, completed, ended and forgotten, and the feed tells of it`(
        kind: StoreKind
    ) async throws {
        let log = FeedLog()
        try await kind.run(log) { store in
            let all = try Self.all()
            #expect(Set(all.map(\.target.kind)) == Set(RevocationTarget.Kind.allCases))
            for revocation in all { #expect(try await store.createRevocation(revocation)) }
            #expect(try await !store.createRevocation(try Self.revocation("r0", .serial, "1")))
            #expect(try await Contents.of(store).contents.revocations == all)
            #expect(try await store.unfinishedRevocations().map(\.revocation) == all)
            #expect(try await store.revocationHits().isEmpty)
            for revocation in all.dropFirst() {
                try await store.completeRevocation(revocation.id, hits: [])
            }
            try await store.completeRevocation("r0", hits: [1, 2, 3])
            #expect(try await store.unfinishedRevocations().isEmpty)
            #expect(try await store.revocationHits()["r0"] == [1, 2, 3])
            try await store.forgetRevocation("r0")
            #expect(
                try await Contents.of(store).contents.revocations.count == all.count,
                "it has not ended")

            let before = log.seq
            #expect(try await store.endRevocation("r0", reason: "found", caller: "uid:1") == all[0])
            #expect(log.seq == before + 1)
            #expect(try await store.endRevocation("r0", reason: "", caller: "") == nil)
            #expect(try await store.endRevocation("none", reason: "", caller: "") == nil)
            #expect(try await store.revocationHits()["r0"] == nil)
            let now = try await Contents.of(store)
            #expect(now.contents.revocations == Array(all.dropFirst()))
            #expect(
                try await store.unfinishedRevocations() == [
                    UnfinishedRevocation(
                        revocation: all[0], isCompleted: true,
                        end: .init(reason: "found", caller: "uid:1"))
                ])
            try await store.forgetRevocation("r0")
            #expect(try await store.unfinishedRevocations().isEmpty)
            #expect(Contents(applying: log.changes) == now.contents)
            #expect(log.seq == now.seq && log.gaps == 0)
        }
    }

    @Test(arguments: StoreKind.allCases)
    func `those that hit nothing any more are removed in one step, if they are recorded`(
        kind: StoreKind
    ) async throws {
        let log = FeedLog()
        try await kind.run(log) { store in
            for id in ["a", "b", "c", "d"] {
                let made = try Self.revocation(id, .workload, "e@spiffe://acme.test/spire/agent/x")
                #expect(try await store.createRevocation(made))
            }
            for id in ["a", "b", "d"] { try await store.completeRevocation(id, hits: [1]) }
            _ = try await store.endRevocation("d", reason: "", caller: "self")
            let before = log.seq
            let asked = ["b", "none", "c", "d", "a", "b"]
            #expect(try await store.removeRevocations(asked) == ["b", "a"])
            #expect(log.seq == before + 2 && log.gaps == 0)
            #expect(try await store.removeRevocations(asked).isEmpty)
            #expect(try await store.removeRevocations([]).isEmpty)
            #expect(log.seq == before + 2, "nothing to tell of")
            let now = try await Contents.of(store)
            #expect(now.contents.revocations.map(\.id) == ["c"])
            #expect(Contents(applying: log.changes) == now.contents)
            // What is not recorded stays, and what has ended until that is.
            #expect(try await store.unfinishedRevocations().map(\.revocation.id) == ["c", "d"])
            #expect(try await store.revocationHits().isEmpty)
        }
    }

    @Test func `revocations survive a restart`() async throws {
        try await TemporaryFolder.with { folder in
            let path = folder.file("store.sqlite")
            let own = try TrustDomain("acme.test")
            let all = try Self.all()
            var store: SQLiteStore? = try SQLiteStore(path: path, trustDomain: own)
            for revocation in all { _ = try await store?.createRevocation(revocation) }
            _ = try await store?.createEntries([try .test("e-2", "/a/b/c", parent: "/p")])
            store = nil
            let again = try SQLiteStore(path: path, trustDomain: own)
            let directory = Directory(trustDomain: own, now: TestClock(20).now)
            try await directory.load(from: again)
            #expect(directory.revocations == all)
            #expect(directory.revocation(blockingEntry: "e-2", now: 20)?.id == "r1")
            #expect(try await again.unfinishedRevocations().count == all.count)
        }
    }

    @Test(arguments: [
        "BEFORE INSERT ON revocations", "AFTER INSERT ON revocations", "BEFORE INSERT ON changes",
        "BEFORE UPDATE ON feed_head",
    ])
    func `what fails at any step is not stored and not told`(point: String) async throws {
        try await TemporaryFolder.with { folder in
            let log = FeedLog()
            let store = try SQLiteStore(
                path: folder.file("store.sqlite"), trustDomain: try TrustDomain("acme.test"))
            store.setConsumer(log)
            try await store.database.write { db in
                try db.execute(
                    sql: "CREATE TRIGGER boom \(point) BEGIN SELECT RAISE(ABORT, 'boom'); END")
            }
            let revocation = try Self.revocation("r", .serial, "ab")
            await #expect(throws: ServerError.self) { try await store.createRevocation(revocation) }
            #expect(log.seq == 0)
            #expect(try await Contents.of(store).contents.revocations.isEmpty)
            try await store.database.write { db in try db.execute(sql: "DROP TRIGGER boom") }
            #expect(try await store.createRevocation(revocation))
            #expect(log.seq == 1 && log.gaps == 0)
        }
    }

    @Test func `a damaged row is no revocation less: nothing is loaded`() async throws {
        try await TemporaryFolder.with { folder in
            let own = try TrustDomain("acme.test")
            let store = try SQLiteStore(path: folder.file("store.sqlite"), trustDomain: own)
            _ = try await store.createRevocation(try Self.revocation("r", .serial, "ab"))
            try await store.database.write { db in
                try db.execute(sql: "UPDATE revocations SET target_type = 'no_such'")
            }
            let error = await #expect(throws: ServerError.self) {
                try await Directory(trustDomain: own).load(from: store)
            }
            #expect(error?.message.contains("damaged") == true)
        }
    }
}
