import Foundation
import GRDB
import SPIFFE
package import ServerCore

/// Revocations as rows.
enum RevocationRows {
    private static let columns = """
        id, target_type, target, and_children, suspension, replacement, reason, caller, created_at,
        expires_at
        """

    /// Those that have not ended.
    static func all(_ trustDomain: TrustDomain, _ db: Database) throws -> [Revocation] {
        try Row.fetchAll(
            db, sql: "SELECT \(self.columns) FROM revocations WHERE end_caller IS NULL"
        ).map { try self.revocation($0, trustDomain) }
    }

    /// - Returns: nil when there is none or it has ended.
    static func fetch(
        _ id: String, _ trustDomain: TrustDomain, _ db: Database
    ) throws -> Revocation? {
        try Row.fetchOne(
            db,
            sql: "SELECT \(self.columns) FROM revocations WHERE id = ? AND end_caller IS NULL",
            arguments: [id]
        ).map { try self.revocation($0, trustDomain) }
    }

    static func unfinished(
        _ trustDomain: TrustDomain, _ db: Database
    ) throws -> [UnfinishedRevocation] {
        try Row.fetchAll(
            db,
            sql: """
                SELECT \(self.columns), hits IS NOT NULL, end_reason, end_caller FROM revocations
                WHERE hits IS NULL OR end_caller IS NOT NULL ORDER BY created_at, id
                """
        ).map { row in
            let caller: String? = row[12]
            let reason: String? = row[11]
            return UnfinishedRevocation(
                revocation: try self.revocation(row, trustDomain), isCompleted: row[10],
                end: caller.map { .init(reason: reason ?? "", caller: $0) })
        }
    }

    static func hits(_ db: Database) throws -> [String: [UInt8]] {
        var result: [String: [UInt8]] = [:]
        let rows = try Row.fetchCursor(
            db,
            sql: "SELECT id, hits FROM revocations WHERE hits IS NOT NULL AND end_caller IS NULL")
        while let row = try rows.next() {
            let id: String = row[0]
            result[id] = [UInt8](row[1] as Data)
        }
        return result
    }

    /// - Returns: false when the ID is taken.
    static func insert(_ revocation: Revocation, _ db: Database) throws -> Bool {
        try db.execute(
            sql: """
                INSERT OR IGNORE INTO revocations (\(self.columns))
                VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
                """,
            arguments: [
                revocation.id, revocation.target.kind.rawValue, revocation.target.value,
                revocation.andChildren, revocation.isSuspension, revocation.isReplacement,
                revocation.reason, revocation.caller, revocation.createdAt, revocation.expiresAt,
            ])
        return db.changesCount == 1
    }

    private static func revocation(_ row: Row, _ trustDomain: TrustDomain) throws -> Revocation {
        let id: String = row[0]
        let kind: String = row[1]
        do {
            guard let kind = RevocationTarget.Kind(rawValue: kind) else {
                throw ServerError(.internal, "its target is of an unknown kind")
            }
            return Revocation(
                id: id,
                target: try RevocationTarget(type: kind, value: row[2], trustDomain: trustDomain),
                andChildren: row[3], isSuspension: row[4], isReplacement: row[5], reason: row[6],
                caller: row[7], createdAt: row[8], expiresAt: row[9])
        } catch {
            throw ServerError(
                .internal, "revocation \(quoted(id)) in the store is damaged: \(error)")
        }
    }
}

extension SQLiteStore: RevocationStore {
    package func createRevocation(_ revocation: Revocation) async throws -> Bool {
        try await self.writes.write { db, changes in
            guard try RevocationRows.insert(revocation, db) else { return false }
            changes.append(.revocationUpserted(revocation))
            return true
        }
    }

    package func completeRevocation(_ id: String, hits: [UInt8]) async throws {
        try await self.writes.write { db, _ in
            try db.execute(
                sql: "UPDATE revocations SET hits = ? WHERE id = ?", arguments: [Data(hits), id])
        }
    }

    package func endRevocation(
        _ id: String, reason: String, caller: String
    ) async throws -> Revocation? {
        let trustDomain = self.trustDomain
        return try await self.writes.write { db, changes in
            guard let revocation = try RevocationRows.fetch(id, trustDomain, db) else { return nil }
            try db.execute(
                sql: "UPDATE revocations SET end_reason = ?, end_caller = ? WHERE id = ?",
                arguments: [reason, caller, id])
            changes.append(.revocationRemoved(id: id))
            return revocation
        }
    }

    package func forgetRevocation(_ id: String) async throws {
        try await self.writes.write { db, _ in
            try db.execute(
                sql: "DELETE FROM revocations WHERE id = ? AND end_caller IS NOT NULL",
                arguments: [id])
        }
    }

    package func removeRevocations(_ ids: [String]) async throws -> [String] {
        try await self.writes.write { db, changes in
            let statement = try db.cachedStatement(
                sql:
                    "DELETE FROM revocations WHERE id = ? AND hits IS NOT NULL AND end_caller IS NULL"
            )
            return try ids.filter { id in
                try statement.execute(arguments: [id])
                guard db.changesCount == 1 else { return false }
                changes.append(.revocationRemoved(id: id))
                return true
            }
        }
    }

    package func unfinishedRevocations() async throws -> [UnfinishedRevocation] {
        let trustDomain = self.trustDomain
        return try await self.read { db in try RevocationRows.unfinished(trustDomain, db) }
    }

    package func revocationHits() async throws -> [String: [UInt8]] {
        try await self.read { db in try RevocationRows.hits(db) }
    }
}
