package import SPIFFE

/// Whom a revocation hits. Valid by construction when it comes from ``init(type:value:trustDomain:)``.
package enum RevocationTarget: Sendable, Hashable {
    /// One SPIFFE ID.
    case spiffeID(SPIFFEID)
    /// SPIFFE IDs of the own trust domain whose path begins with these whole segments; without a slash at the end.
    case pathPrefix(String)
    /// What is issued for one registration entry.
    case entryID(String)
    /// One X509-SVID, by its serial number in lower-case hex without leading zeros.
    case serial(String)
    /// One JWT- or WIT-SVID, by its `jti`.
    case jti(String)
    /// An agent: its own SVID, and all that was issued through it.
    case agentID(SPIFFEID)
    /// What is issued for entries that have this selector.
    case selector(Selector)
    /// What one authority signs.
    case authorityID(String)
    /// What an agent obtained for one entry: the server itself makes these, when a workload's process has ended.
    case workload(entryID: String, agent: SPIFFEID)

    /// The kinds, as ledgers and the store name them.
    package enum Kind: String, Sendable, CaseIterable {
        case spiffeID = "spiffe_id"
        case pathPrefix = "path_prefix"
        case entryID = "entry_id"
        case serial, jti
        case agentID = "agent_id"
        case selector
        case authorityID = "authority_id"
        case workload
    }

    package var kind: Kind {
        switch self {
        case .spiffeID: .spiffeID
        case .pathPrefix: .pathPrefix
        case .entryID: .entryID
        case .serial: .serial
        case .jti: .jti
        case .agentID: .agentID
        case .selector: .selector
        case .authorityID: .authorityID
        case .workload: .workload
        }
    }

    /// The target in words, without its kind.
    package var value: String {
        switch self {
        case .spiffeID(let id), .agentID(let id): id.string
        case .pathPrefix(let text), .entryID(let text), .serial(let text), .jti(let text),
            .authorityID(let text):
            text
        case .selector(let selector): selector.description
        // Neither has an @ in it.
        case .workload(let entryID, let agent): "\(entryID)@\(agent)"
        }
    }

    /// Whether something can descend from the target.
    package var hasDescendants: Bool {
        switch self {
        case .spiffeID, .pathPrefix, .entryID, .agentID, .selector: true
        case .serial, .jti, .authorityID, .workload: false
        }
    }

    /// Parses a target.
    ///
    /// - Parameter value: IDs whole; a prefix such as `/agents/pumps`; a serial number in lower-case hex without
    ///   leading zeros; a selector as `type:value`; a workload as `entry@agent`.
    /// - Throws: ``ServerError`` `invalidArgument` with what would be accepted.
    package init(type kind: Kind, value: String, trustDomain: TrustDomain) throws(ServerError) {
        switch kind {
        case .spiffeID:
            let id = try Self.id(value, "spiffe_id", trustDomain)
            self = .spiffeID(id)
        case .pathPrefix:
            guard value.utf8.first == UInt8(ascii: "/"), value.utf8.count > 1,
                (try? SPIFFEID(trustDomain: trustDomain, path: value)) != nil
            else {
                throw Self.refused(
                    "path_prefix", value, "expected whole segments such as \"/agents/pumps\"")
            }
            self = .pathPrefix(value)
        case .entryID:
            try Self.checkText(value, "entry_id", limit: 255)
            self = .entryID(value)
        case .serial:
            let isHex = value.utf8.allSatisfy {
                (0x30...0x39).contains($0) || (0x61...0x66).contains($0)
            }
            guard isHex, (1...40).contains(value.utf8.count), value.utf8.first != 0x30 else {
                throw Self.refused(
                    "serial", value,
                    "expected lower-case hex without leading zeros, at most 40 digits"
                )
            }
            self = .serial(value)
        case .jti:
            try Self.checkText(value, "jti", limit: 255)
            self = .jti(value)
        case .agentID:
            self = .agentID(try Self.agent(value, trustDomain))
        case .selector:
            do { self = .selector(try Selector(value)) } catch {
                throw ServerError(.invalidArgument, "selector refused: \(error)")
            }
        case .authorityID:
            try Self.checkText(value, "authority_id", limit: 255)
            self = .authorityID(value)
        case .workload:
            let parts = value.split(separator: "@", maxSplits: 1, omittingEmptySubsequences: false)
            guard parts.count == 2 else {
                throw Self.refused("workload", value, "expected an entry's ID, @ and an agent's ID")
            }
            try Self.checkText(String(parts[0]), "entry_id", limit: 255)
            self = .workload(
                entryID: String(parts[0]), agent: try Self.agent(String(parts[1]), trustDomain))
        }
        try self.checkServer()
    }

    /// The server's own SVID is no target: without it nobody could lift a revocation, and agents no longer know their
    /// server.
    private func checkServer() throws(ServerError) {
        let path: String
        switch self {
        case .spiffeID(let id): path = id.path
        case .pathPrefix(let prefix): path = prefix
        default: return
        }
        guard Revocation.path(EntryIndex.serverPath, isAtOrBelow: path) else { return }
        throw Self.refused(
            self.kind.rawValue, self.value,
            "it would hit the server's own SVID; replace that with \"localauthority\"")
    }

    private static func agent(
        _ text: String, _ trustDomain: TrustDomain
    ) throws(ServerError) -> SPIFFEID {
        let id = try Self.id(text, "agent_id", trustDomain)
        guard id.path.hasPrefix("/spire/agent/") else {
            throw Self.refused(
                "agent_id", text,
                "expected an ID below /spire/agent/; \"agent list\" shows them")
        }
        return id
    }

    private static func id(
        _ text: String, _ field: String, _ trustDomain: TrustDomain
    ) throws(ServerError) -> SPIFFEID {
        let id: SPIFFEID
        do { id = try SPIFFEID(text) } catch {
            throw ServerError(.invalidArgument, "\(field) refused: \(error)")
        }
        guard id.isMember(of: trustDomain) else {
            throw Self.refused(
                field, text, "expected an ID of the trust domain \(quoted(trustDomain.name))")
        }
        guard !id.hasEmptyPath else {
            throw Self.refused(field, text, "expected an ID with a path")
        }
        return id
    }

    private static func checkText(
        _ text: String, _ field: String, limit: Int
    ) throws(ServerError) {
        guard (1...limit).contains(text.utf8.count),
            text.utf8.allSatisfy({ (0x21...0x7E).contains($0) })
        else {
            throw Self.refused(field, text, "expected 1 to \(limit) printable characters of ASCII")
        }
    }

    private static func refused(_ field: String, _ value: String, _ why: String) -> ServerError {
        ServerError(.invalidArgument, "\(field) \(quoted(value)) refused: \(why)")
    }
}
