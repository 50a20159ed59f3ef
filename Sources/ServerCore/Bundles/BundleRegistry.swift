package import SPIFFE

/// Changes the server's own bundle from outside, and keeps those of partners as operators say.
package struct BundleRegistry: Sendable {
    /// The parts of a bundle that an update writes.
    package struct Parts: OptionSet, Sendable {
        package let rawValue: Int

        package init(rawValue: Int) { self.rawValue = rawValue }

        package static let x509 = Parts(rawValue: 1)
        package static let jwt = Parts(rawValue: 2)
        package static let wit = Parts(rawValue: 4)
        package static let refreshHint = Parts(rawValue: 8)
        package static let sequence = Parts(rawValue: 16)
        package static let all: Parts = [.x509, .jwt, .wit, .refreshHint, .sequence]
    }

    private let directory: Directory
    private let store: any BundleStore

    package init(directory: Directory, store: any BundleStore) {
        self.directory = directory
        self.store = store
    }

    package var trustDomain: TrustDomain { self.directory.trustDomain }

    // MARK: Own bundle

    /// Adds authorities to the own bundle; those that are there already stay as they are.
    ///
    /// - Parameter addition: a bundle of the own trust domain with at least one X.509 or JWT authority; the
    ///   rest of it is left out of account.
    /// - Throws: ``ServerError`` `invalidArgument`.
    package func append(_ addition: TrustBundle) async throws -> TrustBundle {
        guard !addition.x509Authorities.isEmpty || !addition.jwtAuthorities.isEmpty else {
            throw ServerError(
                .invalidArgument, "no authorities to append; give an X.509 or a JWT authority")
        }
        do throws(BundleError) {
            _ = try SPIFFEBundle(
                trustDomain: self.trustDomain,
                x509Authorities: addition.x509Authorities.map(\.der),
                jwtAuthorities: addition.jwtAuthorities.map {
                    JWTAuthorityKey(keyID: $0.keyID, publicKeyDER: $0.publicKeyDER)
                })
        } catch {
            throw ServerError(.invalidArgument, error.message)
        }
        let result = try await self.store.writeBundle(self.trustDomain, requiring: nil) {
            [trustDomain] (old: TrustBundle?) throws(ServerError) -> TrustBundle? in
            let before = old ?? TrustBundle(trustDomain: trustDomain)
            var new = before
            for authority in addition.x509Authorities
            where !new.x509Authorities.contains(where: { $0.der == authority.der }) {
                new.x509Authorities.append(authority)
            }
            for authority in addition.jwtAuthorities { try Self.add(authority, to: &new) }
            if new == before { return nil }
            // A downstream server may append: what every agent must read stays of a bounded size.
            try ForeignBundle.checkSize(new)
            return new
        }
        guard let result else {
            throw ServerError(.internal, "the own bundle is gone")
        }
        return result
    }

    /// - Throws: ``ServerError`` `invalidArgument` when the key ID belongs to another key: nobody may put a key
    ///   in the place of one that tokens rest on.
    private static func add(
        _ authority: TrustBundle.JWTAuthorityKey, to bundle: inout TrustBundle
    ) throws(ServerError) {
        let sameID = bundle.jwtAuthorities.first {
            $0.keyID.utf8.elementsEqual(authority.keyID.utf8)
        }
        if let sameID {
            guard sameID.publicKeyDER == authority.publicKeyDER else {
                throw ServerError(
                    .invalidArgument,
                    "key ID \(quoted(authority.keyID)) is another JWT authority's already")
            }
            return
        }
        guard
            !bundle.witAuthorities.contains(where: {
                $0.keyID.utf8.elementsEqual(authority.keyID.utf8)
            })
        else {
            throw ServerError(
                .invalidArgument, "key ID \(quoted(authority.keyID)) is a WIT authority's already")
        }
        bundle.jwtAuthorities.append(authority)
    }

    // MARK: Bundles of partners

    /// A partner's bundle.
    ///
    /// - Throws: ``ServerError`` `invalidArgument` for the own trust domain, `notFound` when there is none.
    package func foreignBundle(_ trustDomain: TrustDomain) throws(ServerError) -> TrustBundle {
        try FederationRelationship.checkPartner(trustDomain, own: self.trustDomain)
        guard let bundle = self.directory.bundle(trustDomain) else { throw Self.notFound }
        return bundle
    }

    /// Partners' bundles in the order of their names.
    ///
    /// - Parameters:
    ///   - after: where the page before ended; nil for the first.
    ///   - limit: at most so many; 0 means all.
    package func list(after: TrustDomain? = nil, limit: Int = 0) -> [TrustBundle] {
        let all = self.directory.foreignBundles.filter { bundle in
            after.map { bundle.trustDomain > $0 } ?? true
        }
        return limit > 0 ? Array(all.prefix(limit)) : all
    }

    /// - Throws: ``ServerError`` `alreadyExists` when there is one, `invalidArgument` when it breaks a rule.
    package func create(_ bundle: TrustBundle) async throws -> TrustBundle {
        try await self.write(bundle) {
            (old: TrustBundle?, new: TrustBundle) throws(ServerError) -> TrustBundle in
            guard old == nil else {
                throw ServerError(
                    .alreadyExists,
                    "bundle of \(quoted(new.trustDomain.name)) exists already; set or update it")
            }
            return new
        }
    }

    /// Puts the bundle in the place of the one there is, or adds it.
    ///
    /// It stands until the partner's endpoint delivers the next one.
    package func set(_ bundle: TrustBundle) async throws -> TrustBundle {
        try await self.write(bundle) {
            (old: TrustBundle?, new: TrustBundle) throws(ServerError) -> TrustBundle in new
        }
    }

    /// Replaces parts of a bundle.
    ///
    /// - Throws: ``ServerError`` `notFound` when there is none.
    package func update(_ bundle: TrustBundle, parts: Parts) async throws -> TrustBundle {
        let own = self.trustDomain
        let ownBundle = self.directory.ownBundle
        let keyIDs = self.directory.authorityKeyIDs
        return try await self.write(bundle.keeping(parts)) {
            (old: TrustBundle?, new: TrustBundle) throws(ServerError) -> TrustBundle in
            guard let old else { throw Self.notFound }
            var merged = old
            if parts.contains(.x509) { merged.x509Authorities = new.x509Authorities }
            if parts.contains(.jwt) { merged.jwtAuthorities = new.jwtAuthorities }
            if parts.contains(.wit) { merged.witAuthorities = new.witAuthorities }
            if parts.contains(.refreshHint) { merged.refreshHint = new.refreshHint }
            if parts.contains(.sequence) { merged.foreignSequence = new.foreignSequence }
            merged.isFetched = false
            return try ForeignBundle.checked(
                merged, own: own, ownBundle: ownBundle, keyIDs: keyIDs)
        }
    }

    /// - Throws: ``ServerError`` `notFound`, or `failedPrecondition` when entries federate with it and the mode
    ///   is ``BundleDeletionMode/restrict``.
    package func delete(_ trustDomain: TrustDomain, mode: BundleDeletionMode) async throws {
        try FederationRelationship.checkPartner(trustDomain, own: self.trustDomain)
        switch try await self.store.deleteBundle(trustDomain, mode: mode) {
        case .deleted: return
        case .notFound: throw Self.notFound
        case .restricted(let entries):
            throw ServerError(
                .failedPrecondition,
                "cannot delete bundle; federated with \(entries) registration entries; "
                    + "use mode dissociate or delete")
        }
    }

    private func write(
        _ bundle: TrustBundle,
        _ rule:
            @escaping @Sendable (TrustBundle?, TrustBundle) throws(ServerError) -> TrustBundle
    ) async throws -> TrustBundle {
        let new = try ForeignBundle.checked(
            bundle, own: self.trustDomain, ownBundle: self.directory.ownBundle,
            keyIDs: self.directory.authorityKeyIDs)
        let stored = try await self.store.writeBundle(bundle.trustDomain, requiring: nil) {
            (old: TrustBundle?) throws(ServerError) -> TrustBundle? in try rule(old, new)
        }
        guard let stored else { throw Self.notFound }
        return stored
    }

    private static let notFound = ServerError(.notFound, "bundle not found")
}

extension TrustBundle {
    /// The bundle with these parts only.
    fileprivate func keeping(_ parts: BundleRegistry.Parts) -> TrustBundle {
        var result = self
        if !parts.contains(.x509) { result.x509Authorities = [] }
        if !parts.contains(.jwt) { result.jwtAuthorities = [] }
        if !parts.contains(.wit) { result.witAuthorities = [] }
        if !parts.contains(.refreshHint) { result.refreshHint = 0 }
        if !parts.contains(.sequence) { result.foreignSequence = nil }
        return result
    }
}
