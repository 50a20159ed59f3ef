import CPeer
import Foundation
import GRDB
import NIOConcurrencyHelpers
package import SPIFFE
package import ServerCore

#if canImport(Glibc)
    import Glibc
#elseif canImport(Darwin)
    import Darwin
#endif

/// The embedded store: one SQLite file in WAL mode, synced at every commit.
///
/// One process at a time: an exclusive lock on `<path>.lock` is held as long as the store is open. The file
/// belongs to one trust domain for ever.
package final class SQLiteStore: Sendable {
    let trustDomain: TrustDomain
    let database: DatabaseQueue
    let writes: WriteQueue
    private let consumer = NIOLockedValueBox<(any ChangeFeedConsumer)?>(nil)
    private let leafConsumer = NIOLockedValueBox(LeafConsumer())
    private let lock: FileLock

    /// Opens the store, creating or migrating it.
    ///
    /// - Parameter path: The file; its folder must exist.
    /// - Throws: ``ServerError`` `failedPrecondition` when another process holds the store or it belongs to
    ///   another trust domain; `unavailable` when the file cannot be opened or written.
    package init(path: String, trustDomain: TrustDomain) throws {
        self.trustDomain = trustDomain
        self.lock = try FileLock(path: path + ".lock", what: "store \(path)")
        // Made here so that at no moment others may read it; SQLite gives its side files the same mode.
        let descriptor = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
        if descriptor >= 0 { close(descriptor) }
        do {
            var configuration = Configuration()
            configuration.journalMode = .wal
            configuration.foreignKeysEnabled = true
            configuration.busyMode = .timeout(5)
            configuration.prepareDatabase { db in
                try db.execute(sql: "PRAGMA synchronous = FULL")
                try db.execute(sql: "PRAGMA wal_autocheckpoint = 4000")
                // 24 MB: the indexes of 100,000 entries stay in memory while they are written to.
                try db.execute(sql: "PRAGMA cache_size = -24000")
            }
            self.database = try DatabaseQueue(path: path, configuration: configuration)
            chmod(path, 0o600)
            try Schema.migrator.migrate(self.database)
        } catch let error as DatabaseError {
            if error.resultCode == .SQLITE_NOTADB || error.resultCode == .SQLITE_CORRUPT {
                throw ServerError(
                    .failedPrecondition,
                    "store \(path) is damaged or not a SQLite file; restore it from a backup")
            }
            let cause = StoreFailure.serverError(error)
            throw ServerError(.unavailable, "cannot open store \(path): \(cause)")
        }
        self.writes = WriteQueue(
            database: self.database, consumer: self.consumer, leafConsumer: self.leafConsumer)
        try self.claim(path)
    }

    /// Connects the one that takes the changes; call it once, after the snapshot was loaded and before the
    /// first write.
    package func setConsumer(_ consumer: any ChangeFeedConsumer) {
        self.consumer.withLockedValue { $0 = consumer }
    }

    /// Connects the one that carries the changes into the ledger, without keeping it alive; call it once, before the
    /// first write.
    package func setLeafConsumer(_ consumer: any ChangeLeafConsumer) {
        self.leafConsumer.withLockedValue { $0.value = consumer }
    }

    /// Forgets feed rows that no reader needs any more. Those that are not known to be in the ledger stay
    /// (``setRecordedPosition(_:)``).
    ///
    /// - Parameter keep: how many of the newest stay.
    package func pruneChanges(keep: Int64) async throws {
        try await self.writes.write { db, _ in
            try db.execute(
                sql: """
                    DELETE FROM changes
                    WHERE seq <= (SELECT min(seq - ?, recorded) FROM feed_head WHERE id = 1)
                    """,
                arguments: [keep])
        }
    }

    func read<Result: Sendable>(
        _ body: @escaping @Sendable (Database) throws -> Result
    ) async throws -> Result {
        do { return try await self.database.read(body) } catch {
            throw StoreFailure.serverError(error)
        }
    }

    /// Marks a new store as this trust domain's; refuses one of another.
    private func claim(_ path: String) throws {
        let name = self.trustDomain.name
        let owner = try self.database.write { db -> String in
            try db.execute(
                sql: "INSERT OR IGNORE INTO meta (key, value) VALUES ('trust_domain', ?)",
                arguments: [name])
            return try String.fetchOne(db, sql: "SELECT value FROM meta WHERE key = 'trust_domain'")
                ?? name
        }
        guard owner == name else {
            throw ServerError(
                .failedPrecondition,
                "store \(path) belongs to trust domain \(quoted(owner)), not \(quoted(name)); "
                    + "use another connection_string or restore the trust_domain setting")
        }
    }
}

/// An exclusive lock on a file, held until this object goes away or the process ends.
final class FileLock: Sendable {
    private let descriptor: CInt

    init(path: String, what: String) throws {
        let descriptor = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0o600)
        guard descriptor >= 0 else {
            throw ServerError(
                .unavailable, "cannot open lock file \(path): \(String(cString: strerror(errno)))")
        }
        guard flock(descriptor, LOCK_EX | LOCK_NB) == 0 else {
            close(descriptor)
            throw ServerError(
                .failedPrecondition,
                "\(what) is in use by another process; stop it first (lock file \(path))")
        }
        self.descriptor = descriptor
    }

    deinit { close(self.descriptor) }
}
