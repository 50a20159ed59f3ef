import NIOConcurrencyHelpers
package import SPIFFE
package import ServerCore
import Transparency

/// All store protocols in memory, with a change feed; keeps to the same rules as the SQL store.
package final class MemoryStore: EntryStore, NodeStore, BundleStore, FederationStore, JournalStore,
    RevocationStore, SnapshotStore, ChangeLeafStore
{
    private struct State {
        var entries: [String: Entry] = [:]
        var nodes: [SPIFFEID: AttestedNode] = [:]
        var tokens: [String: JoinToken] = [:]
        var bundles: [TrustDomain: TrustBundle] = [:]
        var relationships: [TrustDomain: FederationRelationship] = [:]
        var revocations: [String: RevocationRow] = [:]
        var limits: [TrustDomain: PartnerLimits] = [:]
        var journal: [JournalEntry] = []
        var seq: UInt64 = 0
        var rows: [ChangeLeafRow] = []
        var recorded: UInt64 = 0
        var consumer: (any ChangeFeedConsumer)?
        var leafConsumer: (any ChangeLeafConsumer)?
        var failure: ServerError?
    }

    private struct RevocationRow {
        var revocation: Revocation
        var hits: [UInt8]?
        var end: UnfinishedRevocation.End?
    }

    private let state = NIOLockedValueBox(State())

    package init() {}

    package func setConsumer(_ consumer: any ChangeFeedConsumer) {
        self.state.withLockedValue { $0.consumer = consumer }
    }

    package func setLeafConsumer(_ consumer: any ChangeLeafConsumer) {
        self.state.withLockedValue { $0.leafConsumer = consumer }
    }

    /// Makes every write fail with this error until it is set to nil.
    package func fail(_ error: ServerError?) { self.state.withLockedValue { $0.failure = error } }

    private func write<Result>(
        _ body: (inout State, inout ChangeList) throws -> Result
    ) throws -> Result {
        try self.state.withLockedValue { state in
            if let failure = state.failure { throw failure }
            var copy = state
            var changes = ChangeList()
            let result = try body(&copy, &changes)
            let events = changes.numbered(after: copy.seq)
            for event in events {
                copy.seq += 1
                copy.rows.append(
                    ChangeLeafRow(
                        seq: copy.seq,
                        leaf: event.map { Leaf(time: LeafTime(seconds: 0), event: $0) }))
            }
            state = copy
            if !changes.isEmpty {
                state.leafConsumer?.committed(events.compactMap { $0 }, seq: state.seq)
                state.consumer?.apply(changes.changes, seq: state.seq)
            }
            return result
        }
    }

    private static func hasSimilar(_ entry: Entry, in state: State) -> Bool {
        state.entries.values.contains {
            $0.id != entry.id && $0.spiffeID == entry.spiffeID && $0.parentID == entry.parentID
                && $0.selectors == entry.selectors
        }
    }

    package func createEntries(_ entries: [Entry]) async throws -> [Bool] {
        try self.write { state, changes in
            entries.map { entry in
                guard state.entries[entry.id] == nil, !Self.hasSimilar(entry, in: state) else {
                    return false
                }
                state.entries[entry.id] = entry
                changes.append(.entryUpserted(entry))
                return true
            }
        }
    }

    package func updateEntries(_ updates: [EntryUpdate]) async throws -> [EntryUpdateResult] {
        try self.write { state, changes in
            updates.map { update in
                guard let old = state.entries[update.id] else { return .notFound }
                var new: Entry
                do throws(ServerError) { new = try update.transform(old) } catch {
                    return .refused(error)
                }
                new.revision = old.revision + 1
                new.createdAt = old.createdAt
                guard !Self.hasSimilar(new, in: state) else { return .similarExists }
                state.entries[new.id] = new
                changes.append(.entryUpserted(new))
                return .updated(new)
            }
        }
    }

    package func deleteEntries(_ ids: [String]) async throws -> [Bool] {
        try self.write { state, changes in
            ids.map { id in
                guard state.entries.removeValue(forKey: id) != nil else { return false }
                changes.append(.entryRemoved(id: id))
                return true
            }
        }
    }

    package func createJoinToken(_ token: JoinToken, alias: Entry?) async throws {
        try self.write { state, changes in
            guard state.tokens[token.value] == nil else {
                throw ServerError(.alreadyExists, "join token exists already")
            }
            state.tokens[token.value] = token
            guard let alias else { return }
            guard !Self.hasSimilar(alias, in: state) else {
                throw ServerError(
                    .alreadyExists, "the entry for this token and agent ID exists already")
            }
            state.entries[alias.id] = alias
            changes.append(.entryUpserted(alias))
        }
    }

    package func takeJoinToken(_ value: String) async throws -> JoinToken? {
        try self.write { state, _ in state.tokens.removeValue(forKey: value) }
    }

    package func pruneJoinTokens(expiredAt now: Int64) async throws -> Int {
        try self.write { state, _ in
            let before = state.tokens.count
            state.tokens = state.tokens.filter { $0.value.expiresAt > now }
            return before - state.tokens.count
        }
    }

    package func attestNode(_ node: AttestedNode) async throws -> Bool {
        try self.write { state, changes in
            if state.nodes[node.id]?.isBanned == true { return false }
            state.nodes[node.id] = node
            changes.append(.nodeUpserted(node))
            return true
        }
    }

    package func updateNode(
        _ id: SPIFFEID,
        _ transform: @escaping @Sendable (inout AttestedNode) throws(ServerError) -> Void
    ) async throws -> AttestedNode? {
        try self.write { state, changes in
            guard let old = state.nodes[id] else { return nil }
            var node = old
            try transform(&node)
            if node != old {
                state.nodes[id] = node
                changes.append(node, replacing: old)
            }
            return node
        }
    }

    package func deleteNode(_ id: SPIFFEID) async throws -> Bool {
        try self.write { state, changes in
            guard state.nodes.removeValue(forKey: id) != nil else { return false }
            changes.append(.nodeRemoved(id))
            let selectors = [Selector(attestedType: "spiffe_id", value: id.string)].compactMap {
                $0
            }
            for entry in state.entries.values
            where entry.parentID == id && entry.selectors == selectors {
                state.entries[entry.id] = nil
                changes.append(.entryRemoved(id: entry.id))
            }
            return true
        }
    }

    package func updateBundle(
        _ trustDomain: TrustDomain, _ transform: @escaping @Sendable (inout TrustBundle) -> Void
    ) async throws -> TrustBundle {
        try self.write { state, changes in
            let old = state.bundles[trustDomain]
            let before = old ?? TrustBundle(trustDomain: trustDomain)
            var new = before
            transform(&new)
            if new == before { return new }
            new.sequenceNumber = (old?.sequenceNumber ?? 0) + 1
            state.bundles[trustDomain] = new
            changes.append(.bundleUpserted(new))
            return new
        }
    }

    private static func put(
        _ bundle: TrustBundle, _ state: inout State, _ changes: inout ChangeList
    ) -> TrustBundle {
        let old = state.bundles[bundle.trustDomain]
        var new = bundle
        new.sequenceNumber = old?.sequenceNumber ?? 0
        if new == old { return new }
        new.sequenceNumber += 1
        state.bundles[bundle.trustDomain] = new
        changes.append(.bundleUpserted(new))
        return new
    }

    package func writeBundle(
        _ trustDomain: TrustDomain, requiring relationship: FederationRelationship?,
        _ rule: @escaping @Sendable (TrustBundle?) throws(ServerError) -> TrustBundle?
    ) async throws -> TrustBundle? {
        try self.write { state, changes in
            if let relationship, state.relationships[relationship.trustDomain] != relationship {
                throw ServerError(.notFound, "the relationship was changed or ended")
            }
            let old = state.bundles[trustDomain]
            guard let wanted = try rule(old) else { return old }
            return Self.put(wanted, &state, &changes)
        }
    }

    package func deleteBundle(
        _ trustDomain: TrustDomain, mode: BundleDeletionMode
    ) async throws -> BundleDeletion {
        try self.write { state, changes in
            guard state.bundles[trustDomain] != nil else { return .notFound }
            let entries = state.entries.values.filter { $0.federatesWith.contains(trustDomain) }
            switch mode {
            case .restrict where !entries.isEmpty: return .restricted(entries: entries.count)
            case .dissociate:
                for var entry in entries {
                    entry.federatesWith.removeAll { $0 == trustDomain }
                    entry.revision += 1
                    state.entries[entry.id] = entry
                    changes.append(.entryUpserted(entry))
                }
            case .delete:
                for entry in entries {
                    state.entries[entry.id] = nil
                    changes.append(.entryRemoved(id: entry.id))
                }
            case .restrict, .leave: break
            }
            state.bundles[trustDomain] = nil
            changes.append(.bundleRemoved(trustDomain))
            return .deleted
        }
    }

    package func createRelationship(
        _ relationship: FederationRelationship, bundle: TrustBundle?
    ) async throws -> Bool {
        try self.write { state, changes in
            guard state.relationships[relationship.trustDomain] == nil else { return false }
            state.relationships[relationship.trustDomain] = relationship
            changes.append(new: relationship)
            if let bundle { _ = Self.put(bundle, &state, &changes) }
            return true
        }
    }

    package func updateRelationship(
        _ trustDomain: TrustDomain, bundle: TrustBundle?,
        _ transform:
            @escaping @Sendable (FederationRelationship) throws(ServerError) ->
            FederationRelationship
    ) async throws -> FederationRelationship? {
        try self.write { state, changes in
            guard let old = state.relationships[trustDomain] else { return nil }
            let new = try transform(old)
            if new != old {
                state.relationships[trustDomain] = new
                changes.append(.relationshipUpserted(new))
            }
            if let bundle { _ = Self.put(bundle, &state, &changes) }
            return new
        }
    }

    package func deleteRelationship(
        _ trustDomain: TrustDomain, keepsBundle: Bool
    ) async throws -> Bool {
        try self.write { state, changes in
            guard state.relationships.removeValue(forKey: trustDomain) != nil else { return false }
            changes.append(.relationshipRemoved(trustDomain))
            if !keepsBundle, state.bundles.removeValue(forKey: trustDomain) != nil {
                changes.append(.bundleRemoved(trustDomain))
            }
            return true
        }
    }

    package func createRevocation(_ revocation: Revocation) async throws -> Bool {
        try self.write { state, changes in
            guard state.revocations[revocation.id] == nil else { return false }
            state.revocations[revocation.id] = RevocationRow(revocation: revocation)
            changes.append(.revocationUpserted(revocation))
            return true
        }
    }

    package func setLimits(_ limits: PartnerLimits) async throws {
        try self.write { state, changes in
            state.limits[limits.trustDomain] = limits
            changes.append(.limitsUpserted(limits))
        }
    }

    package func deleteLimits(_ trustDomain: TrustDomain) async throws -> Bool {
        try self.write { state, changes in
            guard state.limits.removeValue(forKey: trustDomain) != nil else { return false }
            changes.append(.limitsRemoved(trustDomain))
            return true
        }
    }

    package func completeRevocation(_ id: String, hits: [UInt8]) async throws {
        try self.write { state, _ in state.revocations[id]?.hits = hits }
    }

    package func endRevocation(
        _ id: String, reason: String, caller: String
    ) async throws -> Revocation? {
        try self.write { state, changes in
            guard let row = state.revocations[id], row.end == nil else { return nil }
            state.revocations[id]?.end = .init(reason: reason, caller: caller)
            changes.append(.revocationRemoved(id: id))
            return row.revocation
        }
    }

    package func forgetRevocation(_ id: String) async throws {
        try self.write { state, _ in
            if state.revocations[id]?.end != nil { state.revocations[id] = nil }
        }
    }

    package func removeRevocations(_ ids: [String]) async throws -> [String] {
        try self.write { state, changes in
            ids.filter { id in
                guard let row = state.revocations[id], row.hits != nil, row.end == nil else {
                    return false
                }
                state.revocations[id] = nil
                changes.append(.revocationRemoved(id: id))
                return true
            }
        }
    }

    package func unfinishedRevocations() async throws -> [UnfinishedRevocation] {
        self.state.withLockedValue { $0.revocations }.values
            .filter { $0.hits == nil || $0.end != nil }
            .sorted {
                ($0.revocation.createdAt, $0.revocation.id)
                    < ($1.revocation.createdAt, $1.revocation.id)
            }
            .map {
                UnfinishedRevocation(
                    revocation: $0.revocation, isCompleted: $0.hits != nil, end: $0.end)
            }
    }

    package func revocationHits() async throws -> [String: [UInt8]] {
        self.state.withLockedValue { $0.revocations }.filter { $0.value.end == nil }
            .compactMapValues(\.hits)
    }

    package func loadJournal() async throws -> [JournalEntry] {
        self.state.withLockedValue { $0.journal }
    }

    package func saveJournal(_ entries: [JournalEntry]) async throws {
        try self.write { state, _ in state.journal = entries }
    }

    package func loadAll(_ body: @Sendable @escaping ([Change]) -> Void) async throws -> UInt64 {
        let state = self.state.withLockedValue { $0 }
        body(state.bundles.values.map { .bundleUpserted($0) })
        body(state.relationships.values.map { .relationshipUpserted($0) })
        body(
            state.revocations.values.filter { $0.end == nil }
                .map { .revocationUpserted($0.revocation) })
        body(state.limits.values.map { .limitsUpserted($0) })
        body(state.nodes.values.map { .nodeUpserted($0) })
        body(state.entries.values.map { .entryUpserted($0) })
        return state.seq
    }

    package func entryDigest() async throws -> (digest: EntryDigest, seq: UInt64) {
        let state = self.state.withLockedValue { $0 }
        var digest = EntryDigest()
        for entry in state.entries.values { digest.toggle(entry) }
        return (digest, state.seq)
    }

    package func changeLeaves(after seq: UInt64, limit: Int) async throws -> [ChangeLeafRow] {
        self.state.withLockedValue { Array($0.rows.filter { $0.seq > seq }.prefix(limit)) }
    }

    package func recordedPosition() async throws -> UInt64 {
        self.state.withLockedValue { $0.recorded }
    }

    package func setRecordedPosition(_ seq: UInt64) async throws {
        self.state.withLockedValue { $0.recorded = max($0.recorded, min(seq, $0.seq)) }
    }
}
