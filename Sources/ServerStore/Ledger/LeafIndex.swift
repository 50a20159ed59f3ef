import Crypto
import Foundation
import GRDB
import ServerCore
package import Transparency

/// Finds the leaves of a log by what they say: a file of somebody who reads the log, with what was checked of it.
///
/// It grows with the log: ``extend(_:)`` reads what has been added since the last time. It is believed like an older checkpoint
/// that was kept: who can write the file can hide leaves from its owner, and can make up none, for each leaf that is shown
/// is proved. Terms are kept as 64 bits of their SHA-256; who looks one up compares what it finds.
package final class LeafIndex: Sendable {
    private static let version = 1
    /// Leaves that are entered in one transaction.
    private static let batch = 4_096

    private let path: String
    private let database: DatabaseQueue

    /// Opens an index, and makes it where there is none.
    ///
    /// - Parameter log: The log's verifier key; an index is of one log.
    /// - Throws: ``ServerError`` `failedPrecondition` when the file is another log's, of a later version, damaged or no index;
    ///   `unavailable` when it cannot be opened.
    package init(path: String, log: VerifierKey) throws {
        self.path = path
        do {
            var configuration = Configuration()
            configuration.busyMode = .timeout(10)
            self.database = try DatabaseQueue(path: path, configuration: configuration)
            chmod(path, 0o600)
            try self.database.write { db in try Self.prepare(db, path, "\(log)") }
        } catch {
            throw Self.failure(error, path)
        }
    }

    private static func prepare(_ db: Database, _ path: String, _ log: String) throws {
        let tables = try String.fetchAll(
            db, sql: "SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")
        if tables.isEmpty {
            try db.execute(
                sql: """
                    CREATE TABLE log (
                        id INTEGER PRIMARY KEY CHECK (id = 1), version INTEGER NOT NULL, key TEXT NOT NULL,
                        -- Leaves that were entered and proved, and the roots of the subtrees that they make.
                        size INTEGER NOT NULL, subtrees BLOB NOT NULL,
                        -- Whether leaves beyond `size` may have been entered.
                        is_open INTEGER NOT NULL
                    );
                    CREATE TABLE terms (
                        term INTEGER NOT NULL, leaf INTEGER NOT NULL, PRIMARY KEY (term, leaf)
                    ) WITHOUT ROWID;
                    """)
            try db.execute(
                sql: "INSERT INTO log VALUES (1, ?, ?, 0, x'', 0)", arguments: [Self.version, log])
            return
        }
        guard tables == ["log", "terms"],
            let row = try Row.fetchOne(db, sql: "SELECT version, key, is_open FROM log")
        else {
            throw ServerError(.failedPrecondition, "\(path) is no index of a ledger")
        }
        let (version, key, isOpen): (Int, String, Bool) = (row[0], row[1], row[2])
        guard version == Self.version else {
            throw ServerError(
                .failedPrecondition,
                "index \(path) has version \(version); this program knows \(Self.version). Remove it to have it made anew"
            )
        }
        guard key == log else {
            throw ServerError(
                .failedPrecondition, "index \(path) is of another log, with key \(quoted(key))")
        }
        // What was entered last may never have been proved.
        if isOpen {
            try db.execute(
                sql: "DELETE FROM terms; UPDATE log SET size = 0, subtrees = x'', is_open = 0")
        }
    }

    /// Brings the index up to the log's checkpoint.
    ///
    /// - Returns: what holds.
    /// - Throws: ``LogFault`` when the log does not hold, or is not the one that was indexed; ``ServerError``; what the reader
    ///   throws.
    package func extend(_ verifier: LogVerifier) async throws -> LogVerifier.Report {
        let known = try self.known()
        var pending: [(leaf: UInt64, terms: Set<LeafTerm>)] = []
        var isOpen = false
        let (report, frontier) = try await verifier.verify(behind: known) { index, bytes in
            if let leaf = try? Leaf(parsing: Array(bytes)) {
                pending.append((index, LeafTerm.terms(of: leaf)))
            }
            guard pending.count >= Self.batch else { return }
            try self.enter(pending, opening: !isOpen)
            isOpen = true
            pending = []
        }
        guard frontier.size > known.size else { return report }
        try self.enter(pending, opening: false, frontier)
        return report
    }

    private func known() throws -> MerkleFrontier {
        do {
            let row = try self.database.read { db in
                try Row.fetchOne(db, sql: "SELECT size, subtrees FROM log WHERE id = 1")
            }
            let damaged = ServerError(
                .failedPrecondition,
                "index \(self.path) is damaged; remove it to have it made anew")
            guard let row else { throw damaged }
            let (size, bytes): (Int64, Data) = (row[0], row[1])
            let hashes = stride(from: 0, to: bytes.count, by: MerkleHash.byteCount).compactMap {
                MerkleHash(bytes: bytes.dropFirst($0).prefix(MerkleHash.byteCount))
            }
            guard let count = UInt64(exactly: size),
                let frontier = MerkleFrontier(size: count, subtrees: hashes)
            else { throw damaged }
            return frontier
        } catch {
            throw Self.failure(error, self.path)
        }
    }

    /// - Parameter frontier: With the last ones, when all are proved.
    private func enter(
        _ leaves: [(leaf: UInt64, terms: Set<LeafTerm>)], opening: Bool,
        _ frontier: MerkleFrontier? = nil
    ) throws {
        do {
            try self.database.write { db in
                if opening { try db.execute(sql: "UPDATE log SET is_open = 1") }
                let insert = try db.makeStatement(
                    sql: "INSERT OR IGNORE INTO terms VALUES (?, ?)")
                for (leaf, terms) in leaves {
                    for term in terms {
                        try insert.execute(arguments: [Self.number(term), Int64(clamping: leaf)])
                    }
                }
                if let frontier {
                    try db.execute(
                        sql: "UPDATE log SET size = ?, subtrees = ?, is_open = 0",
                        arguments: [
                            Int64(clamping: frontier.size),
                            Data(frontier.subtrees.flatMap(\.bytes)),
                        ])
                }
            }
        } catch {
            throw Self.failure(error, self.path)
        }
    }

    /// Leaves that may say it, the latest first.
    ///
    /// - Parameters:
    ///   - bound: only leaves before this one.
    ///   - limit: how many at most.
    package func leaves(
        with term: LeafTerm, before bound: UInt64 = .max, limit: Int
    ) throws -> [UInt64] {
        do {
            let found = try self.database.read { db in
                try Int64.fetchAll(
                    db,
                    sql:
                        "SELECT leaf FROM terms WHERE term = ? AND leaf < ? ORDER BY leaf DESC LIMIT ?",
                    arguments: [Self.number(term), Int64(clamping: bound), limit])
            }
            return found.compactMap { UInt64(exactly: $0) }
        } catch {
            throw Self.failure(error, self.path)
        }
    }

    private static func number(_ term: LeafTerm) -> Int64 {
        let digest = SHA256.hash(data: Array("\(term.field.rawValue)\0\(term.value)".utf8))
        return Int64(bitPattern: digest.prefix(8).reduce(0) { $0 << 8 | UInt64($1) })
    }

    private static func failure(_ error: any Error, _ path: String) -> ServerError {
        if let error = error as? ServerError { return error }
        if let error = error as? DatabaseError,
            [.SQLITE_NOTADB, .SQLITE_CORRUPT].contains(error.resultCode)
        {
            return ServerError(
                .failedPrecondition,
                "index \(path) is damaged or no index; remove it to have it made anew")
        }
        return ServerError(.unavailable, "cannot use index \(path): \(error)")
    }
}
