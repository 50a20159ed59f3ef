package import SPIFFE

/// One change of the store, with the record as it is afterwards.
package enum Change: Sendable {
    case entryUpserted(Entry)
    case entryRemoved(id: String)
    case nodeUpserted(AttestedNode)
    case nodeRemoved(SPIFFEID)
    case bundleUpserted(TrustBundle)
    case bundleRemoved(TrustDomain)
    case relationshipUpserted(FederationRelationship)
    case relationshipRemoved(TrustDomain)
    case revocationUpserted(Revocation)
    case revocationRemoved(id: String)
    case limitsUpserted(PartnerLimits)
    case limitsRemoved(TrustDomain)
}

/// Takes the changes of the store in the order in which they were committed.
///
/// The store calls it after the commit and before the write that caused the change returns, one call at a
/// time, so whoever has written also reads their own write. Implementations must not block and must not
/// write to the store.
package protocol ChangeFeedConsumer: Sendable {
    /// - Parameter seq: Position of the feed after these changes.
    func apply(_ changes: [Change], seq: UInt64)
}

/// Reads everything there is, at start and when drift was found.
package protocol SnapshotStore: Sendable {
    /// Calls `body` with every record in batches, all from one moment.
    ///
    /// - Returns: the position of the change feed at that moment.
    func loadAll(_ body: @Sendable @escaping ([Change]) -> Void) async throws -> UInt64

    /// The XOR digest over all entries and the position of the feed, from one moment.
    func entryDigest() async throws -> (digest: EntryDigest, seq: UInt64)
}
