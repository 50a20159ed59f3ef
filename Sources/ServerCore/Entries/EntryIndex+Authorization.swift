package import SPIFFE

/// Which entries an agent is authorised for.
///
/// The authorised set of an agent is: entries whose parent is the agent's ID or the SPIFFE ID of a node alias
/// that matches the node's selectors, and, again and again, entries whose parent is the SPIFFE ID of an entry
/// of the set. A node alias is an entry whose parent is the server; it is not in the set itself.
extension EntryIndex {
    /// The path of the parent of node aliases.
    package static let serverPath = "/spire/server"

    /// Paths of the node aliases that cover a node with these selectors.
    package func aliasPaths(nodeSelectors: Set<Selector>) -> Set<String> {
        var result: Set<String> = []
        if nodeSelectors.isEmpty { return result }
        self.forEachChild(ofPath: Self.serverPath) { alias in
            if alias.selectors.allSatisfy(nodeSelectors.contains) {
                result.insert(alias.spiffeID.path)
            }
        }
        return result
    }

    /// The agent's authorised entries without those that a revocation keeps from it, in no order.
    ///
    /// - Parameter agentPath: Path of the agent's ID, such as `/spire/agent/join_token/…`.
    package func authorizedEntries(agentPath: String, aliasPaths: Set<String>) -> [Entry] {
        var result: [Entry] = []
        var seen: Set<String> = [agentPath]
        var frontier = [agentPath]
        for alias in aliasPaths where seen.insert(alias).inserted { frontier.append(alias) }
        while let path = frontier.popLast() {
            self.forEachChild(ofPath: path) { entry in
                if self.blocked.isEmpty || self.blocked[entry.id] == nil { result.append(entry) }
                let childPath = entry.spiffeID.path
                if self.hasChildren(path: childPath), seen.insert(childPath).inserted {
                    frontier.append(childPath)
                }
            }
        }
        return result
    }

    /// Every path from which an entry with that parent can be reached: the parent, the parents of the entries
    /// with that SPIFFE ID, and so on. An agent is authorised for the entry when its own path or one of its
    /// alias paths is among them.
    package func pathsAbove(parentPath: String) -> Set<String> {
        var seen: Set<String> = [parentPath]
        var frontier = [parentPath]
        while let path = frontier.popLast() {
            for above in self.parentPaths(ofSPIFFEPath: path)
            where above != Self.serverPath && seen.insert(above).inserted {
                frontier.append(above)
            }
        }
        return seen
    }

    /// Whether the agent may have SVIDs of the entry.
    package func isAuthorized(_ entry: Entry, agentPath: String, aliasPaths: Set<String>) -> Bool {
        let parentPath = entry.parentID.path
        if parentPath == agentPath || aliasPaths.contains(parentPath) { return true }
        if parentPath == Self.serverPath { return false }
        let above = self.pathsAbove(parentPath: parentPath)
        return above.contains(agentPath) || !above.isDisjoint(with: aliasPaths)
    }
}
