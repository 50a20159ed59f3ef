import Foundation
import GRDB
import SPIFFE
import ServerCore
import ServerTestSupport
import Testing

@testable import ServerStore

@Suite struct SQLiteStoreTests {
    private static func open(_ folder: TemporaryFolder, _ domain: String = "acme.test") throws
        -> SQLiteStore
    {
        try SQLiteStore(path: folder.file("store.sqlite"), trustDomain: try TrustDomain(domain))
    }

    /// Something of everything.
    private static func fill(_ store: SQLiteStore) async throws {
        var entry = try Entry.test(
            "full", "/w", parent: "/spire/agent/x/1", ["a:1", "b:x:y", "c:é\u{1}"])
        entry.x509SVIDTTL = .max
        entry.jwtSVIDTTL = 7
        entry.federatesWith = [try TrustDomain("a.test"), try TrustDomain("b.test")]
        entry.admin = true
        entry.downstream = true
        entry.expiresAt = .max
        entry.dnsNames = ["a.example", "*.b.example"]
        entry.storeSVID = true
        entry.hint = "ü\n\"'; DROP TABLE entries; --"
        entry.createdAt = 1_900_000_000
        entry.disableX509SVIDPrefetch = true
        entry.jwtSVIDIncludeJTI = true
        entry.revokesOnExit = true
        let plain = try Entry.test(
            "plain", "/" + String(repeating: "p", count: 2_000), parent: "/p")
        #expect(try await store.createEntries([entry, plain]) == [true, true])
        var node = AttestedNode(
            id: try SPIFFEID("spiffe://acme.test/spire/agent/x/1"), attestationType: "x",
            serial: "0a",
            expiresAt: .max)
        node.preparedSerial = "0b"
        node.preparedExpiresAt = 12
        node.selectors = [try Selector("a:1"), try Selector("b:2")]
        node.canReattest = true
        node.agentVersion = "1.0"
        _ = try await store.attestNode(node)
        _ = try await store.updateBundle(try TrustDomain("acme.test")) {
            $0.x509Authorities = [.init(der: [2]), .init(der: [1], tainted: true)]
            $0.jwtAuthorities = [.init(keyID: "k", publicKeyDER: [9], expiresAt: 3)]
        }
        _ = try await store.updateBundle(try TrustDomain("b.test")) { $0.refreshHint = 60 }
        try await store.createJoinToken(JoinToken(value: "t", expiresAt: 5), alias: nil)
    }

    @Test func `a store that is opened again gives the same directory`() async throws {
        try await TemporaryFolder.with { folder in
            var store: SQLiteStore? = try Self.open(folder)
            let log = FeedLog()
            store?.setConsumer(log)
            try await Self.fill(try #require(store))
            let before = try await Contents.of(try #require(store))
            #expect(Contents(applying: log.changes) == before.contents)
            store = nil
            let again = try Self.open(folder)
            let after = try await Contents.of(again)
            #expect(after == before)
            #expect(try await again.takeJoinToken("t") == JoinToken(value: "t", expiresAt: 5))
            let directory = Directory(trustDomain: try TrustDomain("acme.test"))
            try await directory.load(from: again)
            #expect(directory.withEntries { $0.entry(id: "full") } == before.contents.entries.first)
            #expect(directory.seq == before.seq)
            let digest = try await again.entryDigest()
            #expect(directory.entryDigest.digest == digest.digest)
        }
    }

    @Test func `BND-06: the number of a bundle goes on after a restart`() async throws {
        try await TemporaryFolder.with { folder in
            let domain = try TrustDomain("acme.test")
            for round: UInt64 in 1...3 {
                var store: SQLiteStore? = try Self.open(folder)
                let bundle = try await store?.updateBundle(domain) { $0.refreshHint += 60 }
                #expect(bundle?.sequenceNumber == round)
                store = nil
            }
        }
    }

    @Test func `a second opener is refused while the first lives, with words that help`()
        async throws
    {
        try await TemporaryFolder.with { folder in
            var first: SQLiteStore? = try Self.open(folder)
            let error = #expect(throws: ServerError.self) { try Self.open(folder) }
            #expect(error?.code == .failedPrecondition)
            #expect(error?.message.contains("in use by another process") == true)
            #expect(error?.message.contains(folder.file("store.sqlite")) == true)
            _ = try await first?.entryDigest()
            first = nil
            _ = try Self.open(folder)
        }
    }

    @Test func `a store of another trust domain is refused and stays as it is`() async throws {
        try await TemporaryFolder.with { folder in
            try await Self.fill(try Self.open(folder))
            let error = #expect(throws: ServerError.self) { try Self.open(folder, "evil.test") }
            #expect(error?.code == .failedPrecondition)
            #expect(error?.message.contains("acme.test") == true)
            #expect(try await Contents.of(try Self.open(folder)).contents.entries.count == 2)
        }
    }

    @Test(arguments: ["hello", String(repeating: "garbage ", count: 4_000)])
    func `a file that is no store is refused and left alone`(text: String) async throws {
        try await TemporaryFolder.with { folder in
            try folder.write(text, to: "store.sqlite")
            let error = #expect(throws: ServerError.self) { try Self.open(folder) }
            #expect(error?.code == .failedPrecondition)
            #expect(try folder.read("store.sqlite") == Array(text.utf8))
        }
    }

    @Test func `a folder that does not exist is named in the error`() async throws {
        try await TemporaryFolder.with { folder in
            let path = folder.file("none/store.sqlite")
            let error = #expect(throws: ServerError.self) {
                try SQLiteStore(path: path, trustDomain: try TrustDomain("acme.test"))
            }
            #expect(error?.code == .unavailable)
            #expect(error?.message.contains(path) == true)
        }
    }

    @Test func `nobody else may read the files`() async throws {
        try await TemporaryFolder.with { folder in
            let store = try Self.open(folder)
            try await Self.fill(store)
            for name in try FileManager.default.contentsOfDirectory(atPath: folder.path) {
                #expect(try folder.mode(name) & 0o077 == 0, "\(name)")
            }
        }
    }

    @Test func `a join token is not in the file`() async throws {
        try await TemporaryFolder.with { folder in
            let store = try Self.open(folder)
            let secret = "s3cr3t-join-token-value"
            try await store.createJoinToken(JoinToken(value: secret, expiresAt: 5), alias: nil)
            for name in try FileManager.default.contentsOfDirectory(atPath: folder.path) {
                #expect(try folder.read(name).firstRange(of: Array(secret.utf8)) == nil, "\(name)")
            }
        }
    }

    @Test func `the rows of the feed have no gap and end at the head`() async throws {
        try await TemporaryFolder.with { folder in
            let store = try Self.open(folder)
            try await withThrowingTaskGroup(of: Void.self) { group in
                for number in 0..<64 {
                    group.addTask {
                        let id = "e\(number % 40)"
                        _ = try await store.createEntries([try .test(id, "/\(id)", parent: "/p")])
                        if number % 3 == 0 { _ = try await store.deleteEntries([id]) }
                    }
                }
                try await group.waitForAll()
            }
            let (seqs, head) = try await store.read { db in
                (
                    try Int64.fetchAll(db, sql: "SELECT seq FROM changes ORDER BY seq"),
                    try Int64.fetchOne(db, sql: "SELECT seq FROM feed_head") ?? -1
                )
            }
            #expect(seqs == (1...head).map { $0 })
            // Nothing that may not be in the ledger is forgotten.
            try await store.pruneChanges(keep: 5)
            #expect(try await store.changeLeaves(after: 0, limit: .max).count == Int(head))
            try await store.setRecordedPosition(UInt64(head))
            try await store.pruneChanges(keep: 5)
            let left = try await store.read { db in
                try Int64.fetchAll(db, sql: "SELECT seq FROM changes ORDER BY seq")
            }
            #expect(left == ((head - 4)...head).map { $0 })
        }
    }
}
