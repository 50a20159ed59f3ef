package import SPIFFE

/// Names for sets of trust domains, so that entries federate with "the city" instead of a list that somebody has to
/// keep up to date in each of them.
///
/// A group is written as `group:<name>` where a trust domain may stand. No trust domain has a colon, so neither is
/// ever taken for the other.
package struct TrustDomainGroups: Sendable, Hashable {
    /// What a reference to a group begins with.
    package static let prefix = "group:"
    /// The most groups, and the most members of one.
    package static let maximumCount = 1_000

    /// No groups at all.
    package static let none = TrustDomainGroups(checked: [:])

    private let members: [String: Set<TrustDomain>]

    private init(checked: [String: Set<TrustDomain>]) { self.members = checked }

    /// - Throws: ``ServerError`` `invalidArgument` for a name that is not made of `a-z 0-9 - _ .`, at most 63, or too
    ///   many groups or members.
    package init(_ groups: [String: Set<TrustDomain>] = [:]) throws(ServerError) {
        guard groups.count <= Self.maximumCount else {
            throw ServerError(
                .invalidArgument, "\(groups.count) groups; at most \(Self.maximumCount)")
        }
        for (name, members) in groups {
            try Self.check(name)
            guard members.count <= Self.maximumCount else {
                throw ServerError(
                    .invalidArgument,
                    "group \(quoted(name)) has \(members.count) trust domains; at most "
                        + "\(Self.maximumCount)")
            }
        }
        self.members = groups
    }

    /// The names, in order.
    package var names: [String] { self.members.keys.sorted() }

    /// The trust domains that a list of names and groups means, each once, in order, without `own`.
    ///
    /// - Throws: ``ServerError`` `invalidArgument` for what is neither a trust domain nor a group that exists.
    package func expand(
        _ references: [String], without own: TrustDomain
    ) throws(ServerError) -> [TrustDomain] {
        var found: Set<TrustDomain> = []
        for reference in references {
            if reference.hasPrefix(Self.prefix) {
                found.formUnion(
                    try self.members(of: String(reference.dropFirst(Self.prefix.count))))
            } else {
                do throws(SPIFFEIDError) {
                    found.insert(try TrustDomain(nameOrID: reference))
                } catch {
                    throw ServerError(.invalidArgument, error.message)
                }
            }
        }
        found.remove(own)
        return found.sorted { $0.name < $1.name }
    }

    /// - Throws: ``ServerError`` `invalidArgument` when there is no such group.
    package func members(of name: String) throws(ServerError) -> Set<TrustDomain> {
        if let members = self.members[name] { return members }
        throw ServerError(
            .invalidArgument,
            "there is no group \(quoted(name)) of trust domains; known are "
                + (self.members.isEmpty ? "none" : self.names.prefix(20).joined(separator: ", ")))
    }

    /// The groups that a trust domain is a member of, in order.
    package func names(containing trustDomain: TrustDomain) -> [String] {
        self.members.filter { $0.value.contains(trustDomain) }.keys.sorted()
    }

    /// The entry as an agent is to see it: with the trust domains that its groups mean now instead of the groups.
    ///
    /// A group that the configuration has no more means nobody. The revision depends on the members, so that a change of
    /// a group looks like a change of the entry to whoever compares revisions.
    package func expanding(_ entry: Entry, own: TrustDomain) -> Entry {
        if entry.federatesWithGroups.isEmpty { return entry }
        var found: Set<TrustDomain> = []
        for name in entry.federatesWithGroups { found.formUnion(self.members[name] ?? []) }
        found.remove(own)
        var result = entry
        result.revision &+= Self.number(of: found)
        result.federatesWith = found.union(entry.federatesWith).sorted()
        result.federatesWithGroups = []
        return result
    }

    /// FNV-1a of the names, 47 bits: the same in every process, and room is left for revisions.
    private static func number(of trustDomains: Set<TrustDomain>) -> Int64 {
        var hash: UInt64 = 0xcbf2_9ce4_8422_2325
        for trustDomain in trustDomains.sorted() {
            for byte in Array(trustDomain.name.utf8) + [0] {
                hash = (hash ^ UInt64(byte)) &* 0x100_0000_01b3
            }
        }
        return Int64(hash >> 17)
    }

    package static func check(_ name: String) throws(ServerError) {
        let isAcceptable =
            (1...63).contains(name.utf8.count)
            && name.utf8.allSatisfy { byte in
                switch byte {
                case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "0")...UInt8(ascii: "9"),
                    UInt8(ascii: "-"), UInt8(ascii: "_"), UInt8(ascii: "."):
                    true
                default: false
                }
            }
        guard isAcceptable else {
            throw ServerError(
                .invalidArgument,
                "name of a group \(quoted(name)) is not accepted; expected a-z 0-9 - _ . , at most 63"
            )
        }
    }
}
