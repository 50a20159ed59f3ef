import SPIFFE

/// Decides which connected agents a change concerns, and gives it to them.
///
/// The work for a change is proportional to the agents it concerns. Only changes of the parent graph itself
/// (a node alias, or an entry that is the parent of others) make the agents below get a new snapshot.
struct SyncHub {
    private struct Member {
        let session: SyncSession
        let agentPath: String
        var nodeSelectors: Set<Selector>
        var aliasPaths: Set<String>
        var digest = EntryDigest()
        /// Foreign trust domains that the agent's entries federate with, with the number of such entries.
        var federated: [TrustDomain: Int] = [:]
        var isTouched = false
    }

    private let trustDomain: TrustDomain
    /// Agents know no groups: each entry goes to them, and is counted, with the trust domains that its groups mean.
    private let groups: TrustDomainGroups
    private var members: [ObjectIdentifier: Member] = [:]
    /// Members by each path that makes an entry theirs: the agent's own and its aliases'.
    private var byPath: [String: Set<ObjectIdentifier>] = [:]
    private var touched: [ObjectIdentifier] = []
    private var bundles: [TrustDomain: TrustBundle] = [:]
    /// The newest of each trust domain; outlives the directory's being filled anew.
    private(set) var revocations: [TrustDomain: PublishedRevocations] = [:]

    init(trustDomain: TrustDomain, groups: TrustDomainGroups = .none) {
        self.trustDomain = trustDomain
        self.groups = groups
    }

    var count: Int { self.members.count }

    /// Those that have not ended.
    var sessions: [SyncSession] { self.members.values.map(\.session).filter { !$0.hasEnded } }

    /// The alias paths of a connected agent.
    func aliasPaths(of agent: SPIFFEID) -> Set<String>? {
        guard let key = self.byPath[agent.path]?.first else { return nil }
        return self.members[key]?.aliasPaths
    }

    // MARK: Sessions

    /// Sessions that one agent may have open before a further one ends them.
    static let mostSessionsOfAgent = 4

    mutating func add(
        _ session: SyncSession, nodeSelectors: Set<Selector>, knownDigest: [UInt8],
        entries: EntryIndex, bundles: [TrustDomain: TrustBundle], seq: UInt64
    ) {
        self.bundles = bundles
        let key = ObjectIdentifier(session)
        let member = Member(
            session: session, agentPath: session.agent.path, nodeSelectors: nodeSelectors,
            aliasPaths: entries.aliasPaths(nodeSelectors: nodeSelectors))
        // An agent has one session, and for a moment two while it renews its SVID.
        let others = (self.byPath[member.agentPath] ?? []).filter {
            self.members[$0]?.agentPath == member.agentPath
        }
        if others.count >= Self.mostSessionsOfAgent {
            for other in others {
                self.members[other]?.session.finish(
                    ServerError(.unavailable, "the agent opened too many sessions"))
            }
        }
        self.members[key] = member
        for path in member.aliasPaths.union([member.agentPath]) {
            self.byPath[path, default: []].insert(key)
        }
        if let own = bundles[self.trustDomain] { session.upsert(own) }
        if let own = self.revocations[self.trustDomain] { session.upsert(own) }
        self.reset(key, entries: entries, knownDigest: knownDigest)
        self.flush(seq: seq, entries: entries)
    }

    mutating func remove(_ session: SyncSession) {
        let key = ObjectIdentifier(session)
        guard let member = self.members.removeValue(forKey: key) else { return }
        for path in member.aliasPaths.union([member.agentPath]) { self.unlink(key, from: path) }
    }

    /// Gives the session a snapshot.
    mutating func reset(_ session: SyncSession, entries: EntryIndex) {
        self.reset(ObjectIdentifier(session), entries: entries, knownDigest: [])
    }

    /// Gives every session a snapshot, after the directory was filled anew.
    mutating func resetAll(
        entries: EntryIndex, nodes: [SPIFFEID: AttestedNode], bundles: [TrustDomain: TrustBundle]
    ) {
        self.bundles = bundles
        for (key, member) in self.members {
            let agent = member.session.agent
            if let refusal = Self.refusal(of: nodes[agent], id: agent) {
                member.session.finish(refusal)
                continue
            }
            self.members[key]?.nodeSelectors = Set(nodes[agent]?.selectors ?? [])
            self.relinkAliases(key, entries: entries)
            if let own = bundles[self.trustDomain] { member.session.upsert(own) }
            self.reset(key, entries: entries, knownDigest: [])
        }
    }

    // MARK: Changes

    /// - Parameters:
    ///   - wasBlocked: whether a revocation kept the old entry from the agents.
    ///   - isBlocked: whether one keeps the new entry from them.
    ///   - entries: the index after the change.
    mutating func entryChanged(
        old: Entry?, new: Entry?, wasBlocked: Bool = false, isBlocked: Bool = false,
        entries: EntryIndex
    ) {
        guard !self.members.isEmpty else { return }
        let old = old.map { self.groups.expanding($0, own: self.trustDomain) }
        let new = new.map { self.groups.expanding($0, own: self.trustDomain) }
        let isAlias = [old, new].contains { $0?.parentID.path == EntryIndex.serverPath }
        // Those that get a snapshot have the change in it already.
        var fresh: Set<ObjectIdentifier> = []
        if isAlias {
            for key in Array(self.members.keys) where self.relinkAliases(key, entries: entries) {
                self.reset(key, entries: entries, knownDigest: [])
                fresh.insert(key)
            }
        }
        let before = old.map { self.concerned(byParent: $0.parentID.path, entries: entries) } ?? []
        let after = new.map { self.concerned(byParent: $0.parentID.path, entries: entries) } ?? []
        let moved = old?.spiffeID != new?.spiffeID || old?.parentID != new?.parentID
        let hasChildren = [old, new].contains { entry in
            entry.map { entries.hasChildren(path: $0.spiffeID.path) } ?? false
        }
        // Seen from the index after the change, an agent may reach the old place through the new one only.
        var isEntangled = false
        if let old, let new, moved {
            isEntangled = entries.pathsAbove(parentPath: old.parentID.path)
                .contains(new.spiffeID.path)
        }
        if moved && (hasChildren || isEntangled) {
            for key in before.union(after).subtracting(fresh) {
                self.reset(key, entries: entries, knownDigest: [])
            }
            return
        }
        if let old, !wasBlocked {
            let stay = isBlocked ? [] : after
            for key in before.subtracting(stay).subtracting(fresh) { self.take(old, from: key) }
        }
        if let new, !isBlocked {
            for key in after.subtracting(fresh) {
                let had = before.contains(key) && !wasBlocked
                self.give(new, replacing: had ? old : nil, to: key)
            }
        }
    }

    /// A revocation keeps the entry from the agents that have it.
    mutating func entryBlocked(_ entry: Entry, entries: EntryIndex) {
        guard !self.members.isEmpty else { return }
        for key in self.concerned(byParent: entry.parentID.path, entries: entries) {
            self.take(entry, from: key)
        }
    }

    /// No revocation keeps the entry from the agents any more.
    mutating func entryFreed(_ entry: Entry, entries: EntryIndex) {
        guard !self.members.isEmpty else { return }
        for key in self.concerned(byParent: entry.parentID.path, entries: entries) {
            self.give(entry, replacing: nil, to: key)
        }
    }

    /// Ends the sessions of the agents for which `body` gives a reason.
    func finish(_ body: (SyncSession) -> ServerError?) {
        for member in self.members.values {
            if let refusal = body(member.session) { member.session.finish(refusal) }
        }
    }

    mutating func nodeChanged(
        old: AttestedNode?, new: AttestedNode?, id: SPIFFEID, entries: EntryIndex
    ) {
        for key in self.byPath[id.path] ?? [] {
            guard let member = self.members[key], member.agentPath == id.path else { continue }
            if let refusal = Self.refusal(of: new, id: id) {
                member.session.finish(refusal)
                continue
            }
            let selectors = Set(new?.selectors ?? [])
            if selectors != member.nodeSelectors {
                self.members[key]?.nodeSelectors = selectors
                if self.relinkAliases(key, entries: entries) {
                    self.reset(key, entries: entries, knownDigest: [])
                }
            }
        }
    }

    mutating func bundleChanged(_ bundle: TrustBundle) {
        self.bundles[bundle.trustDomain] = bundle
        for (key, member) in self.members
        where bundle.trustDomain == self.trustDomain
            || member.federated[bundle.trustDomain] != nil
        {
            member.session.upsert(bundle)
            self.touch(key)
        }
    }

    mutating func bundleRemoved(_ trustDomain: TrustDomain) {
        self.bundles[trustDomain] = nil
        for (key, member) in self.members where member.federated[trustDomain] != nil {
            member.session.remove(trustDomain)
            self.touch(key)
        }
    }

    /// Gives a newer state to all agents, or, of a partner, to those whose entries federate with it.
    mutating func revocationsChanged(_ published: PublishedRevocations) {
        let trustDomain = published.trustDomain
        self.revocations[trustDomain] = published
        for (key, member) in self.members
        where trustDomain == self.trustDomain || member.federated[trustDomain] != nil {
            member.session.upsert(published)
            self.touch(key)
        }
    }

    /// Nothing is known of a partner's revocations any more.
    mutating func revocationsWithdrawn(of trustDomain: TrustDomain) {
        guard self.revocations.removeValue(forKey: trustDomain) != nil else { return }
        for (key, member) in self.members where member.federated[trustDomain] != nil {
            member.session.removeRevocations(of: trustDomain)
            self.touch(key)
        }
    }

    /// Wakes the sessions that have news.
    mutating func flush(seq: UInt64, entries: EntryIndex) {
        for key in self.touched {
            guard let member = self.members[key] else { continue }
            self.members[key]?.isTouched = false
            member.session.flush(seq: seq, digest: member.digest)
        }
        self.touched.removeAll(keepingCapacity: true)
    }

    // MARK: Inside

    /// Why an agent may have no session; nil when it may.
    private static func refusal(of node: AttestedNode?, id: SPIFFEID) -> ServerError? {
        guard let node else {
            return ServerError(
                .permissionDenied, "agent \(id) is not attested", agentReason: .notAttested)
        }
        guard node.isBanned else { return nil }
        return ServerError(.permissionDenied, "agent \(id) is banned", agentReason: .banned)
    }

    private func concerned(byParent path: String, entries: EntryIndex) -> Set<ObjectIdentifier> {
        if path == EntryIndex.serverPath { return [] }
        var result: Set<ObjectIdentifier> = []
        for above in entries.pathsAbove(parentPath: path) {
            if let keys = self.byPath[above] { result.formUnion(keys) }
        }
        return result
    }

    private mutating func give(_ entry: Entry, replacing old: Entry?, to key: ObjectIdentifier) {
        if let old { self.members[key]?.digest.toggle(old) }
        self.members[key]?.digest.toggle(entry)
        self.members[key]?.session.upsert(entry)
        if old?.federatesWith != entry.federatesWith {
            self.federate(entry, key)
            if let old { self.separate(old, key) }
        }
        self.touch(key)
    }

    private mutating func take(_ entry: Entry, from key: ObjectIdentifier) {
        self.members[key]?.digest.toggle(entry)
        self.members[key]?.session.remove(entry.id)
        self.separate(entry, key)
        self.touch(key)
    }

    /// Counts what an entry federates with, and gives the agent what is new to it. Where there is no bundle (yet), one
    /// that the agent may hold from an earlier session goes.
    private mutating func federate(_ entry: Entry, _ key: ObjectIdentifier) {
        for trustDomain in entry.federatesWith {
            let count = self.members[key]?.federated[trustDomain] ?? 0
            self.members[key]?.federated[trustDomain] = count + 1
            guard count == 0 else { continue }
            if let bundle = self.bundles[trustDomain] {
                self.members[key]?.session.upsert(bundle)
            } else {
                self.members[key]?.session.remove(trustDomain)
            }
            if let revocations = self.revocations[trustDomain] {
                self.members[key]?.session.upsert(revocations)
            }
        }
    }

    /// Takes from the agent the bundles that it had for this entry alone.
    private mutating func separate(_ entry: Entry, _ key: ObjectIdentifier) {
        for trustDomain in entry.federatesWith {
            guard let count = self.members[key]?.federated[trustDomain] else { continue }
            self.members[key]?.federated[trustDomain] = count > 1 ? count - 1 : nil
            guard count == 1, trustDomain != self.trustDomain else { continue }
            self.members[key]?.session.remove(trustDomain)
            self.members[key]?.session.removeRevocations(of: trustDomain)
        }
    }

    private mutating func reset(_ key: ObjectIdentifier, entries: EntryIndex, knownDigest: [UInt8])
    {
        guard let member = self.members[key] else { return }
        let authorized = entries.authorizedEntries(
            agentPath: member.agentPath, aliasPaths: member.aliasPaths
        ).map { self.groups.expanding($0, own: self.trustDomain) }
        var digest = EntryDigest()
        for entry in authorized { digest.toggle(entry) }
        self.members[key]?.digest = digest
        self.members[key]?.federated = [:]
        for entry in authorized where !entry.federatesWith.isEmpty { self.federate(entry, key) }
        let federated = self.members[key]?.federated ?? [:]
        for trustDomain in member.federated.keys
        where federated[trustDomain] == nil && trustDomain != self.trustDomain {
            member.session.remove(trustDomain)
            member.session.removeRevocations(of: trustDomain)
        }
        if knownDigest != digest.bytes { member.session.replaceAll(authorized) }
        self.touch(key)
    }

    /// - Returns: whether the alias paths have changed.
    @discardableResult
    private mutating func relinkAliases(_ key: ObjectIdentifier, entries: EntryIndex) -> Bool {
        guard let member = self.members[key] else { return false }
        let paths = entries.aliasPaths(nodeSelectors: member.nodeSelectors)
        guard paths != member.aliasPaths else { return false }
        for path in member.aliasPaths where path != member.agentPath {
            self.unlink(key, from: path)
        }
        for path in paths { self.byPath[path, default: []].insert(key) }
        self.members[key]?.aliasPaths = paths
        return true
    }

    private mutating func unlink(_ key: ObjectIdentifier, from path: String) {
        self.byPath[path]?.remove(key)
        if self.byPath[path]?.isEmpty == true { self.byPath[path] = nil }
    }

    private mutating func touch(_ key: ObjectIdentifier) {
        guard self.members[key]?.isTouched == false else { return }
        self.members[key]?.isTouched = true
        self.touched.append(key)
    }
}
