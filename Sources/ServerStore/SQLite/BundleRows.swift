import Foundation
import GRDB
package import SPIFFE
package import ServerCore

/// Bundles and the authorities' journal as rows.
enum BundleRows {
    static func fetch(_ trustDomain: TrustDomain, _ db: Database) throws -> TrustBundle? {
        guard
            let head = try Row.fetchOne(
                db,
                sql: """
                    SELECT refresh_hint, sequence_number, foreign_sequence, fetched FROM bundles
                    WHERE trust_domain = ?
                    """,
                arguments: [trustDomain.name])
        else { return nil }
        var bundle = TrustBundle(trustDomain: trustDomain)
        bundle.refreshHint = head[0]
        let sequence: Int64 = head[1]
        bundle.sequenceNumber = UInt64(bitPattern: sequence)
        let foreign: Int64? = head[2]
        bundle.foreignSequence = foreign.map { UInt64(bitPattern: $0) }
        bundle.isFetched = head[3]
        let x509 = try Row.fetchCursor(
            db,
            sql:
                "SELECT der, tainted FROM bundle_x509_authorities WHERE trust_domain = ? ORDER BY position",
            arguments: [trustDomain.name])
        while let row = try x509.next() {
            let der: Data = row[0]
            bundle.x509Authorities.append(.init(der: [UInt8](der), tainted: row[1]))
        }
        let jwt = try Row.fetchCursor(
            db,
            sql: """
                SELECT key_id, public_key, expires_at, tainted FROM bundle_jwt_authorities
                WHERE trust_domain = ? ORDER BY position
                """, arguments: [trustDomain.name])
        while let row = try jwt.next() {
            let key: Data = row[1]
            bundle.jwtAuthorities.append(
                .init(keyID: row[0], publicKeyDER: [UInt8](key), expiresAt: row[2], tainted: row[3])
            )
        }
        let wit = try Row.fetchCursor(
            db,
            sql: """
                SELECT key_id, public_key, expires_at, tainted FROM bundle_wit_authorities
                WHERE trust_domain = ? ORDER BY position
                """, arguments: [trustDomain.name])
        while let row = try wit.next() {
            let key: Data = row[1]
            bundle.witAuthorities.append(
                .init(keyID: row[0], publicKeyDER: [UInt8](key), expiresAt: row[2], tainted: row[3])
            )
        }
        return bundle
    }

    static func exists(_ trustDomain: TrustDomain, _ db: Database) throws -> Bool {
        try Bool.fetchOne(
            db, sql: "SELECT EXISTS (SELECT 1 FROM bundles WHERE trust_domain = ?)",
            arguments: [trustDomain.name]) ?? false
    }

    /// Stores a bundle under the next number, unless it is the one that is there.
    static func put(
        _ bundle: TrustBundle, replacing old: TrustBundle?, _ db: Database,
        _ changes: inout ChangeList
    ) throws -> TrustBundle {
        var new = bundle
        new.sequenceNumber = old?.sequenceNumber ?? 0
        if new == old { return new }
        new.sequenceNumber += 1
        try self.save(new, db)
        changes.append(.bundleUpserted(new))
        return new
    }

    static func delete(
        _ trustDomain: TrustDomain, _ db: Database, _ changes: inout ChangeList
    ) throws {
        try db.execute(
            sql: "DELETE FROM bundles WHERE trust_domain = ?", arguments: [trustDomain.name])
        if db.changesCount == 1 { changes.append(.bundleRemoved(trustDomain)) }
    }

    static func save(_ bundle: TrustBundle, _ db: Database) throws {
        let name = bundle.trustDomain.name
        try db.execute(sql: "DELETE FROM bundles WHERE trust_domain = ?", arguments: [name])
        try db.execute(
            sql: """
                INSERT INTO bundles (trust_domain, refresh_hint, sequence_number, foreign_sequence, fetched)
                VALUES (?, ?, ?, ?, ?)
                """,
            arguments: [
                name, bundle.refreshHint, Int64(bitPattern: bundle.sequenceNumber),
                bundle.foreignSequence.map { Int64(bitPattern: $0) }, bundle.isFetched,
            ])
        for (position, authority) in bundle.x509Authorities.enumerated() {
            try db.execute(
                sql: "INSERT INTO bundle_x509_authorities VALUES (?, ?, ?, ?)",
                arguments: [name, position, Data(authority.der), authority.tainted])
        }
        for (position, authority) in bundle.jwtAuthorities.enumerated() {
            try db.execute(
                sql: "INSERT INTO bundle_jwt_authorities VALUES (?, ?, ?, ?, ?, ?)",
                arguments: [
                    name, position, authority.keyID, Data(authority.publicKeyDER),
                    authority.expiresAt,
                    authority.tainted,
                ])
        }
        for (position, authority) in bundle.witAuthorities.enumerated() {
            try db.execute(
                sql: "INSERT INTO bundle_wit_authorities VALUES (?, ?, ?, ?, ?, ?)",
                arguments: [
                    name, position, authority.keyID, Data(authority.publicKeyDER),
                    authority.expiresAt, authority.tainted,
                ])
        }
    }
}

extension SQLiteStore: BundleStore {
    package func updateBundle(
        _ trustDomain: TrustDomain, _ transform: @escaping @Sendable (inout TrustBundle) -> Void
    ) async throws -> TrustBundle {
        try await self.writes.write { db, changes in
            let old = try BundleRows.fetch(trustDomain, db)
            let before = old ?? TrustBundle(trustDomain: trustDomain)
            var new = before
            transform(&new)
            if new == before { return new }
            new.sequenceNumber = (old?.sequenceNumber ?? 0) + 1
            try BundleRows.save(new, db)
            changes.append(.bundleUpserted(new))
            return new
        }
    }

    package func writeBundle(
        _ trustDomain: TrustDomain, requiring relationship: FederationRelationship?,
        _ rule: @escaping @Sendable (TrustBundle?) throws(ServerError) -> TrustBundle?
    ) async throws -> TrustBundle? {
        try await self.writes.write { db, changes in
            if let relationship {
                guard try RelationshipRows.fetch(relationship.trustDomain, db) == relationship
                else {
                    throw ServerError(
                        .notFound,
                        "the relationship with \(quoted(relationship.trustDomain.name)) was changed or ended"
                    )
                }
            }
            let old = try BundleRows.fetch(trustDomain, db)
            guard let wanted = try rule(old) else { return old }
            return try BundleRows.put(wanted, replacing: old, db, &changes)
        }
    }

    package func deleteBundle(
        _ trustDomain: TrustDomain, mode: BundleDeletionMode
    ) async throws -> BundleDeletion {
        let own = self.trustDomain
        return try await self.writes.write { db, changes in
            guard try BundleRows.exists(trustDomain, db) else { return .notFound }
            if mode != .leave {
                let entries = try EntryRows.federated(with: trustDomain, own: own, db)
                switch mode {
                case .restrict where !entries.isEmpty: return .restricted(entries: entries.count)
                case .dissociate:
                    for var entry in entries {
                        entry.federatesWith.removeAll { $0 == trustDomain }
                        entry.revision += 1
                        // Never false: neither parent, ID nor selectors change.
                        _ = try EntryRows.update(entry, db)
                        changes.append(.entryUpserted(entry))
                    }
                case .delete:
                    for entry in entries {
                        try db.execute(
                            sql: "DELETE FROM entries WHERE id = ?", arguments: [entry.id])
                        changes.append(.entryRemoved(id: entry.id))
                    }
                case .restrict, .leave: break
                }
            }
            try BundleRows.delete(trustDomain, db, &changes)
            return .deleted
        }
    }
}

extension SQLiteStore: JournalStore {
    package func loadJournal() async throws -> [JournalEntry] {
        try await self.read { db in
            let rows = try Row.fetchAll(
                db,
                sql: """
                    SELECT kind, slot, authority_id, status, issued_at, not_after, der
                    FROM authority_journal ORDER BY position
                    """)
            return try rows.map { row in
                let kindText: String = row[0]
                let statusText: String = row[3]
                guard let kind = JournalEntry.Kind(rawValue: kindText),
                    let status = AuthorityStatus(rawValue: statusText)
                else {
                    throw ServerError(
                        .internal,
                        "authority journal has unknown kind \(quoted(kindText)) or status \(quoted(statusText))"
                    )
                }
                let der: Data = row[6]
                return JournalEntry(
                    kind: kind, slot: row[1], authorityID: row[2], status: status, issuedAt: row[4],
                    notAfter: row[5], der: [UInt8](der))
            }
        }
    }

    package func saveJournal(_ entries: [JournalEntry]) async throws {
        try await self.writes.write { db, _ in
            try db.execute(sql: "DELETE FROM authority_journal")
            for (position, entry) in entries.enumerated() {
                try db.execute(
                    sql: "INSERT INTO authority_journal VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                    arguments: [
                        position, entry.kind.rawValue, entry.slot, entry.authorityID,
                        entry.status.rawValue, entry.issuedAt, entry.notAfter, Data(entry.der),
                    ])
            }
        }
    }
}

extension SQLiteStore: SnapshotStore {
    package func loadAll(_ body: @Sendable @escaping ([Change]) -> Void) async throws -> UInt64 {
        let trustDomain = self.trustDomain
        return try await self.read { db in
            var batch: [Change] = []
            for name in try String.fetchAll(db, sql: "SELECT trust_domain FROM bundles") {
                if let domain = try? TrustDomain(name),
                    let bundle = try BundleRows.fetch(domain, db)
                {
                    batch.append(.bundleUpserted(bundle))
                }
            }
            for relationship in try RelationshipRows.all(db) {
                batch.append(.relationshipUpserted(relationship))
            }
            for revocation in try RevocationRows.all(trustDomain, db) {
                batch.append(.revocationUpserted(revocation))
            }
            for limits in try PartnerLimitsRows.all(db) { batch.append(.limitsUpserted(limits)) }
            let nodes = try Row.fetchCursor(db, sql: "SELECT \(NodeRows.columns) FROM nodes")
            while let row = try nodes.next() { batch.append(.nodeUpserted(try NodeRows.node(row))) }
            let entries = try Row.fetchCursor(db, sql: "SELECT \(EntryRows.columns) FROM entries")
            while let row = try entries.next() {
                batch.append(.entryUpserted(try EntryRows.entry(row, trustDomain: trustDomain)))
                if batch.count >= 1_000 {
                    body(batch)
                    batch.removeAll(keepingCapacity: true)
                }
            }
            body(batch)
            return UInt64(
                try Int64.fetchOne(db, sql: "SELECT seq FROM feed_head WHERE id = 1") ?? 0)
        }
    }

    package func entryDigest() async throws -> (digest: EntryDigest, seq: UInt64) {
        try await self.read { db in
            var digest = EntryDigest()
            let rows = try Row.fetchCursor(db, sql: "SELECT id, revision, created_at FROM entries")
            while let row = try rows.next() {
                digest.toggle(id: row[0], revision: row[1], createdAt: row[2])
            }
            let seq = try Int64.fetchOne(db, sql: "SELECT seq FROM feed_head WHERE id = 1") ?? 0
            return (digest, UInt64(seq))
        }
    }
}
