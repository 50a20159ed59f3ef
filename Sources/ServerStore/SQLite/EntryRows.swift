import Crypto
import Foundation
import GRDB
import SPIFFE
package import ServerCore

/// Entries as rows.
enum EntryRows {
    static let columns = """
        id, spiffe_path, parent_path, selectors, x509_svid_ttl, jwt_svid_ttl, federates_with, flags, \
        expires_at, dns_names, revision, hint, created_at
        """

    /// - Returns: false when the ID or the similarity is taken.
    static func insert(_ entry: Entry, _ db: Database) throws -> Bool {
        let statement = try db.cachedStatement(
            sql: """
                INSERT OR IGNORE INTO entries (\(self.columns), similarity)
                VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
                """)
        try statement.execute(arguments: self.arguments(entry) + [self.similarity(entry)])
        return db.changesCount == 1
    }

    /// - Returns: false when another entry has the similarity.
    static func update(_ entry: Entry, _ db: Database) throws -> Bool {
        let statement = try db.cachedStatement(
            sql: """
                UPDATE OR IGNORE entries SET id = ?, spiffe_path = ?, parent_path = ?, selectors = ?,
                    x509_svid_ttl = ?, jwt_svid_ttl = ?, federates_with = ?, flags = ?, expires_at = ?,
                    dns_names = ?, revision = ?, hint = ?, created_at = ?, similarity = ?
                WHERE id = ?
                """)
        try statement.execute(
            arguments: self.arguments(entry) + [self.similarity(entry), entry.id])
        return db.changesCount == 1
    }

    static func fetch(id: String, trustDomain: TrustDomain, _ db: Database) throws -> Entry? {
        let statement = try db.cachedStatement(
            sql: "SELECT \(self.columns) FROM entries WHERE id = ?")
        guard let row = try Row.fetchOne(statement, arguments: [id]) else { return nil }
        return try self.entry(row, trustDomain: trustDomain)
    }

    /// The entries that federate with a trust domain.
    ///
    /// - Parameter own: the trust domain of the entries.
    static func federated(
        with trustDomain: TrustDomain, own: TrustDomain, _ db: Database
    ) throws -> [Entry] {
        // The name may be a part of another's, so this finds too many, never too few.
        let rows = try Row.fetchAll(
            db,
            sql: "SELECT \(self.columns) FROM entries WHERE instr(federates_with, ?) > 0",
            arguments: [Data(trustDomain.name.utf8)])
        return try rows.map { try self.entry($0, trustDomain: own) }
            .filter { $0.federatesWith.contains(trustDomain) }
    }

    static func entry(_ row: Row, trustDomain: TrustDomain) throws -> Entry {
        let id: String = row[0]
        do {
            var entry = Entry(
                id: id,
                spiffeID: try SPIFFEID(trustDomain: trustDomain, path: row[1]),
                parentID: try SPIFFEID(trustDomain: trustDomain, path: row[2]),
                selectors: try self.list(row, 3).map { text throws in
                    try Selector(text)
                })
            entry.x509SVIDTTL = row[4]
            entry.jwtSVIDTTL = row[5]
            for reference in try self.list(row, 6) { try entry.federate(with: reference) }
            let flags: Int = row[7]
            entry.admin = flags & 1 != 0
            entry.downstream = flags & 2 != 0
            entry.storeSVID = flags & 4 != 0
            entry.disableX509SVIDPrefetch = flags & 8 != 0
            entry.jwtSVIDIncludeJTI = flags & 16 != 0
            entry.revokesOnExit = flags & 32 != 0
            entry.expiresAt = row[8]
            entry.dnsNames = try self.list(row, 9)
            entry.revision = row[10]
            entry.hint = row[11]
            entry.createdAt = row[12]
            return entry
        } catch {
            throw ServerError(.internal, "entry \(quoted(id)) in the store is damaged: \(error)")
        }
    }

    private static func arguments(_ entry: Entry) -> StatementArguments {
        var flags = 0
        if entry.admin { flags |= 1 }
        if entry.downstream { flags |= 2 }
        if entry.storeSVID { flags |= 4 }
        if entry.disableX509SVIDPrefetch { flags |= 8 }
        if entry.jwtSVIDIncludeJTI { flags |= 16 }
        if entry.revokesOnExit { flags |= 32 }
        return [
            entry.id, entry.spiffeID.path, entry.parentID.path,
            self.join(entry.selectors.map(\.description)), entry.x509SVIDTTL, entry.jwtSVIDTTL,
            self.join(entry.federationReferences), flags, entry.expiresAt,
            self.join(entry.dnsNames),
            entry.revision, entry.hint, entry.createdAt,
        ]
    }

    /// Equal for entries with the same SPIFFE ID, parent and set of selectors: the first 8 bytes of a SHA-256. Short,
    /// because its index is written at random places; two entries that meet by chance are as good as excluded, and
    /// who makes them meet on purpose is an operator who is refused an entry.
    private static func similarity(_ entry: Entry) -> Int64 {
        var hash = SHA256()
        var text = entry.spiffeID.path + "\0" + entry.parentID.path
        for selector in entry.selectors {
            text += "\0"
            text += selector.type
            text += ":"
            text += selector.value
        }
        text.withUTF8 { hash.update(bufferPointer: UnsafeRawBufferPointer($0)) }
        return hash.finalize().withUnsafeBytes {
            Int64(bigEndian: $0.loadUnaligned(as: Int64.self))
        }
    }

    static func join(_ items: [String]) -> Data { Data(items.joined(separator: "\0").utf8) }

    /// The items of the list in that column.
    static func list(_ row: Row, _ column: Int) throws -> [String] {
        try row.withUnsafeData(atIndex: column) { data in
            guard let data, !data.isEmpty else { return [] }
            return data.withUnsafeBytes { bytes in
                var items: [String] = []
                var rest = bytes[...]
                while let end = rest.firstIndex(of: 0) {
                    items.append(String(decoding: rest[..<end], as: UTF8.self))
                    rest = rest[(end + 1)...]
                }
                items.append(String(decoding: rest, as: UTF8.self))
                return items
            }
        }
    }
}

extension SQLiteStore: EntryStore {
    package func createEntries(_ entries: [Entry]) async throws -> [Bool] {
        try await self.writes.write { db, changes in
            try entries.map { entry in
                guard try EntryRows.insert(entry, db) else { return false }
                changes.append(.entryUpserted(entry))
                return true
            }
        }
    }

    package func updateEntries(_ updates: [EntryUpdate]) async throws -> [EntryUpdateResult] {
        let trustDomain = self.trustDomain
        return try await self.writes.write { db, changes in
            try updates.map { update in
                guard let old = try EntryRows.fetch(id: update.id, trustDomain: trustDomain, db)
                else {
                    return .notFound
                }
                var new: Entry
                do throws(ServerError) { new = try update.transform(old) } catch {
                    return .refused(error)
                }
                new.revision = old.revision + 1
                new.createdAt = old.createdAt
                guard try EntryRows.update(new, db) else { return .similarExists }
                changes.append(.entryUpserted(new))
                return .updated(new)
            }
        }
    }

    package func deleteEntries(_ ids: [String]) async throws -> [Bool] {
        try await self.writes.write { db, changes in
            let statement = try db.cachedStatement(sql: "DELETE FROM entries WHERE id = ?")
            return try ids.map { id in
                try statement.execute(arguments: [id])
                guard db.changesCount == 1 else { return false }
                changes.append(.entryRemoved(id: id))
                return true
            }
        }
    }
}
