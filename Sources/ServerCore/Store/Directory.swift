package import Foundation
import NIOConcurrencyHelpers
package import SPIFFE

/// A change of the revocations, as ``Directory`` tells of it.
package enum RevocationChange: Sendable {
    case upserted(Revocation)
    case removed(id: String)
    /// Everything was loaded anew; these are all.
    case reloaded([Revocation])
}

/// Everything the server knows about its trust domain, in memory and up to date: entries, nodes, bundles.
///
/// Fed by the change feed and by nothing else. Reads take a short lock; what concerns connected agents goes to
/// the ``SyncHub`` in the same step, so the hub sees each change exactly once and in order.
package final class Directory: ChangeFeedConsumer, RevocationAudience {
    struct State {
        var entries: EntryIndex
        var nodes: [SPIFFEID: AttestedNode] = [:]
        var bundles: [TrustDomain: TrustBundle] = [:]
        var relationships: [TrustDomain: FederationRelationship] = [:]
        var revocations = RevocationIndex()
        /// Positions in the feed of revocations made or ended since the start.
        var revocationSeqs: [String: UInt64] = [:]
        var limits: [TrustDomain: PartnerLimits] = [:]
        var hub: SyncHub
        var seq: UInt64 = 0
    }

    package let trustDomain: TrustDomain
    let state: NIOLockedValueBox<State>
    /// What was made of the bundles last; see ``authorityKeyIDs``.
    let keyIDs: NIOLockedValueBox<AuthorityKeyIDs>
    /// What becomes of the sessions of connected agents.
    let sessionEvents = SessionEvents()
    private let onBundle = NIOLockedValueBox<[@Sendable (TrustBundle) -> Void]>([])
    private let onRelationship = NIOLockedValueBox<[@Sendable () -> Void]>([])
    private let onRevocation = NIOLockedValueBox<[@Sendable (RevocationChange) -> Void]>([])
    private let now: @Sendable () -> Date
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
        limits: [PartnerLimits] = [], groups: TrustDomainGroups = TrustDomainGroups.none,
        now: @escaping @Sendable () -> Date = { Date() }
    ) {
        self.trustDomain = trustDomain
        self.keyIDs = NIOLockedValueBox(AuthorityKeyIDs(own: trustDomain))
        self.now = now
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

    /// Calls `body` after each change of the revocations, when entries and sessions are as it wants them, on the thread of
    /// the store: it must be quick.
    package func onRevocationChange(_ body: @escaping @Sendable (RevocationChange) -> Void) {
        self.onRevocation.withLockedValue { $0.append(body) }
    }

    var unixNow: Int64 { Int64(self.now().timeIntervalSince1970) }

    // MARK: Feed

    package func apply(_ changes: [Change], seq: UInt64) {
        var hasRelationships = false
        var revocations: [RevocationChange] = []
        let now = self.unixNow
        let bundles = self.state.withLockedValue { state -> [TrustBundle] in
            var bundles: [TrustBundle] = []
            for (index, change) in changes.enumerated() {
                Self.apply(change, to: &state, now: now)
                let position = seq - min(seq, UInt64(changes.count - 1 - index))
                switch change {
                case .bundleUpserted(let bundle): bundles.append(bundle)
                case .relationshipUpserted, .relationshipRemoved: hasRelationships = true
                case .revocationUpserted(let revocation):
                    state.revocationSeqs[revocation.id] = position
                    revocations.append(.upserted(revocation))
                case .revocationRemoved(let id):
                    state.revocationSeqs[id] = position
                    revocations.append(.removed(id: id))
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
        for change in revocations {
            for observer in self.onRevocation.withLockedValue({ $0 }) { observer(change) }
        }
        guard !bundles.isEmpty else { return }
        let observers = self.onBundle.withLockedValue { $0 }
        for bundle in bundles { for observer in observers { observer(bundle) } }
    }

    private static func apply(_ change: Change, to state: inout State, now: Int64) {
        switch change {
        case .entryUpserted(let entry):
            let wasBlocked = state.entries.isBlocked(id: entry.id)
            let old = state.entries.upsert(entry)
            let isBlocked = state.entries.reviewBlock(entry, state.revocations, now: now)
            state.hub.entryChanged(
                old: old, new: entry, wasBlocked: wasBlocked, isBlocked: isBlocked,
                entries: state.entries)
            Self.reviewBelow(&state, now: now)
        case .entryRemoved(let id):
            let wasBlocked = state.entries.isBlocked(id: id)
            guard let old = state.entries.remove(id: id) else { return }
            state.hub.entryChanged(
                old: old, new: nil, wasBlocked: wasBlocked, entries: state.entries)
            Self.reviewBelow(&state, now: now)
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
        case .revocationUpserted(let revocation):
            state.revocations.upsert(revocation)
            Self.block(revocation, &state, now: now)
        case .revocationRemoved(let id):
            state.revocations.remove(id: id)
            let freed = state.entries.unblock(
                revocation: id, state.revocations, now: now)
            for entry in freed { state.hub.entryFreed(entry, entries: state.entries) }
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

    /// Takes what a revocation covers out of the agents' sets, and ends the sessions of agents that it covers.
    private static func block(_ revocation: Revocation, _ state: inout State, now: Int64) {
        guard revocation.blocks, revocation.isInForce(at: now) else { return }
        for entry in state.entries.block(revocation) {
            state.hub.entryBlocked(entry, entries: state.entries)
        }
        state.hub.finish { session in
            let isCovered =
                switch revocation.target {
                case .serial(let serial): serial == session.serial
                case .authorityID(let id): id == session.x509AuthorityID
                default: revocation.covers(session.agent)
                }
            return isCovered ? revocation.refusal(ofAgent: session.agent) : nil
        }
    }

    /// Follows the graph of parents where revocations cover what descends.
    private static func reviewBelow(_ state: inout State, now: Int64) {
        if state.revocations.coveringBelow.isEmpty { return }
        let (blocked, freed) = state.entries.reviewBelow(state.revocations, now: now)
        for entry in blocked { state.hub.entryBlocked(entry, entries: state.entries) }
        for entry in freed { state.hub.entryFreed(entry, entries: state.entries) }
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
                    case .revocationUpserted(let revocation):
                        state.revocations.upsert(revocation)
                    case .limitsUpserted(let limits): state.limits[limits.trustDomain] = limits
                    case .entryRemoved, .nodeRemoved, .bundleRemoved, .relationshipRemoved,
                        .revocationRemoved, .limitsRemoved:
                        break
                    }
                }
            }
        }
        let now = self.unixNow
        let loaded = fresh.withLockedValue { state in
            for revocation in state.revocations.ordered
            where revocation.blocks && revocation.isInForce(at: now) {
                _ = state.entries.block(revocation)
            }
            return state
        }
        self.state.withLockedValue { state in
            state.entries = loaded.entries
            state.nodes = loaded.nodes
            state.bundles = loaded.bundles
            state.relationships = loaded.relationships
            state.revocations = loaded.revocations
            state.limits = loaded.limits
            state.seq = seq
            state.hub.resetAll(
                entries: state.entries, nodes: state.nodes, bundles: state.bundles)
            state.hub.finish { session in
                state.revocations.blocking(agent: session.agent, serial: session.serial, now: now)?
                    .refusal(ofAgent: session.agent)
            }
            state.hub.flush(seq: seq, entries: state.entries)
        }
        for observer in self.onRelationship.withLockedValue({ $0 }) { observer() }
        for observer in self.onRevocation.withLockedValue({ $0 }) {
            observer(.reloaded(self.revocations))
        }
    }

    // MARK: Revocations

    /// Tells the connected agents; those that come later are told when they come. A state with a number that is not
    /// above the one known of its trust domain is left out.
    package func publish(_ revocations: TrustDomainLists, number: UInt64) {
        var known = self.publishedRevocations(revocations.trustDomain)
        while number > known?.number ?? 0 {
            // What is new is worked out outside the lock, for whoever publishes at the same time wins or goes again.
            let published = PublishedRevocations(revocations, number: number, after: known)
            let newest = self.state.withLockedValue { state -> PublishedRevocations? in
                let newest = state.hub.revocations[revocations.trustDomain]
                guard newest === known else { return newest }
                state.hub.revocationsChanged(published)
                state.hub.flush(seq: state.seq, entries: state.entries)
                return published
            }
            if newest === published { return }
            known = newest
        }
    }

    /// Has the connected agents forget what they were told of a partner; nothing for the own trust domain.
    package func withdrawRevocations(of trustDomain: TrustDomain) {
        guard trustDomain != self.trustDomain else { return }
        self.state.withLockedValue { state in
            state.hub.revocationsWithdrawn(of: trustDomain)
            state.hub.flush(seq: state.seq, entries: state.entries)
        }
    }

    /// The newest state that was published of a trust domain.
    package func publishedRevocations(_ trustDomain: TrustDomain) -> PublishedRevocations? {
        self.state.withLockedValue { $0.hub.revocations[trustDomain] }
    }

    // MARK: Revocations

    /// All revocations that have not ended, the oldest first.
    package var revocations: [Revocation] { self.state.withLockedValue { $0.revocations.ordered } }

    /// Those that ended at or before that Unix time, in no order.
    package func expiredRevocations(at now: Int64) -> [Revocation] {
        self.state.withLockedValue { $0.revocations.expired(at: now) }
    }

    /// IDs of the revocations that are forgotten once all that they hit has expired, in no order.
    package var revocationsEndingWithHits: [String] {
        self.state.withLockedValue { $0.revocations.endingWithHits.map(\.id) }
    }

    package func revocation(id: String) -> Revocation? {
        self.state.withLockedValue { $0.revocations.revocation(id: id) }
    }

    /// The position in the feed of the last change of that revocation; the feed's own when it was before the start.
    package func seq(ofRevocation id: String) -> UInt64 {
        self.state.withLockedValue { $0.revocationSeqs[id] ?? $0.seq }
    }

    /// The position of that change is not asked for any more.
    package func forgetSeq(ofRevocation id: String) {
        self.state.withLockedValue { $0.revocationSeqs[id] = nil }
    }

    /// The revocation that keeps SVIDs of an entry from being issued.
    package func revocation(blockingEntry id: String, now: Int64) -> Revocation? {
        self.state.withLockedValue { state in
            if state.revocations.isEmpty { return nil }
            if let revocationID = state.entries.blocker(of: id),
                let found = state.revocations.revocation(id: revocationID), found.isInForce(at: now)
            {
                return found
            }
            // What blocked it may have ended, and another be in force, also one that covers what descends.
            guard let entry = state.entries.entry(id: id) else { return nil }
            if let direct = state.revocations.blocking(entry, now: now) { return direct }
            guard state.entries.blocker(of: id) != nil else { return nil }
            return state.revocations.coveringBelow.first { revocation in
                revocation.blocks && revocation.isInForce(at: now)
                    && state.entries.covered(by: revocation).contains { $0.id == id }
            }
        }
    }

    /// Why an agent is refused; nil when no revocation keeps it out.
    ///
    /// - Parameter serial: of the agent's SVID, lower-case hex; nil when it shows none.
    package func refusal(ofAgent id: SPIFFEID, serial: String? = nil, now: Int64) -> ServerError? {
        self.state.withLockedValue { state in
            state.revocations.blocking(agent: id, serial: serial, now: now)?.refusal(ofAgent: id)
        }
    }

    /// IDs of the entries that a revocation covers, those below included.
    package func entryIDs(coveredBy revocation: Revocation) -> [String] {
        self.state.withLockedValue { state in state.entries.covered(by: revocation).map(\.id) }
    }

    /// How many entries and agents a revocation covers.
    package func count(coveredBy revocation: Revocation) -> (entries: Int, agents: Int) {
        self.state.withLockedValue { state in
            (
                state.entries.covered(by: revocation).count,
                state.nodes.keys.reduce(0) { $0 + (revocation.covers($1) ? 1 : 0) }
            )
        }
    }
}
