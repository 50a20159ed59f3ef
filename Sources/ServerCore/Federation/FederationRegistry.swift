package import SPIFFE

/// Makes, changes and ends federation relationships.
///
/// Relationships of the configuration are not among them: they count before stored ones and only the
/// configuration changes them.
package struct FederationRegistry: Sendable {
    /// A relationship as asked for, with the partner's bundle if one was given.
    package struct Draft: Sendable {
        package var relationship: FederationRelationship
        package var bundle: TrustBundle?

        package init(_ relationship: FederationRelationship, bundle: TrustBundle? = nil) {
            self.relationship = relationship
            self.bundle = bundle
        }
    }

    /// A change of a relationship; nil leaves a part as it is.
    package struct Update: Sendable {
        package let trustDomain: TrustDomain
        package var bundleEndpointURL: String?
        package var profile: FederationRelationship.Profile?
        package var bundle: TrustBundle?

        package init(
            _ trustDomain: TrustDomain, bundleEndpointURL: String? = nil,
            profile: FederationRelationship.Profile? = nil, bundle: TrustBundle? = nil
        ) {
            self.trustDomain = trustDomain
            self.bundleEndpointURL = bundleEndpointURL
            self.profile = profile
            self.bundle = bundle
        }
    }

    private let directory: Directory
    private let store: any FederationStore

    package init(directory: Directory, store: any FederationStore) {
        self.directory = directory
        self.store = store
    }

    package var trustDomain: TrustDomain { self.directory.trustDomain }

    /// Adds a relationship; durable, and its partner is asked for its bundle at once, when this returns.
    ///
    /// - Throws: ``ServerError`` `invalidArgument`, `alreadyExists`, or `unavailable` when the store cannot be
    ///   written.
    package func create(_ draft: Draft) async throws -> FederationRelationship {
        let relationship = draft.relationship
        try relationship.check(own: self.trustDomain)
        let bundle = try self.checked(draft.bundle, of: relationship.trustDomain)
        guard try await self.store.createRelationship(relationship, bundle: bundle) else {
            throw ServerError(
                .alreadyExists,
                "federation relationship with \(quoted(relationship.trustDomain.name)) exists already; change it "
                    + "with an update")
        }
        return relationship
    }

    /// - Throws: ``ServerError`` as ``create(_:)``; `notFound` when there is none.
    package func update(_ update: Update) async throws -> FederationRelationship {
        let own = self.trustDomain
        let bundle = try self.checked(update.bundle, of: update.trustDomain)
        let result = try await self.store.updateRelationship(update.trustDomain, bundle: bundle) {
            (old: FederationRelationship) throws(ServerError) -> FederationRelationship in
            var new = old
            if let url = update.bundleEndpointURL { new.bundleEndpointURL = url }
            if let profile = update.profile { new.profile = profile }
            try new.check(own: own)
            return new
        }
        guard let result else { throw Self.notFound(update.trustDomain) }
        return result
    }

    /// Ends a relationship: the partner's bundle goes with it (SPIFFE Federation §6.3), unless the
    /// configuration has a relationship with the partner too. Entries that federate with it stay as they are.
    ///
    /// - Throws: ``ServerError`` `notFound` when there is none.
    package func delete(_ trustDomain: TrustDomain) async throws {
        let isConfigured = self.directory.configuredRelationships[trustDomain] != nil
        guard try await self.store.deleteRelationship(trustDomain, keepsBundle: isConfigured) else {
            throw Self.notFound(trustDomain)
        }
    }

    /// - Throws: ``ServerError`` `notFound` when there is none, or it is the configuration's.
    package func relationship(
        _ trustDomain: TrustDomain
    ) throws(ServerError) -> FederationRelationship {
        guard let found = self.directory.storedRelationship(trustDomain) else {
            throw Self.notFound(trustDomain)
        }
        return found
    }

    /// Stored relationships in the order of their names.
    ///
    /// - Parameters:
    ///   - after: where the page before ended; nil for the first.
    ///   - limit: at most so many; 0 means all.
    package func list(after: TrustDomain? = nil, limit: Int = 0) -> [FederationRelationship] {
        let all = self.directory.storedRelationships.filter { relationship in
            after.map { relationship.trustDomain > $0 } ?? true
        }
        return limit > 0 ? Array(all.prefix(limit)) : all
    }

    // MARK: Limits

    /// Sets what a partner is trusted with; durable, and on its way to agents, when this returns.
    ///
    /// - Throws: ``ServerError`` `invalidArgument` for the own trust domain and for limits that leave no use;
    ///   `failedPrecondition` when the configuration has limits of that partner; `unavailable` when the store cannot be
    ///   written.
    package func setLimits(_ limits: PartnerLimits) async throws {
        try limits.check(own: self.trustDomain)
        guard self.directory.configuredLimits[limits.trustDomain] == nil else {
            throw ServerError(
                .failedPrecondition,
                "the configuration has limits of \(quoted(limits.trustDomain.name)), and they count before others; change "
                    + "them there")
        }
        try await self.store.setLimits(limits)
    }

    /// - Throws: ``ServerError`` `notFound` when none were set.
    package func deleteLimits(_ trustDomain: TrustDomain) async throws {
        guard try await self.store.deleteLimits(trustDomain) else {
            throw ServerError(.notFound, "no limits of \(quoted(trustDomain.name)) were set")
        }
    }

    private func checked(
        _ bundle: TrustBundle?, of trustDomain: TrustDomain
    ) throws(ServerError) -> TrustBundle? {
        guard let bundle else { return nil }
        guard bundle.trustDomain == trustDomain else {
            throw ServerError(
                .invalidArgument,
                "trust domain bundle is of \(quoted(bundle.trustDomain.name)); the relationship is with "
                    + "\(quoted(trustDomain.name))")
        }
        return try ForeignBundle.checked(
            bundle, own: self.trustDomain, ownBundle: self.directory.ownBundle,
            keyIDs: self.directory.authorityKeyIDs)
    }

    private static func notFound(_ trustDomain: TrustDomain) -> ServerError {
        ServerError(.notFound, "federation relationship not found")
    }
}
