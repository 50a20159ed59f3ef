import Crypto
import Foundation
import GRDB
package import SPIFFE
package import ServerCore

/// Attested nodes and join tokens as rows.
enum NodeRows {
    static let columns = """
        id, attestation_type, serial, expires_at, prepared_serial, prepared_expires_at, selectors, \
        can_reattest, agent_version
        """

    static func upsert(_ node: AttestedNode, _ db: Database) throws {
        try db.cachedStatement(
            sql: "INSERT OR REPLACE INTO nodes (\(self.columns)) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
        ).execute(arguments: [
            node.id.string, node.attestationType, node.serial, node.expiresAt, node.preparedSerial,
            node.preparedExpiresAt, EntryRows.join(node.selectors.map(\.description)),
            node.canReattest, node.agentVersion,
        ])
    }

    static func fetch(_ id: SPIFFEID, _ db: Database) throws -> AttestedNode? {
        let statement = try db.cachedStatement(
            sql: "SELECT \(self.columns) FROM nodes WHERE id = ?")
        return try Row.fetchOne(statement, arguments: [id.string]).map(self.node)
    }

    static func node(_ row: Row) throws -> AttestedNode {
        let id: String = row[0]
        do {
            var node = AttestedNode(
                id: try SPIFFEID(id), attestationType: row[1], serial: row[2], expiresAt: row[3])
            node.preparedSerial = row[4]
            node.preparedExpiresAt = row[5]
            node.selectors = try EntryRows.list(row, 6).map { text throws in
                try Selector(text)
            }
            node.canReattest = row[7]
            node.agentVersion = row[8]
            return node
        } catch {
            throw ServerError(.internal, "node \(quoted(id)) in the store is damaged: \(error)")
        }
    }

    static func tokenKey(_ value: String) -> Data { Data(SHA256.hash(data: Data(value.utf8))) }
}

extension SQLiteStore: NodeStore {
    package func createJoinToken(_ token: JoinToken, alias: Entry?) async throws {
        try await self.writes.write { db, changes in
            try db.cachedStatement(
                sql: "INSERT OR IGNORE INTO join_tokens (token_sha256, expires_at) VALUES (?, ?)"
            ).execute(arguments: [NodeRows.tokenKey(token.value), token.expiresAt])
            guard db.changesCount == 1 else {
                throw ServerError(
                    .alreadyExists, "join token exists already; choose another or leave it out")
            }
            guard let alias else { return }
            guard try EntryRows.insert(alias, db) else {
                throw ServerError(
                    .alreadyExists, "the entry for this token and agent ID exists already")
            }
            changes.append(.entryUpserted(alias))
        }
    }

    package func takeJoinToken(_ value: String) async throws -> JoinToken? {
        try await self.writes.write { db, _ in
            let expiry = try Int64.fetchOne(
                db.cachedStatement(
                    sql: "DELETE FROM join_tokens WHERE token_sha256 = ? RETURNING expires_at"),
                arguments: [NodeRows.tokenKey(value)])
            return expiry.map { JoinToken(value: value, expiresAt: $0) }
        }
    }

    package func pruneJoinTokens(expiredAt now: Int64) async throws -> Int {
        try await self.writes.write { db, _ in
            try db.execute(sql: "DELETE FROM join_tokens WHERE expires_at <= ?", arguments: [now])
            return db.changesCount
        }
    }

    package func attestNode(_ node: AttestedNode) async throws -> Bool {
        try await self.writes.write { db, changes in
            if let old = try NodeRows.fetch(node.id, db), old.isBanned { return false }
            try NodeRows.upsert(node, db)
            changes.append(.nodeUpserted(node))
            return true
        }
    }

    package func updateNode(
        _ id: SPIFFEID,
        _ transform: @escaping @Sendable (inout AttestedNode) throws(ServerError) -> Void
    ) async throws -> AttestedNode? {
        try await self.writes.write { db, changes in
            guard var node = try NodeRows.fetch(id, db) else { return nil }
            let before = node
            try transform(&node)
            if node != before {
                try NodeRows.upsert(node, db)
                changes.append(node, replacing: before)
            }
            return node
        }
    }

    package func deleteNode(_ id: SPIFFEID) async throws -> Bool {
        try await self.writes.write { db, changes in
            try db.execute(sql: "DELETE FROM nodes WHERE id = ?", arguments: [id.string])
            guard db.changesCount == 1 else { return false }
            changes.append(.nodeRemoved(id))
            let alias = try String.fetchAll(
                db,
                sql: """
                    SELECT id FROM entries WHERE parent_path = ? AND selectors = ?
                        AND substr(selectors, 1, 10) = X'7370696666655F69643A'
                    """,
                arguments: [id.path, EntryRows.join(["spiffe_id:" + id.string])])
            for entryID in alias {
                try db.execute(sql: "DELETE FROM entries WHERE id = ?", arguments: [entryID])
                changes.append(.entryRemoved(id: entryID))
            }
            return true
        }
    }
}
