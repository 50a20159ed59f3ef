import NIOConcurrencyHelpers
package import SPIFFE

/// Everything the server knows about its trust domain, in memory and up to date: entries, nodes, bundles.
///
/// Fed by the change feed and by nothing else. Reads take a short lock; what concerns connected agents goes to
/// the ``SyncHub`` in the same step, so the hub sees each change exactly once and in order.
package final class Directory: ChangeFeedConsumer {
    private struct State {
        var entries: EntryIndex
        var nodes: [SPIFFEID: AttestedNode] = [:]
        var bundles: [TrustDomain: TrustBundle] = [:]
        var relationships: [TrustDomain: FederationRelationship] = [:]
        var limits: [TrustDomain: PartnerLimits] = [:]
        var hub: SyncHub
        var seq: UInt64 = 0
    }

    package let trustDomain: TrustDomain
    private let state: NIOLockedValueBox<State>
    private let onBundle = NIOLockedValueBox<[@Sendable (TrustBundle) -> Void]>([])
    private let onRelationship = NIOLockedValueBox<[@Sendable () -> Void]>([])
    /// Relationships of the configuration; each takes the place of a stored one.
    package let configuredRelationships: [TrustDomain: FederationRelationship]
    /// Limits of the configuration; each takes the place of stored ones.
    package let configuredLimits: [TrustDomain: PartnerLimits]
    /// Groups of trust domains that entries federate with; the configuration's.
    package let groups: TrustDomainGroups

    /// - Parameters:
    ///   - relationships: those that the configuration lists.
    ///   - limits: those that the configuration lists.
    package init(
        trustDomain: TrustDomain, relationships: [FederationRelationship] = [],
        limits: [PartnerLimits] = [], groups: TrustDomainGroups = TrustDomainGroups.none
    ) {
        self.trustDomain = trustDomain
        self.groups = groups
        self.configuredLimits = Dictionary(limits.map { ($0.trustDomain, $0) }) { first, _ in first
        }
        self.configuredRelationships = Dictionary(
            relationships.map { ($0.trustDomain, $0) }
        ) { first, _ in first }
        self.state = NIOLockedValueBox(
            State(
                entries: EntryIndex(trustDomain: trustDomain),
                hub: SyncHub(trustDomain: trustDomain, groups: groups)))
    }

    /// Calls `body` after each change of a bundle, on the thread of the store: it must be quick.
    package func onBundleChange(_ body: @escaping @Sendable (TrustBundle) -> Void) {
        self.onBundle.withLockedValue { $0.append(body) }
    }

    /// Calls `body` after a relationship was made, changed or ended, on the thread of the store: it must be
    /// quick.
    package func onRelationshipChange(_ body: @escaping @Sendable () -> Void) {
        self.onRelationship.withLockedValue { $0.append(body) }
    }

    // MARK: Feed

    package func apply(_ changes: [Change], seq: UInt64) {
        var hasRelationships = false
        let bundles = self.state.withLockedValue { state -> [TrustBundle] in
            var bundles: [TrustBundle] = []
            for change in changes {
                Self.apply(change, to: &state)
                switch change {
                case .bundleUpserted(let bundle): bundles.append(bundle)
                case .relationshipUpserted, .relationshipRemoved: hasRelationships = true
                default: break
                }
            }
            state.seq = seq
            state.hub.flush(seq: seq, entries: state.entries)
            return bundles
        }
        if hasRelationships {
            for observer in self.onRelationship.withLockedValue({ $0 }) { observer() }
        }
        guard !bundles.isEmpty else { return }
        let observers = self.onBundle.withLockedValue { $0 }
        for bundle in bundles { for observer in observers { observer(bundle) } }
    }

    private static func apply(_ change: Change, to state: inout State) {
        switch change {
        case .entryUpserted(let entry):
            let old = state.entries.upsert(entry)
            state.hub.entryChanged(old: old, new: entry, entries: state.entries)
        case .entryRemoved(let id):
            guard let old = state.entries.remove(id: id) else { return }
            state.hub.entryChanged(old: old, new: nil, entries: state.entries)
        case .nodeUpserted(let node):
            let old = state.nodes.updateValue(node, forKey: node.id)
            state.hub.nodeChanged(old: old, new: node, id: node.id, entries: state.entries)
        case .nodeRemoved(let id):
            let old = state.nodes.removeValue(forKey: id)
            state.hub.nodeChanged(old: old, new: nil, id: id, entries: state.entries)
        case .bundleUpserted(let bundle):
            state.bundles[bundle.trustDomain] = bundle
            state.hub.bundleChanged(bundle)
        case .bundleRemoved(let trustDomain):
            state.bundles[trustDomain] = nil
            state.hub.bundleRemoved(trustDomain)
        case .relationshipUpserted(let relationship):
            state.relationships[relationship.trustDomain] = relationship
        case .relationshipRemoved(let trustDomain):
            state.relationships[trustDomain] = nil
        case .limitsUpserted(let limits):
            state.limits[limits.trustDomain] = limits
            Self.giveAnew(limits.trustDomain, in: &state)
        case .limitsRemoved(let trustDomain):
            state.limits[trustDomain] = nil
            Self.giveAnew(trustDomain, in: &state)
        }
    }

    /// Limits travel with the bundle, so agents get it again when they change.
    private static func giveAnew(_ trustDomain: TrustDomain, in state: inout State) {
        guard let bundle = state.bundles[trustDomain] else { return }
        state.hub.bundleChanged(bundle)
    }

    /// Fills the directory from a snapshot of the store, replacing what it had.
    package func load(from store: any SnapshotStore) async throws {
        let fresh = NIOLockedValueBox(
            State(
                entries: EntryIndex(trustDomain: self.trustDomain),
                hub: SyncHub(trustDomain: self.trustDomain, groups: self.groups)))
        let seq = try await store.loadAll { changes in
            fresh.withLockedValue { state in
                for change in changes {
                    switch change {
                    case .entryUpserted(let entry): state.entries.upsert(entry)
                    case .nodeUpserted(let node): state.nodes[node.id] = node
                    case .bundleUpserted(let bundle): state.bundles[bundle.trustDomain] = bundle
                    case .relationshipUpserted(let relationship):
                        state.relationships[relationship.trustDomain] = relationship
                    case .limitsUpserted(let limits): state.limits[limits.trustDomain] = limits
                    case .entryRemoved, .nodeRemoved, .bundleRemoved, .relationshipRemoved,
                        .limitsRemoved:
                        break
                    }
                }
            }
        }
        let loaded = fresh.withLockedValue { $0 }
        self.state.withLockedValue { state in
            state.entries = loaded.entries
            state.nodes = loaded.nodes
            state.bundles = loaded.bundles
            state.relationships = loaded.relationships
            state.limits = loaded.limits
            state.seq = seq
            state.hub.resetAll(
                entries: state.entries, nodes: state.nodes, bundles: state.bundles)
            state.hub.flush(seq: seq, entries: state.entries)
        }
        for observer in self.onRelationship.withLockedValue({ $0 }) { observer() }
    }

    // MARK: Asking

    /// Runs `body` with the entries under the lock; it must be short.
    package func withEntries<Result>(_ body: (EntryIndex) throws -> Result) rethrows -> Result {
        try self.state.withLockedValue { try body($0.entries) }
    }

    /// The digest of all entries and the position in the feed it belongs to.
    package var entryDigest: (digest: EntryDigest, seq: UInt64) {
        self.state.withLockedValue { ($0.entries.digest, $0.seq) }
    }

    package var seq: UInt64 { self.state.withLockedValue { $0.seq } }

    package func node(_ id: SPIFFEID) -> AttestedNode? {
        self.state.withLockedValue { $0.nodes[id] }
    }

    /// All nodes, ordered by ID.
    package var nodes: [AttestedNode] {
        self.state.withLockedValue { Array($0.nodes.values) }.sorted { $0.id < $1.id }
    }

    package func bundle(_ trustDomain: TrustDomain) -> TrustBundle? {
        self.state.withLockedValue { $0.bundles[trustDomain] }
    }

    /// The bundle of the server's own trust domain.
    package var ownBundle: TrustBundle? { self.bundle(self.trustDomain) }

    package var bundleCount: Int { self.state.withLockedValue { $0.bundles.count } }

    /// The bundles of other trust domains, ordered by name.
    package var foreignBundles: [TrustBundle] {
        self.state.withLockedValue { Array($0.bundles.values) }
            .filter { $0.trustDomain != self.trustDomain }
            .sorted { $0.trustDomain < $1.trustDomain }
    }

    /// The relationship with a partner that counts: the configuration's before a stored one.
    package func relationship(_ trustDomain: TrustDomain) -> FederationRelationship? {
        self.configuredRelationships[trustDomain] ?? self.storedRelationship(trustDomain)
    }

    package func storedRelationship(_ trustDomain: TrustDomain) -> FederationRelationship? {
        self.state.withLockedValue { $0.relationships[trustDomain] }
    }

    /// The relationships that operators made through the API, ordered by name.
    package var storedRelationships: [FederationRelationship] {
        self.state.withLockedValue { Array($0.relationships.values) }
            .sorted { $0.trustDomain < $1.trustDomain }
    }

    /// The relationships that count, ordered by name.
    package var relationships: [FederationRelationship] {
        self.state.withLockedValue { $0.relationships }
            .merging(self.configuredRelationships) { _, configured in configured }
            .values.sorted { $0.trustDomain < $1.trustDomain }
    }

    /// What a partner is trusted with, the configuration before what is stored; nil when there are no limits.
    package func limits(_ trustDomain: TrustDomain) -> PartnerLimits? {
        self.configuredLimits[trustDomain]
            ?? self.state.withLockedValue { $0.limits[trustDomain] }
    }

    /// The limits that count, ordered by name.
    package var limits: [PartnerLimits] {
        self.state.withLockedValue { $0.limits }
            .merging(self.configuredLimits) { _, configured in configured }
            .values.sorted { $0.trustDomain < $1.trustDomain }
    }

    /// A partner's bundle with what it may be used for alone; any other as it is.
    package func limited(_ bundle: TrustBundle) -> TrustBundle {
        self.limits(bundle.trustDomain)?.limited(bundle) ?? bundle
    }

    /// The entry, if it exists and the agent may have SVIDs of it.
    package func authorizedEntry(id: String, agent: SPIFFEID) -> Entry? {
        self.state.withLockedValue { state in
            guard let entry = state.entries.entry(id: id) else { return nil }
            let path = agent.path
            if entry.parentID.path == path { return entry }
            let aliases = Self.aliasPaths(of: agent, in: state)
            return state.entries.isAuthorized(entry, agentPath: path, aliasPaths: aliases)
                ? entry : nil
        }
    }

    /// The agent's authorised entries, ordered by ID, with groups of trust domains expanded.
    package func authorizedEntries(agent: SPIFFEID) -> [Entry] {
        let entries = self.state.withLockedValue { state in
            state.entries.authorizedEntries(
                agentPath: agent.path, aliasPaths: Self.aliasPaths(of: agent, in: state))
        }
        return entries.map { self.groups.expanding($0, own: self.trustDomain) }
            .sorted { $0.id < $1.id }
    }

    private static func aliasPaths(of agent: SPIFFEID, in state: State) -> Set<String> {
        if let known = state.hub.aliasPaths(of: agent) { return known }
        guard let node = state.nodes[agent] else { return [] }
        return state.entries.aliasPaths(nodeSelectors: Set(node.selectors))
    }

    // MARK: Sessions

    /// Opens the sync session of an agent: from now on it gets every change that concerns it.
    ///
    /// - Parameters:
    ///   - knownDigest: digest of the set the agent holds; the snapshot is left out when it is equal.
    ///   - x509AuthorityID: of the authority that signed the agent's SVID.
    package func openSession(
        agent: SPIFFEID, knownDigest: [UInt8], x509AuthorityID: String? = nil
    ) -> SyncSession {
        self.state.withLockedValue { state in
            let session = SyncSession(agent: agent, x509AuthorityID: x509AuthorityID)
            let selectors = Set(state.nodes[agent]?.selectors ?? [])
            state.hub.add(
                session, nodeSelectors: selectors, knownDigest: knownDigest, entries: state.entries,
                bundles: state.bundles, seq: state.seq)
            return session
        }
    }

    package func closeSession(_ session: SyncSession) {
        self.state.withLockedValue { $0.hub.remove(session) }
        session.finish(nil)
    }

    /// Gives the agent a fresh snapshot.
    package func resync(_ session: SyncSession) {
        self.state.withLockedValue { state in
            state.hub.reset(session, entries: state.entries)
            state.hub.flush(seq: state.seq, entries: state.entries)
        }
    }

    /// The sessions that have not ended.
    var sessions: [SyncSession] { self.state.withLockedValue { $0.hub.sessions } }

    /// How many agents hold a session.
    package var sessionCount: Int { self.state.withLockedValue { $0.hub.count } }
}
