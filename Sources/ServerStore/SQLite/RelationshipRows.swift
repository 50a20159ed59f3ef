import GRDB
package import SPIFFE
package import ServerCore

/// Federation relationships as rows.
enum RelationshipRows {
    private static let columns = "trust_domain, bundle_endpoint_url, endpoint_spiffe_id"

    static func fetch(
        _ trustDomain: TrustDomain, _ db: Database
    ) throws -> FederationRelationship? {
        try Row.fetchOne(
            db,
            sql: "SELECT \(self.columns) FROM federation_relationships WHERE trust_domain = ?",
            arguments: [trustDomain.name]
        ).map(self.relationship)
    }

    static func all(_ db: Database) throws -> [FederationRelationship] {
        try Row.fetchAll(db, sql: "SELECT \(self.columns) FROM federation_relationships")
            .map(self.relationship)
    }

    /// - Returns: false when there is one for that trust domain.
    static func insert(_ relationship: FederationRelationship, _ db: Database) throws -> Bool {
        try db.execute(
            sql:
                "INSERT OR IGNORE INTO federation_relationships (\(self.columns)) VALUES (?, ?, ?)",
            arguments: [
                relationship.trustDomain.name, relationship.bundleEndpointURL,
                relationship.endpointID?.string,
            ])
        return db.changesCount == 1
    }

    static func update(_ relationship: FederationRelationship, _ db: Database) throws {
        try db.execute(
            sql: """
                UPDATE federation_relationships SET bundle_endpoint_url = ?, endpoint_spiffe_id = ?
                WHERE trust_domain = ?
                """,
            arguments: [
                relationship.bundleEndpointURL, relationship.endpointID?.string,
                relationship.trustDomain.name,
            ])
    }

    /// - Returns: whether there was one.
    static func delete(_ trustDomain: TrustDomain, _ db: Database) throws -> Bool {
        try db.execute(
            sql: "DELETE FROM federation_relationships WHERE trust_domain = ?",
            arguments: [trustDomain.name])
        return db.changesCount == 1
    }

    private static func relationship(_ row: Row) throws -> FederationRelationship {
        let name: String = row[0]
        let endpointID: String? = row[2]
        do {
            return FederationRelationship(
                trustDomain: try TrustDomain(name), bundleEndpointURL: row[1],
                profile: try endpointID.map { text throws in
                    .httpsSPIFFE(endpointID: try SPIFFEID(text))
                } ?? .httpsWeb)
        } catch {
            throw ServerError(
                .internal,
                "federation relationship \(quoted(name)) in the store is damaged: \(error)")
        }
    }
}

extension SQLiteStore: FederationStore {
    package func createRelationship(
        _ relationship: FederationRelationship, bundle: TrustBundle?
    ) async throws -> Bool {
        try await self.writes.write { db, changes in
            guard try RelationshipRows.insert(relationship, db) else { return false }
            changes.append(new: relationship)
            try Self.put(bundle, db, &changes)
            return true
        }
    }

    package func updateRelationship(
        _ trustDomain: TrustDomain, bundle: TrustBundle?,
        _ transform:
            @escaping @Sendable (FederationRelationship) throws(ServerError) ->
            FederationRelationship
    ) async throws -> FederationRelationship? {
        try await self.writes.write { db, changes in
            guard let old = try RelationshipRows.fetch(trustDomain, db) else { return nil }
            let new = try transform(old)
            if new != old {
                try RelationshipRows.update(new, db)
                changes.append(.relationshipUpserted(new))
            }
            try Self.put(bundle, db, &changes)
            return new
        }
    }

    package func deleteRelationship(
        _ trustDomain: TrustDomain, keepsBundle: Bool
    ) async throws -> Bool {
        try await self.writes.write { db, changes in
            guard try RelationshipRows.delete(trustDomain, db) else { return false }
            changes.append(.relationshipRemoved(trustDomain))
            if !keepsBundle { try BundleRows.delete(trustDomain, db, &changes) }
            return true
        }
    }

    private static func put(
        _ bundle: TrustBundle?, _ db: Database, _ changes: inout ChangeList
    ) throws {
        guard let bundle else { return }
        let old = try BundleRows.fetch(bundle.trustDomain, db)
        _ = try BundleRows.put(bundle, replacing: old, db, &changes)
    }
}
