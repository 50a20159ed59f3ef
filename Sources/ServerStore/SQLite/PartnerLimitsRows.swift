import GRDB
package import SPIFFE
package import ServerCore

/// What partners are trusted with, as rows.
enum PartnerLimitsRows {
    static func all(_ db: Database) throws -> [PartnerLimits] {
        try Row.fetchAll(
            db, sql: "SELECT trust_domain, limits_paths, accepted_paths, uses FROM partner_limits"
        ).map(self.limits)
    }

    static func put(_ limits: PartnerLimits, _ db: Database) throws {
        try db.execute(
            sql: "INSERT OR REPLACE INTO partner_limits VALUES (?, ?, ?, ?)",
            arguments: [
                limits.trustDomain.name, limits.acceptedPaths != nil,
                EntryRows.join(limits.acceptedPaths ?? []),
                Int64(limits.uses.rawValue),
            ])
    }

    /// - Returns: whether there were any.
    static func delete(_ trustDomain: TrustDomain, _ db: Database) throws -> Bool {
        try db.execute(
            sql: "DELETE FROM partner_limits WHERE trust_domain = ?", arguments: [trustDomain.name])
        return db.changesCount == 1
    }

    /// Limits that cannot be read are an error: to leave them out would be to trust more.
    private static func limits(_ row: Row) throws -> PartnerLimits {
        let name: String = row[0]
        let limitsPaths: Bool = row[1]
        let uses: Int64 = row[3]
        do {
            return try PartnerLimits(
                trustDomain: try TrustDomain(name),
                acceptedPaths: limitsPaths ? try EntryRows.list(row, 2) : nil,
                uses: PartnerLimits.Uses(rawValue: UInt8(clamping: uses)))
        } catch {
            throw ServerError(
                .internal, "limits of partner \(quoted(name)) in the store are damaged: \(error)")
        }
    }
}

extension SQLiteStore {
    package func setLimits(_ limits: PartnerLimits) async throws {
        try await self.writes.write { db, changes in
            try PartnerLimitsRows.put(limits, db)
            changes.append(.limitsUpserted(limits))
        }
    }

    package func deleteLimits(_ trustDomain: TrustDomain) async throws -> Bool {
        try await self.writes.write { db, changes in
            guard try PartnerLimitsRows.delete(trustDomain, db) else { return false }
            changes.append(.limitsRemoved(trustDomain))
            return true
        }
    }
}
