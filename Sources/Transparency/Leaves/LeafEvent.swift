package import SPIFFE

/// What a leaf is about.
package enum LeafEvent: Hashable, Sendable {
    /// `svid.issued`
    case svidIssued(SVIDIssuedLeaf)
    /// `svid.refused`
    case svidRefused(SVIDRefusedLeaf)
    /// `revocation.created`
    case revocationCreated(RevocationCreatedLeaf)
    /// `revocation.lifted`
    case revocationLifted(RevocationLiftedLeaf)
    /// `node.attested` and its like
    case node(NodeLeaf)
    /// `entry.created` and its like
    case change(ChangeLeaf)
    /// `admin.call`
    case adminCall(AdminCallLeaf)
    /// `custody.recorded`
    case custodyRecorded(CustodyLeaf)
    /// A type that is not known here, with all members of the leaf but `v`, `type` and `time`.
    case other(type: String, members: [String: JSONValue])

    /// The value of the member `type`.
    package var type: String {
        switch self {
        case .svidIssued: SVIDIssuedLeaf.type
        case .svidRefused: "svid.refused"
        case .revocationCreated: "revocation.created"
        case .revocationLifted: "revocation.lifted"
        case .node(let leaf): "node.\(leaf.action.rawValue)"
        case .change(let leaf): "\(leaf.kind.rawValue).\(leaf.action.rawValue)"
        case .adminCall: "admin.call"
        case .custodyRecorded: "custody.recorded"
        case .other(let type, _): type
        }
    }

    /// The members beside `v`, `type` and `time`.
    package var members: [(String, JSONValue)] {
        if case .other(_, let members) = self { return members.map { ($0.key, $0.value) } }
        return self.fields?.members ?? []
    }

    /// The same in the form in which they are written; nil for types that are not known here.
    var fields: LeafFields? {
        switch self {
        case .svidIssued(let leaf): leaf.fields
        case .svidRefused(let leaf): leaf.fields
        case .revocationCreated(let leaf): leaf.fields
        case .revocationLifted(let leaf): leaf.fields
        case .node(let leaf): leaf.fields
        case .change(let leaf): leaf.fields
        case .adminCall(let leaf): leaf.fields
        case .custodyRecorded(let leaf): leaf.fields
        case .other: nil
        }
    }

    /// The event of a leaf with this type and these members.
    init(type: String, members: [String: JSONValue]) {
        do throws(LeafReader.Missing) {
            self = try Self.known(type, LeafReader(members: members))
        } catch {
            var rest = members
            for name in ["v", "type", "time"] { rest[name] = nil }
            self = .other(type: type, members: rest)
        }
    }

    private static func known(
        _ type: String, _ reader: LeafReader
    ) throws(LeafReader.Missing) -> LeafEvent {
        switch type {
        case SVIDIssuedLeaf.type: return .svidIssued(try SVIDIssuedLeaf(reader))
        case "svid.refused": return .svidRefused(try SVIDRefusedLeaf(reader))
        case "revocation.created": return .revocationCreated(try RevocationCreatedLeaf(reader))
        case "revocation.lifted": return .revocationLifted(try RevocationLiftedLeaf(reader))
        case "admin.call": return .adminCall(try AdminCallLeaf(reader))
        case "custody.recorded": return .custodyRecorded(try CustodyLeaf(reader))
        default: break
        }
        let halves = type.split(separator: ".", maxSplits: 1, omittingEmptySubsequences: false)
        guard halves.count == 2 else { throw LeafReader.Missing() }
        if halves[0] == "node", let action = NodeLeaf.Action(rawValue: String(halves[1])) {
            return .node(try NodeLeaf(action, reader))
        }
        guard let kind = ChangeLeaf.Kind(rawValue: String(halves[0])),
            let action = ChangeLeaf.Action(rawValue: String(halves[1]))
        else { throw LeafReader.Missing() }
        return .change(try ChangeLeaf(kind, action, reader))
    }
}
