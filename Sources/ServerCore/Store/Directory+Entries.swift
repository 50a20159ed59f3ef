import NIOConcurrencyHelpers
package import SPIFFE

// Entries and nodes, and which of them belong together.
extension Directory {
    /// Runs `body` with the entries under the lock; it must be short.
    package func withEntries<Result>(_ body: (EntryIndex) throws -> Result) rethrows -> Result {
        try self.state.withLockedValue { try body($0.entries) }
    }

    /// The digest of all entries and the position in the feed it belongs to.
    package var entryDigest: (digest: EntryDigest, seq: UInt64) {
        self.state.withLockedValue { ($0.entries.digest, $0.seq) }
    }

    /// The number of the change feed's last row that the directory has applied; 0 before the first.
    package var seq: UInt64 { self.state.withLockedValue { $0.seq } }

    /// The attested node with that agent ID, banned ones included; nil when there is none.
    package func node(_ id: SPIFFEID) -> AttestedNode? {
        self.state.withLockedValue { $0.nodes[id] }
    }

    /// All nodes, ordered by ID.
    package var nodes: [AttestedNode] {
        self.state.withLockedValue { Array($0.nodes.values) }.sorted { $0.id < $1.id }
    }

    /// The entry, if it exists and the agent may have SVIDs of it. A revoked one is given too: issuance refuses it, and says
    /// why.
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
}
