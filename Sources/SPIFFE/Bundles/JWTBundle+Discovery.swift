extension JWTBundle {
    /// The keys as a plain JWK Set, for those who know OpenID Connect and not SPIFFE: with `alg`, ordered by `kid`.
    ///
    /// An RSA key is announced for RS256, the algorithm that servers sign JWT-SVIDs with. Equal bundles give equal
    /// bytes.
    ///
    /// - Parameter use: The member `use` of each key, such as `sig`; nil leaves it out.
    package func discoveryKeySet(use: String?) -> [UInt8] {
        let keys = self.authorities.sorted { $0.key.utf8.lexicographicallyPrecedes($1.key.utf8) }
            .map { keyID, key -> JSONValue in
                var members = JSONWebKey.members(of: key)
                members["kid"] = .string(keyID)
                members["alg"] = key.algorithms.first.map { .string($0.rawValue) }
                members["use"] = use.map(JSONValue.string)
                return .object(members)
            }
        return JSONValue.object(["keys": .array(keys)]).serialized()
    }
}
