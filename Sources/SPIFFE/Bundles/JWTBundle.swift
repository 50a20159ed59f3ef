/// The JWT authorities of one trust domain: the keys that sign its JWT-SVIDs and no others.
public struct JWTBundle: Sendable, Equatable {
    /// The trust domain whose tokens these keys vouch for.
    public let trustDomain: TrustDomain
    /// The keys by their key ID (`kid`).
    public let authorities: [String: JWTVerificationKey]

    /// - Parameters:
    ///   - trustDomain: The trust domain whose tokens the keys vouch for.
    ///   - authorities: By key ID. None is allowed: nothing is trusted then.
    public init(trustDomain: TrustDomain, authorities: [String: JWTVerificationKey]) {
        self.trustDomain = trustDomain
        self.authorities = authorities
    }

    /// Reads a JWK Set as the Workload API sends it: entries have `kid`, and `use` is `jwt-svid` or left
    /// out.
    ///
    /// Entries of other use, without `kid` or with a key that fits no algorithm are left out.
    ///
    /// - Parameters:
    ///   - trustDomain: The trust domain whose tokens the keys vouch for; told by whoever fetched them.
    ///   - jwks: The document; the caller bounds its size.
    ///   - onIgnoredKey: Told why an entry was left out, for a log.
    /// - Throws: ``BundleError`` `malformed` or `noKeys`.
    public init(
        trustDomain: TrustDomain, jwks: [UInt8], onIgnoredKey: (String) -> Void = { _ in }
    ) throws(BundleError) {
        let document = try KeySetDocument(trustDomain, jwks)
        var authorities: [String: JWTVerificationKey] = [:]
        document.forEachKey(onIgnoredKey) { members throws(JOSEError) in
            if let use = members["use"], use.stringValue != "jwt-svid" {
                return "use is not jwt-svid"
            }
            let (keyID, key) = try KeySetDocument.jwtAuthority(members)
            if authorities[keyID] != nil {
                return "kid \(SPIFFEIDError.quoted(keyID)) occurs twice"
            }
            authorities[keyID] = key
            return nil
        }
        self.init(trustDomain: trustDomain, authorities: authorities)
    }

    /// The keys as a JWK Set in the form of the Workload API: `kid` and the key's members, ordered by
    /// `kid`. Equal bundles give equal bytes; an empty one gives `{"keys":[]}`.
    public func jwks() -> [UInt8] {
        let keys = self.authorities.sorted { $0.key.utf8.lexicographicallyPrecedes($1.key.utf8) }
            .map { keyID, key -> JSONValue in
                var members = JSONWebKey.members(of: key)
                members["kid"] = .string(keyID)
                return .object(members)
            }
        return JSONValue.object(["keys": .array(keys)]).serialized()
    }

    /// The key with exactly this ID. Compared by bytes: a dictionary alone would take two spellings of
    /// one Unicode text for the same.
    public func authority(keyID: String) -> JWTVerificationKey? {
        guard let index = self.authorities.index(forKey: keyID),
            self.authorities[index].key.utf8.elementsEqual(keyID.utf8)
        else { return nil }
        return self.authorities[index].value
    }
}
