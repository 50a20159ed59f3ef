package import SPIFFE

/// All entries in memory, with the ways through them that the server needs.
///
/// Fed by the change feed only; holds what the store holds as of `seq`. A value type without locks: the
/// ``Directory`` owns the one instance. The cost of a change is independent of the number of entries, also
/// when all of them have one parent.
package struct EntryIndex {
    private struct Slot {
        var packed: PackedEntry?
        /// Neighbours among the children of the same parent; `none` at the ends.
        var previous: UInt32
        var next: UInt32
    }

    private struct Parent {
        var path: String
        var firstChild: UInt32
        var count: Int
    }

    private static let none = UInt32.max

    package let trustDomain: TrustDomain
    private var slots: [Slot] = []
    private var free: [UInt32] = []
    private var byID = SlotTable()
    private var bySPIFFEPath = SlotTable()
    private var bySimilarity = SlotTable()
    private var parents: [Parent] = []
    private var freeParents: [UInt32] = []
    private var parentNumbers: [String: UInt32] = [:]
    private var dictionary = PackedEntry.Dictionary()
    /// Paths of SPIFFE IDs of entries with `admin`, with the number of such entries.
    private var adminPaths: [String: Int] = [:]
    private var downstreamPaths: [String: Int] = [:]
    /// Entries that expire, by slot, in Unix seconds.
    private var expiries: [UInt32: Int64] = [:]
    /// XOR of all entries' digests.
    package private(set) var digest = EntryDigest()
    package private(set) var count = 0
    /// Entries that a revocation keeps from the agents, by ID, with that revocation's ID.
    private(set) var blocked: [String: String] = [:]

    package init(trustDomain: TrustDomain) { self.trustDomain = trustDomain }

    // MARK: Changing

    /// Enters an entry, or replaces the one with its ID.
    ///
    /// - Returns: the entry that was replaced.
    @discardableResult
    package mutating func upsert(_ entry: Entry) -> Entry? {
        let old = self.remove(id: entry.id)
        let parent = self.parentNumber(for: entry.parentID.path)
        let packed = PackedEntry(entry, parent: parent, dictionary: &self.dictionary)
        let slot: UInt32
        if let reused = self.free.popLast() {
            slot = reused
        } else {
            slot = UInt32(self.slots.count)
            self.slots.append(Slot(packed: nil, previous: Self.none, next: Self.none))
        }
        let first = self.parents[Int(parent)].firstChild
        self.slots[Int(slot)] = Slot(packed: packed, previous: Self.none, next: first)
        if first != Self.none { self.slots[Int(first)].previous = slot }
        self.parents[Int(parent)].firstChild = slot
        self.parents[Int(parent)].count += 1
        let path = entry.spiffeID.path
        self.byID.insert(slot, hash: SlotTable.hash(entry.id))
        self.bySPIFFEPath.insert(slot, hash: SlotTable.hash(path))
        self.bySimilarity.insert(slot, hash: Self.similarityHash(entry))
        if entry.admin { self.adminPaths[path, default: 0] += 1 }
        if entry.downstream { self.downstreamPaths[path, default: 0] += 1 }
        if entry.expiresAt > 0 { self.expiries[slot] = entry.expiresAt }
        self.digest.toggle(entry)
        self.count += 1
        return old
    }

    /// Takes an entry out.
    ///
    /// - Returns: the entry, or nil when there was none.
    @discardableResult
    package mutating func remove(id: String) -> Entry? {
        guard let slot = self.slot(forID: id), let entry = self.entry(at: slot),
            let packed = self.slots[Int(slot)].packed
        else { return nil }
        let path = entry.spiffeID.path
        let links = self.slots[Int(slot)]
        let parent = Int(packed.parent)
        if links.previous == Self.none {
            self.parents[parent].firstChild = links.next
        } else {
            self.slots[Int(links.previous)].next = links.next
        }
        if links.next != Self.none { self.slots[Int(links.next)].previous = links.previous }
        self.parents[parent].count -= 1
        if self.parents[parent].count == 0 {
            self.parentNumbers[self.parents[parent].path] = nil
            self.parents[parent].path = ""
            self.freeParents.append(UInt32(parent))
        }
        self.byID.remove(slot, hash: SlotTable.hash(entry.id))
        self.bySPIFFEPath.remove(slot, hash: SlotTable.hash(path))
        self.bySimilarity.remove(slot, hash: Self.similarityHash(entry))
        if entry.admin { Self.decrement(&self.adminPaths, path) }
        if entry.downstream { Self.decrement(&self.downstreamPaths, path) }
        self.expiries[slot] = nil
        self.slots[Int(slot)].packed = nil
        self.free.append(slot)
        self.digest.toggle(entry)
        self.count -= 1
        self.blocked[id] = nil
        return entry
    }

    /// Marks an entry as kept from the agents by that revocation; nil: by none.
    mutating func setBlocked(_ id: String, by revocationID: String?) {
        self.blocked[id] = revocationID
    }

    // MARK: Asking

    /// The entry with that ID.
    package func entry(id: String) -> Entry? { self.slot(forID: id).flatMap(self.entry(at:)) }

    /// The entry with the same SPIFFE ID, parent and exact set of selectors.
    package func similar(to entry: Entry) -> Entry? {
        var found: Entry?
        _ = self.bySimilarity.first(hash: Self.similarityHash(entry)) { slot in
            guard let other = self.entry(at: slot), other.spiffeID == entry.spiffeID,
                other.parentID == entry.parentID, other.selectors == entry.selectors
            else { return false }
            found = other
            return true
        }
        return found
    }

    /// Whether some entry gives that SPIFFE ID admin rights.
    package func isAdmin(_ id: SPIFFEID) -> Bool {
        id.isMember(of: self.trustDomain) && self.adminPaths[id.path] != nil
    }

    /// Whether some entry gives that SPIFFE ID downstream rights.
    package func isDownstream(_ id: SPIFFEID) -> Bool {
        id.isMember(of: self.trustDomain) && self.downstreamPaths[id.path] != nil
    }

    /// IDs of the entries that expired at or before that Unix time.
    package func expired(at now: Int64) -> [String] {
        self.expiries.compactMap { slot, expiry in
            expiry <= now ? self.slots[Int(slot)].packed?.id : nil
        }
    }

    /// Whether some entry's parent has that path.
    package func hasChildren(path: String) -> Bool { self.parentNumbers[path] != nil }

    /// Calls `body` for each child of the parent with that path.
    package func forEachChild(ofPath path: String, _ body: (Entry) -> Void) {
        guard let number = self.parentNumbers[path] else { return }
        var slot = self.parents[Int(number)].firstChild
        while slot != Self.none {
            if let entry = self.entry(at: slot) { body(entry) }
            slot = self.slots[Int(slot)].next
        }
    }

    /// Paths of the parents of the entries whose SPIFFE ID has that path.
    package func parentPaths(ofSPIFFEPath path: String) -> [String] {
        var result: [String] = []
        self.bySPIFFEPath.forEach(hash: SlotTable.hash(path)) { slot in
            guard let packed = self.slots[Int(slot)].packed, packed.hasSPIFFEPath(path) else {
                return
            }
            result.append(self.parents[Int(packed.parent)].path)
        }
        return result
    }

    /// Calls `body` for each entry whose SPIFFE ID has that path.
    package func forEach(spiffePath path: String, _ body: (Entry) -> Void) {
        self.bySPIFFEPath.forEach(hash: SlotTable.hash(path)) { slot in
            guard let packed = self.slots[Int(slot)].packed, packed.hasSPIFFEPath(path),
                let entry = self.entry(at: slot)
            else { return }
            body(entry)
        }
    }

    /// Goes through all entries in slot order, starting at slot `start`.
    ///
    /// - Parameter body: gets the slot number; returns false to stop.
    package func scan(from start: Int = 0, _ body: (Int, Entry) -> Bool) {
        for index in self.slots.indices.dropFirst(max(0, start)) {
            guard let entry = self.entry(at: UInt32(index)) else { continue }
            if !body(index, entry) { return }
        }
    }

    /// Calls `body` for each entry whose SPIFFE ID's path is that one or below it by whole segments.
    package func forEach(spiffePathAtOrBelow prefix: String, _ body: (Entry) -> Void) {
        for (index, slot) in self.slots.enumerated() {
            guard let packed = slot.packed, packed.hasSPIFFEPath(atOrBelow: prefix),
                let entry = self.entry(at: UInt32(index))
            else { continue }
            body(entry)
        }
    }

    /// Calls `body` for each entry that has the selector.
    package func forEach(selector: Selector, _ body: (Entry) -> Void) {
        for (index, slot) in self.slots.enumerated() {
            guard let packed = slot.packed, packed.has(selector, dictionary: self.dictionary),
                let entry = self.entry(at: UInt32(index))
            else { continue }
            body(entry)
        }
    }

    // MARK: Inside

    private func entry(at slot: UInt32) -> Entry? {
        guard let packed = self.slots[Int(slot)].packed else { return nil }
        return packed.unpack(
            trustDomain: self.trustDomain, parentPath: self.parents[Int(packed.parent)].path,
            dictionary: self.dictionary)
    }

    private func slot(forID id: String) -> UInt32? {
        self.byID.first(hash: SlotTable.hash(id)) { slot in
            self.slots[Int(slot)].packed?.hasID(id) ?? false
        }
    }

    private mutating func parentNumber(for path: String) -> UInt32 {
        if let number = self.parentNumbers[path] { return number }
        let parent = Parent(path: path, firstChild: Self.none, count: 0)
        let number: UInt32
        if let reused = self.freeParents.popLast() {
            number = reused
            self.parents[Int(number)] = parent
        } else {
            number = UInt32(self.parents.count)
            self.parents.append(parent)
        }
        self.parentNumbers[path] = number
        return number
    }

    private static func decrement(_ counts: inout [String: Int], _ key: String) {
        counts[key] = counts[key].flatMap { $0 > 1 ? $0 - 1 : nil }
    }

    private static func similarityHash(_ entry: Entry) -> UInt32 {
        var hasher = Hasher()
        hasher.combine(entry.spiffeID.string)
        hasher.combine(entry.parentID.string)
        for selector in entry.selectors {
            hasher.combine(selector.type)
            hasher.combine(selector.value)
        }
        return UInt32(truncatingIfNeeded: hasher.finalize())
    }
}
