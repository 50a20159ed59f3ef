package import SPIFFE
import SwiftASN1
import X509

/// The rules for bundles of other trust domains, however they come in.
package enum ForeignBundle {
    /// The most authorities of all kinds in one bundle.
    package static let maximumAuthorities = 1_000
    /// The most bytes that certificates and keys of one bundle may have together.
    package static let maximumBytes = 1_048_576
    /// The longest refresh hint that is kept, in seconds; what is longer means the same.
    package static let maximumRefreshHint: Int64 = 31_536_000

    /// Checks a bundle before it is stored.
    ///
    /// An authority whose certificate names a trust domain must name this one, and none may have a key
    /// of ours: either would let a partner vouch for identities that are not its own. None may have the key ID of another
    /// trust domain's, either; see ``AuthorityKeyIDs``.
    ///
    /// - Parameters:
    ///   - own: the server's trust domain.
    ///   - ownBundle: what the server's trust domain publishes, if it is there already.
    ///   - keyIDs: of all bundles that are stored.
    /// - Returns: the bundle without duplicates and with the hint in bounds.
    /// - Throws: ``ServerError`` `invalidArgument`.
    package static func checked(
        _ bundle: TrustBundle, own: TrustDomain, ownBundle: TrustBundle?, keyIDs: AuthorityKeyIDs
    ) throws(ServerError) -> TrustBundle {
        try FederationRelationship.checkPartner(bundle.trustDomain, own: own)
        try self.checkSize(bundle)
        let parsed: SPIFFEBundle
        do throws(BundleError) {
            parsed = try SPIFFEBundle(
                trustDomain: bundle.trustDomain,
                x509Authorities: bundle.x509Authorities.map(\.der),
                jwtAuthorities: bundle.jwtAuthorities.map {
                    JWTAuthorityKey(keyID: $0.keyID, publicKeyDER: $0.publicKeyDER)
                },
                witAuthorities: bundle.witAuthorities.map {
                    WITAuthorityKey(keyID: $0.keyID, publicKeyDER: $0.publicKeyDER)
                })
        } catch {
            throw ServerError(.invalidArgument, error.message)
        }
        for certificate in parsed.x509Bundle.authorities {
            try self.checkName(certificate, bundle.trustDomain)
        }
        if let ownBundle { try self.checkApart(parsed, from: ownBundle) }
        for certificate in parsed.x509Bundle.authorities {
            try self.checkKeyID(certificate, bundle.trustDomain, keyIDs)
        }
        var result = bundle
        var seen: Set<[UInt8]> = []
        result.x509Authorities.removeAll { !seen.insert($0.der).inserted }
        result.refreshHint = min(max(0, bundle.refreshHint), self.maximumRefreshHint)
        return result
    }

    static func checkSize(_ bundle: TrustBundle) throws(ServerError) {
        let count =
            bundle.x509Authorities.count + bundle.jwtAuthorities.count
            + bundle.witAuthorities.count
        guard count <= self.maximumAuthorities else {
            throw ServerError(
                .invalidArgument,
                "bundle of \(bundle.trustDomain) rejected: it has \(count) authorities; at most "
                    + "\(self.maximumAuthorities) are accepted")
        }
        var bytes = bundle.x509Authorities.reduce(0) { $0 + $1.der.count }
        bytes += bundle.jwtAuthorities.reduce(0) {
            $0 + $1.publicKeyDER.count + $1.keyID.utf8.count
        }
        bytes += bundle.witAuthorities.reduce(0) {
            $0 + $1.publicKeyDER.count + $1.keyID.utf8.count
        }
        guard bytes <= self.maximumBytes else {
            throw ServerError(
                .invalidArgument,
                "bundle of \(bundle.trustDomain) rejected: its authorities have \(bytes) bytes; at most "
                    + "\(self.maximumBytes) are accepted")
        }
    }

    /// A root need not have a SPIFFE ID, and names that are none are nobody's business.
    private static func checkName(
        _ certificate: Certificate, _ trustDomain: TrustDomain
    ) throws(ServerError) {
        guard let names = try? certificate.extensions.subjectAlternativeNames else { return }
        for name in names {
            guard case .uniformResourceIdentifier(let text) = name, let id = try? SPIFFEID(text),
                !id.isMember(of: trustDomain)
            else { continue }
            throw ServerError(
                .invalidArgument,
                "bundle of \(trustDomain) rejected: one of its X.509 authorities belongs to trust domain "
                    + "\(quoted(id.trustDomain.name)); was it taken from the wrong endpoint?")
        }
    }

    /// Trust domains share no keys (Trust Domain and Bundle §6.2), whatever stands around them. What a partner shares
    /// with another partner is their affair.
    private static func checkApart(
        _ bundle: SPIFFEBundle, from own: TrustBundle
    ) throws(ServerError) {
        var keys = Set(own.jwtAuthorities.map(\.publicKeyDER))
            .union(own.witAuthorities.map(\.publicKeyDER))
        for authority in own.x509Authorities {
            guard let certificate = try? Certificate(derEncoded: authority.der) else { continue }
            keys.insert(AuthorityKeyIDs.der(certificate.publicKey))
        }
        guard
            bundle.x509Bundle.authorities.allSatisfy({
                !keys.contains(AuthorityKeyIDs.der($0.publicKey))
            }),
            bundle.jwtAuthorities.allSatisfy({ !keys.contains($0.publicKeyDER) }),
            bundle.witAuthorities.allSatisfy({ !keys.contains($0.publicKeyDER) })
        else {
            throw ServerError(
                .invalidArgument,
                "bundle of \(bundle.trustDomain) rejected: it has the key of an authority of our own trust domain "
                    + "\(own.trustDomain)")
        }
    }

    private static func checkKeyID(
        _ certificate: Certificate, _ trustDomain: TrustDomain, _ keyIDs: AuthorityKeyIDs
    ) throws(ServerError) {
        guard let other = keyIDs.obstacle(to: certificate, of: trustDomain) else { return }
        let keyID = (try? certificate.extensions.subjectKeyIdentifier)?.keyIdentifier ?? []
        throw ServerError(
            .invalidArgument,
            "bundle of \(trustDomain) rejected: its X.509 authority with subject key ID "
                + "\(PartnerAuthorities.hex(keyID)) has the key ID of an authority of \(other), and another key; "
                + "verifiers could not tell the CRLs of the two apart")
    }

    /// Whether a fetched bundle takes the stored one's place (SPIFFE Federation §4.2).
    ///
    /// Numbers order what was fetched; without one on either side the last fetched wins. A bundle that was set
    /// by hand stands until the next refresh, whatever its number.
    ///
    /// - Returns: the bundle to store, or nil when it would change nothing.
    /// - Throws: ``ServerError`` `failedPrecondition` for an older one.
    package static func replacement(
        of stored: TrustBundle?, by fetched: TrustBundle
    ) throws(ServerError) -> TrustBundle? {
        guard let stored else { return fetched }
        if stored.isFetched, let old = stored.foreignSequence, let new = fetched.foreignSequence,
            new < old
        {
            throw ServerError(
                .failedPrecondition,
                "bundle of \(fetched.trustDomain) not taken: its sequence number \(new) is lower than \(old), which "
                    + "is stored; the endpoint serves an older bundle. If the partner has started over, set its "
                    + "bundle by hand: bundle set -id spiffe://\(fetched.trustDomain)")
        }
        return stored.hasContent(of: fetched) && stored.isFetched ? nil : fetched
    }
}

extension TrustBundle {
    /// A partner's bundle as its endpoint published it.
    package init(fetched bundle: SPIFFEBundle) {
        self.init(trustDomain: bundle.trustDomain)
        self.x509Authorities = bundle.x509Authorities.map { X509AuthorityCertificate(der: $0) }
        self.jwtAuthorities = bundle.jwtAuthorities.map {
            JWTAuthorityKey(keyID: $0.keyID, publicKeyDER: $0.publicKeyDER, expiresAt: 0)
        }
        self.witAuthorities = bundle.witAuthorities.map {
            WITAuthorityKey(keyID: $0.keyID, publicKeyDER: $0.publicKeyDER, expiresAt: 0)
        }
        self.refreshHint = bundle.refreshHint?.components.seconds ?? 0
        self.foreignSequence = bundle.sequenceNumber
        self.isFetched = true
    }

    /// Whether authorities, hint and the partner's number are the same.
    func hasContent(of other: TrustBundle) -> Bool {
        self.x509Authorities == other.x509Authorities
            && self.jwtAuthorities == other.jwtAuthorities
            && self.witAuthorities == other.witAuthorities && self.refreshHint == other.refreshHint
            && self.foreignSequence == other.foreignSequence
    }

    /// Whether no SVID of the trust domain can be valid.
    package var hasNoAuthorities: Bool {
        self.x509Authorities.isEmpty && self.jwtAuthorities.isEmpty && self.witAuthorities.isEmpty
    }

    /// The number to show and to publish: a partner's own where it gave one, else the store's.
    package var publishedSequence: UInt64 { self.foreignSequence ?? self.sequenceNumber }
}
