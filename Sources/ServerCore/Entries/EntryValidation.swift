package import SPIFFE

/// The rules an entry obeys when it is written.
package enum EntryValidation {
    /// Checks the rules between and inside the fields, except those that need other records (bundles).
    ///
    /// - Throws: ``ServerError`` `invalidArgument` naming the field and what is accepted.
    package static func check(_ entry: Entry, in trustDomain: TrustDomain) throws(ServerError) {
        try checkID(entry.id)
        try checkWorkloadID(entry.spiffeID, in: trustDomain)
        guard entry.parentID.isMember(of: trustDomain), !entry.parentID.hasEmptyPath else {
            throw ServerError(
                .invalidArgument,
                "parent ID \(quoted(entry.parentID.string)) rejected: it must lie in trust domain "
                    + "\(trustDomain) and have a path, such as spiffe://\(trustDomain)/spire/agent/…"
            )
        }
        guard !entry.selectors.isEmpty else {
            throw ServerError(
                .invalidArgument,
                "selector list is empty; give at least one, such as unix:uid:1000")
        }
        for (name, value) in [
            ("X509-SVID TTL", entry.x509SVIDTTL), ("JWT-SVID TTL", entry.jwtSVIDTTL),
        ]
        where value < 0 {
            throw ServerError(
                .invalidArgument,
                "\(name) \(value) rejected: it must be 0 (default) or more seconds")
        }
        guard entry.expiresAt >= 0 else {
            throw ServerError(
                .invalidArgument,
                "expiry \(entry.expiresAt) rejected: it is a Unix time, 0 meaning never")
        }
        if entry.hint.utf8.count > 1024 {
            throw ServerError(
                .invalidArgument,
                "hint has \(entry.hint.utf8.count) bytes; at most 1024 are allowed")
        }
        try DNSNames.check(entry.dnsNames)
        if entry.storeSVID {
            guard Set(entry.selectors.map(\.type)).count == 1 else {
                throw ServerError(
                    .invalidArgument,
                    "an entry with store_svid needs selectors of one type: that of the SVID store plugin"
                )
            }
            guard !entry.disableX509SVIDPrefetch else {
                throw ServerError(
                    .invalidArgument, "store_svid and disable_x509_svid_prefetch exclude each other"
                )
            }
            // What is in a store is not tied to a process.
            guard !entry.revokesOnExit else {
                throw ServerError(
                    .invalidArgument, "store_svid and revoke_on_exit exclude each other")
            }
        }
    }

    /// Where servers and agents have their IDs, and what a server signs for its own purposes, such as invites.
    private static let reservedPaths = ["/spire", "/cygnet"]

    /// A workload ID: in the trust domain, with a path that is neither `/spire` nor `/cygnet` nor below one of them.
    package static func checkWorkloadID(
        _ id: SPIFFEID, in trustDomain: TrustDomain
    ) throws(ServerError) {
        guard id.isMember(of: trustDomain) else {
            throw ServerError(
                .invalidArgument,
                "SPIFFE ID \(quoted(id.string)) rejected: it is not in trust domain \(trustDomain)")
        }
        let path = id.path
        guard !path.isEmpty else {
            throw ServerError(
                .invalidArgument,
                "SPIFFE ID \(quoted(id.string)) rejected: a workload ID has a path")
        }
        for reserved in Self.reservedPaths where path == reserved || path.hasPrefix(reserved + "/")
        {
            throw ServerError(
                .invalidArgument,
                "SPIFFE ID \(quoted(id.string)) rejected: the path \(reserved) is reserved for servers and agents"
            )
        }
    }

    /// An agent ID: in the trust domain, below `/spire/agent/`.
    package static func checkAgentID(
        _ id: SPIFFEID, in trustDomain: TrustDomain
    ) throws(ServerError) {
        guard id.isMember(of: trustDomain), id.path.hasPrefix("/spire/agent/") else {
            throw ServerError(
                .invalidArgument,
                "agent ID \(quoted(id.string)) rejected: it must be spiffe://\(trustDomain)/spire/agent/…"
            )
        }
    }

    private static func checkID(_ id: String) throws(ServerError) {
        let valid = id.utf8.allSatisfy { byte in
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "."), UInt8(ascii: "_"),
                UInt8(ascii: "-"):
                true
            default: false
            }
        }
        guard valid, !id.isEmpty, id.utf8.count <= 255 else {
            throw ServerError(
                .invalidArgument,
                "entry ID \(quoted(id)) rejected: at most 255 of A-Z a-z 0-9 . _ - are allowed")
        }
    }
}

/// DNS names as they may stand in an entry or a CSR.
package enum DNSNames {
    /// - Throws: ``ServerError`` `invalidArgument` for a name that is no host name, and for a wildcard that
    ///   covers another name of the list.
    package static func check(_ names: [String]) throws(ServerError) {
        for name in names { try self.check(name) }
        // Names are the same in any case.
        let folded = names.map { $0.lowercased() }
        for wildcard in folded where wildcard.hasPrefix("*.") {
            let suffix = wildcard.dropFirst(1)
            for name in folded where name != wildcard && name.hasSuffix(suffix) {
                if !name.dropLast(suffix.count).contains(".") {
                    throw ServerError(
                        .invalidArgument,
                        "DNS name \(quoted(name)) rejected: \(quoted(wildcard)) covers it already")
                }
            }
        }
    }

    private static func check(_ name: String) throws(ServerError) {
        func rejected(_ reason: String) -> ServerError {
            ServerError(.invalidArgument, "DNS name \(quoted(name)) rejected: \(reason)")
        }
        var rest = name[...]
        if rest.hasPrefix("*.") { rest = rest.dropFirst(2) }
        guard !rest.isEmpty else { throw rejected("it is empty") }
        guard name.utf8.count <= 253 else { throw rejected("it is longer than 253 bytes") }
        for label in rest.split(separator: ".", omittingEmptySubsequences: false) {
            guard !label.isEmpty else { throw rejected("it has an empty label") }
            guard label.utf8.count <= 63 else { throw rejected("a label is longer than 63 bytes") }
            guard label.utf8.first != UInt8(ascii: "-"), label.utf8.last != UInt8(ascii: "-") else {
                throw rejected("a label starts or ends with a hyphen")
            }
            for byte in label.utf8 {
                switch byte {
                case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                    UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"):
                    continue
                default:
                    throw rejected(
                        "allowed are letters, digits and hyphens, with one leading \"*.\" at most")
                }
            }
        }
    }
}
