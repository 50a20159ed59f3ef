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

    private let members: [String: Set<TrustDomain>]

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
                let name = String(reference.dropFirst(Self.prefix.count))
                guard let members = self.members[name] else {
                    throw ServerError(
                        .invalidArgument,
                        "there is no group \(quoted(name)) of trust domains; known are "
                            + (self.members.isEmpty
                                ? "none" : self.names.prefix(20).joined(separator: ", ")))
                }
                found.formUnion(members)
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

    private static func check(_ name: String) throws(ServerError) {
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
