package import SPIFFE

/// All revocations, with the ways from an SVID, an entry or an agent to those that cover it.
///
/// A value without locks. Asking costs a few hash lookups, however many revocations there are; nothing when there
/// are none.
package struct RevocationIndex: Sendable {
    private var all: [String: Revocation] = [:]
    private var byTarget: [RevocationTarget: [String]] = [:]
    private var prefixes = PathTrie()
    /// How many there are of each kind; kinds that nobody uses cost no lookup.
    private var counts: [RevocationTarget.Kind: Int] = [:]
    private var below: Set<String> = []

    package init() {}

    package var isEmpty: Bool { self.all.isEmpty }
    package var count: Int { self.all.count }

    /// Those that cover entries below the ones that they name.
    package var coveringBelow: [Revocation] { self.below.compactMap { self.all[$0] } }

    // MARK: Changing

    package mutating func upsert(_ revocation: Revocation) {
        self.remove(id: revocation.id)
        self.all[revocation.id] = revocation
        self.counts[revocation.target.kind, default: 0] += 1
        if let prefix = Self.prefix(of: revocation) {
            self.prefixes.insert(revocation.id, at: prefix)
        } else {
            self.byTarget[revocation.target, default: []].append(revocation.id)
        }
        if revocation.coversEntriesBelow { self.below.insert(revocation.id) }
    }

    @discardableResult
    package mutating func remove(id: String) -> Revocation? {
        guard let old = self.all.removeValue(forKey: id) else { return nil }
        let count = self.counts[old.target.kind] ?? 0
        self.counts[old.target.kind] = count > 1 ? count - 1 : nil
        if let prefix = Self.prefix(of: old) {
            self.prefixes.remove(id, at: prefix)
        } else {
            // The oldest go first as a rule.
            if let place = self.byTarget[old.target]?.firstIndex(of: id) {
                self.byTarget[old.target]?.remove(at: place)
            }
            if self.byTarget[old.target]?.isEmpty == true { self.byTarget[old.target] = nil }
        }
        self.below.remove(id)
        return old
    }

    // MARK: Asking

    /// Those that are forgotten once all that they hit has expired, in no order.
    package var endingWithHits: [Revocation] {
        if self.counts[.workload] == nil { return [] }
        return self.all.values.filter(\.endsWithItsHits)
    }

    package func revocation(id: String) -> Revocation? { self.all[id] }

    /// All, the oldest first; those of one second by ID.
    package var ordered: [Revocation] { self.all.values.sorted(by: Self.isOlder) }

    /// Those that ended at or before that Unix time.
    package func expired(at now: Int64) -> [Revocation] {
        self.all.values.filter { !$0.isInForce(at: now) }
    }

    /// Everything that covers an SVID for that subject, replacements included, in force or not, in no order.
    ///
    /// - Parameters:
    ///   - serial: Lower-case hex without leading zeros; nil when there is none yet.
    ///   - jti: Nil when there is none.
    ///   - workloads: How many of the ends of the entry's workloads, the latest; there may be as many as live SVIDs.
    package func covering(
        _ subject: IssuanceSubject, serial: String? = nil, jti: String? = nil,
        workloads: Int = .max
    ) -> [Revocation] {
        if self.all.isEmpty { return [] }
        var ids = self.covering(subject.spiffeID)
        if let entryID = subject.entryID { ids += self.ids(.entryID) { .entryID(entryID) } }
        if let node = subject.node { ids += self.ids(.agentID) { .agentID(node) } }
        if self.counts[.selector] != nil {
            for selector in subject.selectors { ids += self.byTarget[.selector(selector)] ?? [] }
        }
        if workloads > 0, let entryID = subject.entryID, let node = subject.node {
            ids += self.ids(.workload) { .workload(entryID: entryID, agent: node) }
                .suffix(workloads)
        }
        ids += self.ids(.authorityID) { .authorityID(subject.authorityID) }
        if let serial { ids += self.ids(.serial) { .serial(serial) } }
        if let jti { ids += self.ids(.jti) { .jti(jti) } }
        return Set(ids).compactMap { self.all[$0] }
    }

    /// The oldest revocation in force that keeps an SVID for that subject from being issued.
    package func blocking(
        _ subject: IssuanceSubject, serial: String? = nil, jti: String? = nil, now: Int64
    ) -> Revocation? {
        if self.all.isEmpty { return nil }
        // The end of a workload blocks nothing.
        return Self.oldest(
            self.covering(subject, serial: serial, jti: jti, workloads: 0), now: now)
    }

    /// The oldest revocation in force that keeps SVIDs of the entry from being issued, by what the entry says alone.
    package func blocking(_ entry: Entry, now: Int64) -> Revocation? {
        if self.all.isEmpty { return nil }
        var ids = self.covering(entry.spiffeID)
        ids += self.ids(.entryID) { .entryID(entry.id) }
        if self.counts[.selector] != nil {
            for selector in entry.selectors { ids += self.byTarget[.selector(selector)] ?? [] }
        }
        return Self.oldest(ids.compactMap { self.all[$0] }, now: now)
    }

    /// The oldest revocation in force that keeps an agent out.
    ///
    /// - Parameter serial: of the agent's SVID; nil when it shows none.
    package func blocking(agent: SPIFFEID, serial: String? = nil, now: Int64) -> Revocation? {
        if self.all.isEmpty { return nil }
        var ids = self.covering(agent)
        if let serial { ids += self.ids(.serial) { .serial(serial) } }
        return Self.oldest(ids.compactMap { self.all[$0] }, now: now)
    }

    // MARK: Inside

    private func covering(_ id: SPIFFEID) -> [String] {
        var ids = self.ids(.spiffeID) { .spiffeID(id) } + self.ids(.agentID) { .agentID(id) }
        if !self.prefixes.isEmpty { ids += self.prefixes.values(above: id.path) }
        return ids
    }

    private func ids(
        _ kind: RevocationTarget.Kind, _ target: () -> RevocationTarget
    ) -> [String] {
        self.counts[kind] == nil ? [] : self.byTarget[target()] ?? []
    }

    private static func oldest(_ revocations: [Revocation], now: Int64) -> Revocation? {
        revocations.filter { $0.blocks && $0.isInForce(at: now) }.min(by: Self.isOlder)
    }

    private static func isOlder(_ left: Revocation, _ right: Revocation) -> Bool {
        (left.createdAt, left.id) < (right.createdAt, right.id)
    }

    /// The path whose whole subtree it covers; every ID that is asked for lies in the own trust domain.
    private static func prefix(of revocation: Revocation) -> String? {
        switch revocation.target {
        case .pathPrefix(let prefix): prefix
        case .spiffeID(let id) where revocation.andChildren: id.path
        default: nil
        }
    }
}
