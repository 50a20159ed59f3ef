package import SPIFFE

// The store protocols, one per aggregate. Every write is durable when it returns and appends to the change
// feed in the same transaction; when it throws, nothing has changed. Errors are ``ServerError`` with
// `unavailable` for a store that cannot be written (full disk, lock) and `internal` otherwise.

/// Registration entries.
package protocol EntryStore: Sendable {
    /// Adds entries; each is taken or refused on its own.
    ///
    /// - Returns: per entry, in order, whether it was added; false when its ID is taken or an entry with the
    ///   same SPIFFE ID, parent and selectors exists.
    func createEntries(_ entries: [Entry]) async throws -> [Bool]

    /// Changes entries; the transform gets the stored entry and gives the new one, to which the store gives
    /// the next revision.
    ///
    /// - Returns: per ID, in order, what became of it.
    func updateEntries(_ updates: [EntryUpdate]) async throws -> [EntryUpdateResult]

    /// - Returns: per ID, in order, whether there was such an entry.
    func deleteEntries(_ ids: [String]) async throws -> [Bool]
}

/// A change of one entry.
package struct EntryUpdate: Sendable {
    package let id: String
    package let transform: @Sendable (Entry) throws(ServerError) -> Entry

    package init(id: String, transform: @escaping @Sendable (Entry) throws(ServerError) -> Entry) {
        self.id = id
        self.transform = transform
    }
}

package enum EntryUpdateResult: Sendable {
    case updated(Entry)
    case notFound
    /// Another entry has the same SPIFFE ID, parent and selectors.
    case similarExists
    /// The transform refused.
    case refused(ServerError)
}

/// Attested nodes and join tokens.
package protocol NodeStore: Sendable {
    /// Keeps a join token, and the alias entry that goes with it.
    ///
    /// - Throws: ``ServerError`` `alreadyExists` when the token exists.
    func createJoinToken(_ token: JoinToken, alias: Entry?) async throws

    /// Takes the token out of the store; of several callers exactly one gets it.
    func takeJoinToken(_ value: String) async throws -> JoinToken?

    /// Removes tokens that expired at or before that Unix time.
    func pruneJoinTokens(expiredAt now: Int64) async throws -> Int

    /// Enters or replaces a node; refused (false) when the stored one is banned.
    func attestNode(_ node: AttestedNode) async throws -> Bool

    /// Changes a node.
    ///
    /// - Returns: the node afterwards, or nil when there is none.
    func updateNode(
        _ id: SPIFFEID,
        _ transform: @escaping @Sendable (inout AttestedNode) throws(ServerError) -> Void
    ) async throws -> AttestedNode?

    /// Forgets a node together with its join-token alias: the entries with that parent whose only selector is
    /// `spiffe_id:<parent>`.
    func deleteNode(_ id: SPIFFEID) async throws -> Bool
}

/// Bundles of trust domains.
package protocol BundleStore: Sendable {
    /// Changes a bundle, which starts empty; the store gives it the next sequence number when it differs.
    ///
    /// - Returns: the bundle afterwards.
    func updateBundle(
        _ trustDomain: TrustDomain, _ transform: @escaping @Sendable (inout TrustBundle) -> Void
    ) async throws -> TrustBundle

    /// Writes a bundle as a rule decides; the store gives it the next sequence number.
    ///
    /// - Parameters:
    ///   - relationship: when given, nothing is written unless this relationship is stored, just like this.
    ///   - rule: gets the stored bundle; gives the one to store, or nil to leave everything as it is.
    /// - Returns: the bundle afterwards; nil when there is none.
    /// - Throws: what the rule throws; ``ServerError`` `notFound` when the relationship is not there.
    func writeBundle(
        _ trustDomain: TrustDomain, requiring relationship: FederationRelationship?,
        _ rule: @escaping @Sendable (TrustBundle?) throws(ServerError) -> TrustBundle?
    ) async throws -> TrustBundle?

    /// Removes a bundle, and does with the entries that federate with it what the mode says.
    func deleteBundle(
        _ trustDomain: TrustDomain, mode: BundleDeletionMode
    ) async throws -> BundleDeletion
}

/// What becomes of entries that federate with a bundle that is deleted.
package enum BundleDeletionMode: Sendable, CaseIterable {
    /// They stay as they are, without the bundle.
    case leave
    /// The bundle stays while there are any.
    case restrict
    /// They federate with it no more.
    case dissociate
    /// They are deleted.
    case delete
}

package enum BundleDeletion: Sendable, Hashable {
    case deleted
    case notFound
    /// So many entries federate with it.
    case restricted(entries: Int)
}

/// Federation relationships that operators made through the API.
package protocol FederationStore: Sendable {
    /// Adds a relationship, and the partner's bundle when one is given.
    ///
    /// - Returns: false when there is one for that trust domain; nothing has changed then.
    func createRelationship(
        _ relationship: FederationRelationship, bundle: TrustBundle?
    ) async throws -> Bool

    /// Changes a relationship, and the partner's bundle when one is given.
    ///
    /// - Returns: the relationship afterwards, or nil when there is none.
    func updateRelationship(
        _ trustDomain: TrustDomain, bundle: TrustBundle?,
        _ transform:
            @escaping @Sendable (FederationRelationship) throws(ServerError) ->
            FederationRelationship
    ) async throws -> FederationRelationship?

    /// Ends a relationship.
    ///
    /// - Parameter keepsBundle: whether the partner's bundle stays.
    /// - Returns: whether there was one.
    func deleteRelationship(_ trustDomain: TrustDomain, keepsBundle: Bool) async throws -> Bool

    /// Sets what a partner is trusted with; there need be no relationship.
    func setLimits(_ limits: PartnerLimits) async throws

    /// Takes a partner's limits away.
    ///
    /// - Returns: whether there were any.
    func deleteLimits(_ trustDomain: TrustDomain) async throws -> Bool
}

/// The authorities' journal.
package protocol JournalStore: Sendable {
    func loadJournal() async throws -> [JournalEntry]
    /// Replaces the journal as a whole.
    func saveJournal(_ entries: [JournalEntry]) async throws
}

/// Revocations. A row lives on while its leaves are not recorded; see ``RevocationRegistry``.
package protocol RevocationStore: Sendable {
    /// Adds a revocation that is not recorded yet.
    ///
    /// - Returns: false when its ID is taken; nothing has changed then.
    func createRevocation(_ revocation: Revocation) async throws -> Bool

    /// Notes that a revocation is recorded, and which SVIDs it hit (``RevocationAdmission/hitIdentities(of:)``).
    func completeRevocation(_ id: String, hits: [UInt8]) async throws

    /// Ends a revocation. The feed tells of it; the row stays until ``forgetRevocation(_:)``.
    ///
    /// - Returns: the revocation; nil when there is none, or it has ended already.
    func endRevocation(_ id: String, reason: String, caller: String) async throws -> Revocation?

    /// Removes a revocation that has ended.
    func forgetRevocation(_ id: String) async throws

    /// Removes revocations that hit nothing any more, in one step; those of which something is not recorded stay. The
    /// feed tells of those that are gone.
    ///
    /// - Returns: their IDs.
    func removeRevocations(_ ids: [String]) async throws -> [String]

    /// The revocations of which something is not recorded, in the order of their making.
    func unfinishedRevocations() async throws -> [UnfinishedRevocation]

    /// What each completed revocation that has not ended hit.
    func revocationHits() async throws -> [String: [UInt8]]
}

/// A revocation of which something is not recorded.
package struct UnfinishedRevocation: Sendable, Hashable {
    /// As it was made.
    package let revocation: Revocation
    /// Whether its making is recorded.
    package let isCompleted: Bool
    /// How it ended; nil while it lasts.
    package let end: End?

    /// The end of a revocation.
    package struct End: Sendable, Hashable {
        /// As in the ledger.
        package let reason: String
        /// Who ended it.
        package let caller: String

        package init(reason: String, caller: String) {
            self.reason = reason
            self.caller = caller
        }
    }

    package init(revocation: Revocation, isCompleted: Bool, end: End?) {
        self.revocation = revocation
        self.isCompleted = isCompleted
        self.end = end
    }
}
