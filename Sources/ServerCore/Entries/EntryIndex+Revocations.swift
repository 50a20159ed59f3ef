import SPIFFE

/// Which entries revocations cover, and which of them keep an entry from the agents.
///
/// A revoked entry stays in the index and in the graph of parents; only agents no longer have it. When several revocations block an
/// entry, one of them is noted; when that one ends, the others are looked for.
extension EntryIndex {
    func isBlocked(id: String) -> Bool { !self.blocked.isEmpty && self.blocked[id] != nil }

    /// The ID of a revocation that keeps the entry from the agents.
    func blocker(of id: String) -> String? { self.blocked[id] }

    /// The entries that a revocation covers, those below included, in no order.
    package func covered(by revocation: Revocation) -> [Entry] {
        var result: [String: Entry] = [:]
        func add(_ entry: Entry) { result[entry.id] = entry }
        switch revocation.target {
        case .spiffeID(let id):
            if revocation.andChildren {
                self.forEach(spiffePathAtOrBelow: id.path, add)
            } else {
                self.forEach(spiffePath: id.path, add)
            }
        case .pathPrefix(let prefix): self.forEach(spiffePathAtOrBelow: prefix, add)
        case .entryID(let id): if let entry = self.entry(id: id) { add(entry) }
        case .selector(let selector): self.forEach(selector: selector, add)
        case .agentID, .serial, .jti, .authorityID, .workload: break
        }
        guard revocation.coversEntriesBelow else { return Array(result.values) }
        for entry in self.entries(below: revocation, roots: Array(result.values)) { add(entry) }
        return Array(result.values)
    }

    /// The entries below those that a revocation names.
    private func entries(below revocation: Revocation, roots: [Entry]) -> [Entry] {
        var frontier = Set(roots.map(\.spiffeID.path))
        if case .agentID(let id) = revocation.target { frontier.insert(id.path) }
        var seen = frontier
        var result: [Entry] = []
        while let path = frontier.popFirst() {
            self.forEachChild(ofPath: path) { entry in
                result.append(entry)
                if seen.insert(entry.spiffeID.path).inserted {
                    frontier.insert(entry.spiffeID.path)
                }
            }
        }
        return result
    }

    /// Keeps what the revocation covers from the agents.
    ///
    /// - Returns: the entries that were theirs until now.
    mutating func block(_ revocation: Revocation) -> [Entry] {
        let fresh = self.covered(by: revocation).filter { self.blocked[$0.id] == nil }
        for entry in fresh { self.setBlocked(entry.id, by: revocation.id) }
        return fresh
    }

    /// Ends what a revocation blocked, where no other does.
    ///
    /// - Parameter revocations: without that one.
    /// - Returns: the entries that are the agents' again.
    mutating func unblock(
        revocation id: String, _ revocations: RevocationIndex, now: Int64
    ) -> [Entry] {
        let candidates = self.blocked.filter { $0.value == id }.keys
        guard !candidates.isEmpty else { return [] }
        let below = self.blockedBelow(revocations, now: now)
        var freed: [Entry] = []
        for entryID in candidates {
            guard let entry = self.entry(id: entryID) else { continue }
            let other = revocations.blocking(entry, now: now)?.id ?? below[entryID]
            self.setBlocked(entryID, by: other)
            if other == nil { freed.append(entry) }
        }
        return freed
    }

    /// Looks anew whether an entry that was just written is blocked by what it says.
    ///
    /// - Returns: whether it is.
    mutating func reviewBlock(
        _ entry: Entry, _ revocations: RevocationIndex, now: Int64
    ) -> Bool {
        if revocations.isEmpty { return false }
        let blocker = revocations.blocking(entry, now: now)?.id
        self.setBlocked(entry.id, by: blocker)
        return blocker != nil
    }

    /// Looks anew which entries are blocked because they are below others, after the graph has changed.
    ///
    /// - Returns: the entries that are no longer the agents', and those that are again.
    mutating func reviewBelow(
        _ revocations: RevocationIndex, now: Int64
    ) -> (blocked: [Entry], freed: [Entry]) {
        let below = self.blockedBelow(revocations, now: now)
        var blocked: [Entry] = []
        var freed: [Entry] = []
        for (id, revocationID) in below where self.blocked[id] == nil {
            guard let entry = self.entry(id: id) else { continue }
            self.setBlocked(id, by: revocationID)
            blocked.append(entry)
        }
        let coveringBelow = Set(revocations.coveringBelow.map(\.id))
        for (id, revocationID) in self.blocked
        where coveringBelow.contains(revocationID) && below[id] == nil {
            guard let entry = self.entry(id: id) else { continue }
            let other = revocations.blocking(entry, now: now)?.id
            self.setBlocked(id, by: other)
            if other == nil { freed.append(entry) }
        }
        return (blocked, freed)
    }

    private func blockedBelow(_ revocations: RevocationIndex, now: Int64) -> [String: String] {
        var result: [String: String] = [:]
        for revocation in revocations.coveringBelow
        where revocation.blocks && revocation.isInForce(at: now) {
            for entry in self.covered(by: revocation) { result[entry.id] = revocation.id }
        }
        return result
    }
}
