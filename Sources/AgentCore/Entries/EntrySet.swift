package import SPIFFE

/// The entries this agent is authorised for, arranged so that finding a workload's entries costs
/// only what concerns that workload.
///
/// Each entry is filed under one of its selectors, the one that the fewest entries were filed under
/// when it came. A workload that matches the entry has that selector too, so looking under each of
/// its selectors finds every entry that can match.
package struct EntrySet: Sendable {
    /// What an update did.
    package struct Difference: Sendable {
        /// Entries that are gone.
        package var removed: [AuthorizedEntry] = []
        /// Entries that are new or have changed, with what they were.
        package var upserted: [(old: AuthorizedEntry?, new: AuthorizedEntry)] = []

        package var isEmpty: Bool { self.removed.isEmpty && self.upserted.isEmpty }
    }

    private struct Filed: Sendable {
        var entry: AuthorizedEntry
        var anchor: Selector
    }

    private var filed: [String: Filed] = [:]
    private var anchors: [Selector: [String]] = [:]
    /// The digest of the set; equal to the server's when nothing was missed.
    package private(set) var digest = EntryDigest()

    package init() {}

    package var count: Int { self.filed.count }
    package var ids: some Collection<String> { self.filed.keys }

    /// Trust domains that any entry federates with. Looks at all entries.
    package var federatedTrustDomains: Set<TrustDomain> {
        Set(self.filed.values.lazy.flatMap(\.entry.federatesWith))
    }

    package subscript(id id: String) -> AuthorizedEntry? { self.filed[id]?.entry }

    /// Applies a change and says what is different now. Entries without selectors are ignored: they
    /// would match every process.
    package mutating func apply(_ change: EntryChange) -> Difference {
        var difference = Difference()
        if change.isSnapshot {
            let kept = Set(change.upserted.lazy.map(\.id))
            for id in Array(self.filed.keys) where !kept.contains(id) {
                if let removed = self.remove(id) { difference.removed.append(removed) }
            }
        }
        for id in change.removedIDs {
            if let removed = self.remove(id) { difference.removed.append(removed) }
        }
        for entry in change.upserted {
            let old = self.filed[entry.id]?.entry
            if old == entry { continue }
            if entry.selectors.isEmpty {
                if let removed = self.remove(entry.id) { difference.removed.append(removed) }
                continue
            }
            _ = self.remove(entry.id)
            self.insert(entry)
            difference.upserted.append((old, entry))
        }
        return difference
    }

    /// All entries whose selectors are a subset of the given ones, in the order of delivery.
    package func matches(_ selectors: Set<Selector>) -> [AuthorizedEntry] {
        var found: [AuthorizedEntry] = []
        for selector in selectors {
            guard let ids = self.anchors[selector] else { continue }
            for id in ids {
                guard let entry = self.filed[id]?.entry else { continue }
                if entry.selectors.allSatisfy({ $0 == selector || selectors.contains($0) }) {
                    found.append(entry)
                }
            }
        }
        if found.count > 1 { found.sort(by: AuthorizedEntry.precedes) }
        return found
    }

    private mutating func insert(_ entry: AuthorizedEntry) {
        var anchor = entry.selectors[0]
        var least = Int.max
        for selector in entry.selectors {
            let count = self.anchors[selector]?.count ?? 0
            if count < least {
                least = count
                anchor = selector
            }
        }
        self.anchors[anchor, default: []].append(entry.id)
        self.filed[entry.id] = Filed(entry: entry, anchor: anchor)
        self.digest.toggle(entry)
    }

    private mutating func remove(_ id: String) -> AuthorizedEntry? {
        guard let old = self.filed.removeValue(forKey: id) else { return nil }
        self.digest.toggle(old.entry)
        if var ids = self.anchors.removeValue(forKey: old.anchor) {
            if let index = ids.firstIndex(of: id) {
                ids.swapAt(index, ids.count - 1)
                ids.removeLast()
            }
            if !ids.isEmpty { self.anchors[old.anchor] = ids }
        }
        return old.entry
    }
}

extension EntrySet {
    /// The entry that came closest to matching, and what it lacked.
    package struct NearMiss: Hashable, Sendable {
        package let entryID: String
        package let spiffeID: SPIFFEID
        /// The entry's selectors that the workload does not have.
        package let missing: [Selector]
    }

    /// Looks for the entry that lacks the fewest selectors, among at most `limit` entries: for the
    /// log of a refusal, never for a decision. Nil when none shares a selector with the workload.
    package func nearest(to selectors: Set<Selector>, limit: Int = 10_000) -> NearMiss? {
        var best: NearMiss?
        for filed in self.filed.values.prefix(limit) {
            let missing = filed.entry.selectors.filter { !selectors.contains($0) }
            if missing.count == filed.entry.selectors.count || missing.isEmpty { continue }
            if let best, (best.missing.count, best.entryID) <= (missing.count, filed.entry.id) {
                continue
            }
            best = NearMiss(
                entryID: filed.entry.id, spiffeID: filed.entry.spiffeID, missing: missing)
        }
        return best
    }

    /// What SPIRE's sparse synchronisation has to ask for, given the revisions of all entries.
    ///
    /// - Returns: IDs of entries that are new or changed, sorted; and the ones that are gone.
    package func outdated(
        against revisions: [(id: String, revision: Int64, createdAt: Int64)]
    ) -> (needed: [String], removed: [String]) {
        var needed: [String] = []
        var seen = Set<String>()
        for revision in revisions where seen.insert(revision.id).inserted {
            guard let held = self.filed[revision.id]?.entry else {
                needed.append(revision.id)
                continue
            }
            if held.revision != revision.revision
                || (revision.createdAt != 0 && held.createdAt != revision.createdAt)
            {
                needed.append(revision.id)
            }
        }
        return (needed.sorted(), self.filed.keys.filter { !seen.contains($0) })
    }
}
