import Foundation
import GRDB
import SPIFFE
package import ServerCore
import Transparency

/// The rows of the change feed.
enum ChangeRows {
    /// Appends the changes with their leaves and moves the head.
    ///
    /// - Returns: the head afterwards, and the ledger's events of the changes.
    static func append(
        _ changes: ChangeList, _ db: Database
    ) throws -> (seq: UInt64, events: [LeafEvent]) {
        let head =
            try Int64.fetchOne(
                db.cachedStatement(sql: "SELECT seq FROM feed_head WHERE id = 1")) ?? 0
        guard !changes.isEmpty else { return (UInt64(head), []) }
        let time = LeafTime(milliseconds: Int64(Date().timeIntervalSince1970 * 1_000))
        let events = changes.numbered(after: UInt64(head))
        let insert = try db.cachedStatement(
            sql: "INSERT INTO changes (seq, kind, key, leaf) VALUES (?, ?, ?, ?)")
        var seq = head
        for (change, event) in zip(changes.changes, events) {
            seq += 1
            let (kind, key) = self.row(change)
            let leaf = try event.map { Data(try Leaf(time: time, event: $0).encode()) }
            try insert.execute(arguments: [seq, kind, key, leaf])
        }
        try db.cachedStatement(sql: "UPDATE feed_head SET seq = ? WHERE id = 1")
            .execute(arguments: [seq])
        return (UInt64(seq), events.compactMap { $0 })
    }

    private static func row(_ change: Change) -> (kind: String, key: String) {
        switch change {
        case .entryUpserted(let entry): ("entry", entry.id)
        case .entryRemoved(let id): ("entry_removed", id)
        case .nodeUpserted(let node): ("node", node.id.string)
        case .nodeRemoved(let id): ("node_removed", id.string)
        case .bundleUpserted(let bundle): ("bundle", bundle.trustDomain.name)
        case .bundleRemoved(let trustDomain): ("bundle_removed", trustDomain.name)
        case .relationshipUpserted(let relationship):
            ("relationship", relationship.trustDomain.name)
        case .relationshipRemoved(let trustDomain):
            ("relationship_removed", trustDomain.name)
        case .revocationUpserted(let revocation): ("revocation", revocation.id)
        case .revocationRemoved(let id): ("revocation_removed", id)
        case .limitsUpserted(let limits): ("limits", limits.trustDomain.name)
        case .limitsRemoved(let trustDomain): ("limits_removed", trustDomain.name)
        }
    }
}

/// The one that carries the changes into the ledger. It holds the store, so the store does not hold it.
struct LeafConsumer: Sendable {
    weak var value: (any ChangeLeafConsumer)?
}

extension SQLiteStore: ChangeLeafStore {
    package func changeLeaves(after seq: UInt64, limit: Int) async throws -> [ChangeLeafRow] {
        try await self.read { db in
            let rows = try Row.fetchAll(
                db, sql: "SELECT seq, leaf FROM changes WHERE seq > ? ORDER BY seq LIMIT ?",
                arguments: [Int64(clamping: seq), limit])
            return try rows.map { row in
                let number: Int64 = row[0]
                let bytes: Data? = row[1]
                return ChangeLeafRow(
                    seq: UInt64(clamping: number),
                    leaf: try bytes.map { bytes in
                        do throws(TransparencyError) {
                            return try Leaf(parsing: [UInt8](bytes))
                        } catch {
                            throw ServerError(
                                .internal, "change \(number) in the store is damaged: \(error)")
                        }
                    })
            }
        }
    }

    package func recordedPosition() async throws -> UInt64 {
        try await self.read { db in
            UInt64(
                clamping: try Int64.fetchOne(db, sql: "SELECT recorded FROM feed_head WHERE id = 1")
                    ?? 0)
        }
    }

    package func setRecordedPosition(_ seq: UInt64) async throws {
        try await self.writes.write { db, _ in
            try db.execute(
                sql: "UPDATE feed_head SET recorded = max(recorded, min(seq, ?)) WHERE id = 1",
                arguments: [Int64(clamping: seq)])
        }
    }
}
