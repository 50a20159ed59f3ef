/// The WIT authorities of one trust domain: the keys that sign its WIT-SVIDs and no others.
///
/// Incubating. Kept apart from ``JWTBundle`` by its type: a key of one never verifies a token of the other.
public struct WITBundle: Sendable, Equatable {
    /// The trust domain whose tokens these keys vouch for.
    public let trustDomain: TrustDomain
    /// The keys by their key ID (`kid`).
    public let authorities: [String: JWTVerificationKey]

    /// - Parameters:
    ///   - trustDomain: Whose keys they are.
    ///   - authorities: By key ID. None is allowed: the trust domain has no WIT-SVIDs then.
    public init(trustDomain: TrustDomain, authorities: [String: JWTVerificationKey]) {
        self.trustDomain = trustDomain
        self.authorities = authorities
    }

    /// Reads a JWK Set as the Workload API sends it: entries have `kid`, and `use` is `wit-svid` or left
    /// out.
    ///
    /// Entries of other use, without `kid` or with a key that fits no algorithm are left out.
    ///
    /// - Parameters:
    ///   - trustDomain: Whose keys they are.
    ///   - jwks: The document; the caller bounds its size.
    ///   - onIgnoredKey: Told why an entry was left out, for a log.
    /// - Throws: ``BundleError`` `malformed` or `noKeys`.
    public init(
        trustDomain: TrustDomain, jwks: [UInt8], onIgnoredKey: (String) -> Void = { _ in }
    ) throws(BundleError) {
        let document = try KeySetDocument(trustDomain, jwks)
        var authorities: [String: JWTVerificationKey] = [:]
        document.forEachKey(onIgnoredKey) { members throws(JOSEError) in
            if let use = members["use"], use.stringValue != "wit-svid" {
                return "use is not wit-svid"
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

    /// The keys as a JWK Set in the form of the Workload API: `kid`, `use` and the key's members, ordered
    /// by `kid`. Equal bundles give equal text; an empty one gives `{"keys":[]}`.
    public func jwks() -> String {
        let keys = self.authorities.sorted { $0.key.utf8.lexicographicallyPrecedes($1.key.utf8) }
            .map { keyID, key -> JSONValue in
                var members = JSONWebKey.members(of: key)
                members["kid"] = .string(keyID)
                members["use"] = "wit-svid"
                return .object(members)
            }
        return String(
            decoding: JSONValue.object(["keys": .array(keys)]).serialized(), as: UTF8.self)
    }

    /// The key with exactly this ID, compared by bytes.
    public func authority(keyID: String) -> JWTVerificationKey? {
        // A dictionary alone would take two spellings of one Unicode text for the same.
        guard let index = self.authorities.index(forKey: keyID),
            self.authorities[index].key.utf8.elementsEqual(keyID.utf8)
        else { return nil }
        return self.authorities[index].value
    }
}

/// Where the WIT authorities of trust domains come from; obligations as ``X509BundleSource``.
public protocol WITBundleSource: Sendable {
    /// The bundle of exactly this trust domain, or nil.
    func witBundle(for trustDomain: TrustDomain) -> WITBundle?
}

extension WITBundle: WITBundleSource {
    /// Itself for its own trust domain, nil for any other.
    public func witBundle(for trustDomain: TrustDomain) -> WITBundle? {
        trustDomain == self.trustDomain ? self : nil
    }
}

/// WIT bundles by trust domain; rules as ``X509BundleSet``.
public struct WITBundleSet: WITBundleSource, Sendable, Equatable {
    /// The bundles; each under its own trust domain.
    public private(set) var bundles: [TrustDomain: WITBundle]

    /// - Parameter bundles: Of two for one trust domain the last counts.
    public init(_ bundles: some Sequence<WITBundle> = []) {
        self.bundles = Dictionary(bundles.map { ($0.trustDomain, $0) }) { _, last in last }
    }

    /// Sets the bundle of its trust domain.
    public mutating func set(_ bundle: WITBundle) { self.bundles[bundle.trustDomain] = bundle }

    /// Forgets a trust domain.
    public mutating func remove(_ trustDomain: TrustDomain) { self.bundles[trustDomain] = nil }

    public func witBundle(for trustDomain: TrustDomain) -> WITBundle? { self.bundles[trustDomain] }
}
