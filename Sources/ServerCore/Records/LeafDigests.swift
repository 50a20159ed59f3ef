import Crypto
package import SPIFFE
import Transparency

/// The digests in leaves (docs/ledger.md, "Content digests"): SHA-256.
package enum LeafDigests {
    /// Of selectors: each as `type:value` with a newline after it, ordered by their bytes.
    package static func selectors(_ selectors: [Selector]) -> [UInt8] {
        var lines = selectors.map(\.description)
        func isBefore(_ left: String, _ right: String) -> Bool {
            left.utf8.lexicographicallyPrecedes(right.utf8)
        }
        // Those of entries and nodes are sorted, by type first; as a rule that is the same.
        if !zip(lines, lines.dropFirst()).allSatisfy({ !isBefore($1, $0) }) {
            lines.sort(by: isBefore)
        }
        var hash = SHA256()
        for line in lines {
            var line = line
            line.append("\n")
            line.withUTF8 { hash.update(bufferPointer: UnsafeRawBufferPointer($0)) }
        }
        return Array(hash.finalize())
    }

    /// Of an entry.
    package static func content(_ entry: Entry) -> [UInt8] {
        var members = Members()
        members.add("admin", entry.admin)
        members.add("created_at", entry.createdAt)
        members.add("disable_x509_svid_prefetch", entry.disableX509SVIDPrefetch)
        members.add("dns_names", entry.dnsNames)
        members.add("downstream", entry.downstream)
        members.add("expires_at", entry.expiresAt)
        members.add("federates_with", entry.federatesWith.map(\.name))
        members.add("hint", entry.hint)
        members.add("id", entry.id)
        members.add("jwt_svid_include_jti", entry.jwtSVIDIncludeJTI)
        members.add("jwt_svid_ttl", Int64(entry.jwtSVIDTTL))
        members.add("parent_id", entry.parentID.string)
        members.add("revision", entry.revision)
        members.add("revoke_on_exit", entry.revokesOnExit)
        members.add("selectors", entry.selectors.map(\.description))
        members.add("spiffe_id", entry.spiffeID.string)
        members.add("store_svid", entry.storeSVID)
        members.add("x509_svid_ttl", Int64(entry.x509SVIDTTL))
        return members.digest
    }

    /// Of a bundle.
    package static func content(_ bundle: TrustBundle) -> [UInt8] {
        var members = Members()
        members.add("fetched", bundle.isFetched)
        members.add("foreign_sequence", bundle.foreignSequence)
        members.add(
            "jwt_authorities",
            bundle.jwtAuthorities.map { key in
                Self.key(key.publicKeyDER, key.expiresAt, key.keyID, key.tainted)
            })
        members.add("refresh_hint", bundle.refreshHint)
        members.add("sequence", bundle.sequenceNumber)
        members.add("trust_domain", bundle.trustDomain.name)
        members.add(
            "wit_authorities",
            bundle.witAuthorities.map { key in
                Self.key(key.publicKeyDER, key.expiresAt, key.keyID, key.tainted)
            })
        members.add(
            "x509_authorities",
            bundle.x509Authorities.map { authority in
                var members = Members()
                members.add("digest", Self.sha256(authority.der))
                members.add("tainted", authority.tainted)
                return members.object
            })
        return members.digest
    }

    /// Of a federation relationship.
    package static func content(_ relationship: FederationRelationship) -> [UInt8] {
        var members = Members()
        members.add("bundle_endpoint_url", relationship.bundleEndpointURL)
        members.add("endpoint_spiffe_id", relationship.endpointID?.string ?? "")
        members.add("trust_domain", relationship.trustDomain.name)
        return members.digest
    }

    /// Of an authority: of its certificate or public key.
    static func content(_ authority: JournalEntry) -> [UInt8] {
        Array(SHA256.hash(data: authority.der))
    }

    private static func key(
        _ der: [UInt8], _ expiresAt: Int64, _ id: String, _ isTainted: Bool
    ) -> JSONValue {
        var members = Members()
        members.add("digest", self.sha256(der))
        members.add("expires_at", expiresAt)
        members.add("key_id", id)
        members.add("tainted", isTainted)
        return members.object
    }

    private static func sha256(_ bytes: [UInt8]) -> String { hex(SHA256.hash(data: bytes)) }
}

/// The members of a canonical object; what is false, 0 or empty is left out.
private struct Members {
    private var members: [String: JSONValue] = [:]

    mutating func add(_ name: String, _ value: Bool) {
        if value { self.members[name] = .bool(true) }
    }

    mutating func add(_ name: String, _ value: Int64) {
        if value != 0 { self.members[name] = .int(value) }
    }

    /// A decimal string above 2⁵³, where JSON numbers end.
    mutating func add(_ name: String, _ value: UInt64?) {
        guard let value, value != 0 else { return }
        self.members[name] = value <= 1 << 53 ? .int(Int64(value)) : .string(String(value))
    }

    mutating func add(_ name: String, _ value: String) {
        if !value.isEmpty { self.members[name] = .string(value) }
    }

    mutating func add(_ name: String, _ values: [String]) {
        self.add(name, values.map(JSONValue.string))
    }

    mutating func add(_ name: String, _ values: [JSONValue]) {
        if !values.isEmpty { self.members[name] = .array(values) }
    }

    var object: JSONValue { .object(self.members) }

    var digest: [UInt8] {
        // Never fails: no number here is a fraction.
        let bytes = (try? CanonicalJSON.encode(self.object)) ?? []
        return Array(SHA256.hash(data: bytes))
    }
}
