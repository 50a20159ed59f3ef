import Foundation
package import SPIFFE
import X509

/// The lists of what one partner has taken back, as far as they were good: rules without I/O.
///
/// A list is taken only when an authority of the partner's bundle has signed it and it does not tell of an earlier time than the one
/// that is held. The last good one stays until then. One that the partner names no more counts until it ends, and goes then: whoever
/// answers for the partner cannot make a revocation go away by saying that there are no lists.
package struct PartnerLists: Sendable {
    /// The most bytes of one CRL.
    package static let maximumCRLBytes = 2 * 1024 * 1024
    /// The most bytes of a status list as it is sent.
    package static let maximumStatusListBytes = 1024 * 1024
    /// The most bytes that a status list may unpack to: 8 million tokens of two bits. Agents keep them unpacked.
    package static let maximumUnpackedBytes = 2 * 1024 * 1024
    /// The most bytes of all lists of one partner.
    package static let maximumBytes = 4 * 1024 * 1024
    /// The most CRLs of one partner.
    package static let maximumCRLs = 32

    /// A CRL that was checked.
    package struct CRL: Sendable {
        /// Subject key identifier of the X.509 authority, in lower-case hex.
        package let authorityID: String
        /// The CRL (RFC 5280 §5), DER.
        package let der: [UInt8]
        let sha256: [UInt8]
        let number: CRLNumber?
        /// Unix seconds.
        let thisUpdate: Int64
        /// Unix seconds.
        package let nextUpdate: Int64
    }

    /// A status list that was checked.
    package struct StatusToken: Sendable {
        /// The list's name in tokens, and its `sub`.
        package let uri: String
        /// The JWS, in its compact form.
        package let token: String
        let sha256: [UInt8]
        /// Unix seconds.
        let issuedAt: Int64
        /// Unix seconds; nil when it says nothing.
        package let nextUpdate: Int64?
        /// Those whose keys it was checked with last.
        var authorities: JWTBundle
    }

    /// How far a partner's clock may be ahead, in seconds. A list from the future would keep every later one out.
    static let clockTolerance: Int64 = 300

    /// By the authority's ID.
    package private(set) var crls: [String: CRL] = [:]
    /// Nil where there is none.
    package private(set) var statusList: StatusToken?

    package init() {}

    /// Whether there is no list at all.
    package var isEmpty: Bool { self.crls.isEmpty && self.statusList == nil }

    /// The bytes of all lists.
    package var bytes: Int {
        self.crls.values.reduce(self.statusList?.token.utf8.count ?? 0) { $0 + $1.der.count }
    }

    /// When the first of them ends. Unix seconds; nil without lists that end.
    package var nextUpdate: Int64? {
        (self.crls.values.map(\.nextUpdate) + [self.statusList?.nextUpdate].compactMap { $0 }).min()
    }

    /// What verifiers are told. There are no digests of tokens in it: nobody signs those.
    package func told(of trustDomain: TrustDomain) -> TrustDomainLists {
        TrustDomainLists(
            trustDomain: trustDomain, crls: self.crls.mapValues(\.der),
            statusLists: self.statusList.map { [$0.uri: $0.token] } ?? [:])
    }

    // MARK: Which

    /// What is to be fetched: what the listing says is another one than what is held, of authorities that the bundle has.
    package func missing(
        _ listing: RevocationListing, _ authorities: PartnerAuthorities
    ) -> [RevocationDocument] {
        // Beyond the first so many nothing is taken, so nothing is asked for.
        var missing: [RevocationDocument] = listing.crls
            .filter { authorities.x509[$0.authorityID] != nil }.prefix(Self.maximumCRLs)
            .filter { self.crls[$0.authorityID]?.sha256 != $0.sha256 }
            .map { .crl(authorityID: $0.authorityID) }
        if let wanted = listing.statusList, !authorities.jwt.authorities.isEmpty,
            self.statusList?.sha256 != wanted.sha256 || self.statusList?.uri != wanted.uri
        {
            missing.append(.statusList)
        }
        return missing
    }

    /// Drops what nobody trusts any more, what has turned out to have the name of another trust domain's list, and what the
    /// partner names no more and has ended.
    ///
    /// - Parameters:
    ///   - listing: nil when the partner publishes none.
    ///   - keyIDs: Of all bundles.
    ///   - now: Unix seconds.
    /// - Returns: whether something was dropped.
    package mutating func drop(
        unlisted listing: RevocationListing?, _ authorities: PartnerAuthorities,
        keyIDs: AuthorityKeyIDs, now: Int64
    ) -> Bool {
        let named = Set(listing?.crls.map(\.authorityID) ?? [])
        let before = self.crls.count
        self.crls = self.crls.filter { id, crl in
            Self.hasClaim(id, authorities, keyIDs) && (named.contains(id) || crl.nextUpdate > now)
        }
        var hasDropped = self.crls.count != before
        if let held = self.statusList, held.authorities != authorities.jwt {
            // Whoever signed it may be trusted no more.
            if (try? StatusList(token: held.token, uri: held.uri, bundle: authorities.jwt)) == nil {
                self.statusList = nil
                hasDropped = true
            } else {
                self.statusList?.authorities = authorities.jwt
            }
        }
        // Without an end it says until when it may be kept only by being there.
        if let held = self.statusList, listing?.statusList?.uri != held.uri,
            held.nextUpdate.map({ $0 <= now }) ?? true
        {
            self.statusList = nil
            hasDropped = true
        }
        return hasDropped
    }

    /// Whether a CRL is held in whose name another trust domain's may come.
    package func hasRival(_ authorities: PartnerAuthorities, keyIDs: AuthorityKeyIDs) -> Bool {
        self.crls.keys.contains { !Self.hasClaim($0, authorities, keyIDs) }
    }

    private static func hasClaim(
        _ id: String, _ authorities: PartnerAuthorities, _ keyIDs: AuthorityKeyIDs
    ) -> Bool {
        authorities.x509[id]?.allSatisfy {
            keyIDs.rival(of: $0, of: authorities.trustDomain) == nil
        } ?? false
    }

    // MARK: Checking

    /// Reads a CRL and checks who has signed it.
    ///
    /// - Parameters:
    ///   - own: The X.509 authorities of our own trust domain. A CRL in the name of one of them would keep stock
    ///     verifiers from finding the right one.
    ///   - keyIDs: Those of all bundles: nor may a CRL have the name of another partner's authority.
    /// - Throws: ``ServerError`` `invalidArgument`.
    package static func crl(
        _ der: [UInt8], authorityID: String, _ authorities: PartnerAuthorities,
        own: PartnerAuthorities?, keyIDs: AuthorityKeyIDs
    ) throws(ServerError) -> CRL {
        func refused(_ reason: String) -> ServerError {
            ServerError(
                .invalidArgument,
                "CRL of authority \(authorityID) of \(authorities.trustDomain) rejected: \(reason)")
        }
        guard der.count <= Self.maximumCRLBytes else {
            throw refused("it has \(der.count) bytes; at most \(Self.maximumCRLBytes) are taken")
        }
        let list: CertificateRevocationList
        do throws(RevocationListError) {
            list = try CertificateRevocationList(der: der)
        } catch {
            throw refused(error.message)
        }
        guard let keyID = list.authorityKeyIdentifier else {
            throw refused("it does not name its authority's key")
        }
        if let own,
            own.x509.values.joined().contains(where: { list.isNamed($0) })
                || own.withoutKeyID.contains(where: { list.isNamed($0) })
        {
            throw refused("it names an authority of our own trust domain \(own.trustDomain)")
        }
        guard PartnerAuthorities.isID(authorityID, of: keyID) else {
            throw refused("it names another authority")
        }
        guard let signer = authorities.x509[authorityID]?.first(where: { list.isSigned(by: $0) })
        else {
            throw refused("that authority did not sign it")
        }
        if let rival = keyIDs.rival(of: signer, of: authorities.trustDomain) {
            throw refused("its authority has the key ID of one of \(rival), and another key")
        }
        return CRL(
            authorityID: authorityID, der: der, sha256: RevocationListing.digest(der),
            number: list.number, thisUpdate: Int64(list.thisUpdate.timeIntervalSince1970),
            nextUpdate: Int64(list.nextUpdate.timeIntervalSince1970))
    }

    /// Reads a status list and checks who has signed it.
    ///
    /// - Throws: ``ServerError`` `invalidArgument`.
    package static func statusToken(
        _ bytes: [UInt8], uri: String, _ authorities: PartnerAuthorities
    ) throws(ServerError) -> StatusToken {
        func refused(_ reason: String) -> ServerError {
            ServerError(
                .invalidArgument, "status list of \(authorities.trustDomain) rejected: \(reason)")
        }
        guard bytes.count <= Self.maximumStatusListBytes else {
            throw refused(
                "it has \(bytes.count) bytes; at most \(Self.maximumStatusListBytes) are taken")
        }
        guard let token = String(validating: bytes, as: UTF8.self) else {
            throw refused("it is no UTF-8")
        }
        let list: StatusList
        do throws(RevocationListError) {
            list = try StatusList(token: token, uri: uri, bundle: authorities.jwt)
        } catch {
            throw refused(error.message)
        }
        let unpacked = list.count / (8 / list.bitsPerToken)
        guard unpacked <= Self.maximumUnpackedBytes else {
            throw refused(
                "it unpacks to \(unpacked) bytes; at most \(Self.maximumUnpackedBytes) are taken")
        }
        let issuedAt = Int64(list.issuedAt.timeIntervalSince1970)
        let end =
            list.expiresAt.map { Int64($0.timeIntervalSince1970) }
            ?? list.timeToLive.map { issuedAt.addingReportingOverflow($0.components.seconds) }
            .map { $0.overflow ? .max : $0.partialValue }
        return StatusToken(
            uri: uri, token: token, sha256: RevocationListing.digest(bytes), issuedAt: issuedAt,
            nextUpdate: end, authorities: authorities.jwt)
    }

    // MARK: Taking

    /// Puts a checked CRL in the place of the one that is held.
    ///
    /// - Parameter now: Unix seconds.
    /// - Returns: whether it is another one.
    /// - Throws: ``ServerError`` `failedPrecondition` for one that is older than what is held and has not ended, or that is from the
    ///   future; `invalidArgument` for one that is too much.
    package mutating func take(_ crl: CRL, now: Int64) throws(ServerError) -> Bool {
        try Self.check(time: crl.thisUpdate, now: now, "CRL of authority \(crl.authorityID)")
        let held = self.crls[crl.authorityID]
        if let held, held.sha256 == crl.sha256 { return false }
        if let held, held.nextUpdate > now {
            let isOlder =
                switch (held.number, crl.number) {
                case (let old?, let new?):
                    new < old || (new == old && crl.thisUpdate < held.thisUpdate)
                // A number that is gone is no way around it.
                case (.some, nil): true
                case (nil, _): crl.thisUpdate < held.thisUpdate
                }
            guard !isOlder else {
                throw ServerError(
                    .failedPrecondition,
                    "CRL of authority \(crl.authorityID) not taken: its number is lower than that of the one at hand, or "
                        + "it was made earlier; the endpoint serves an older list")
            }
        }
        guard held != nil || self.crls.count < Self.maximumCRLs else {
            throw ServerError(
                .invalidArgument,
                "CRL of authority \(crl.authorityID) not taken: there are \(Self.maximumCRLs) already"
            )
        }
        try self.checkRoom(for: crl.der.count, replacing: held?.der.count ?? 0)
        self.crls[crl.authorityID] = crl
        return true
    }

    /// Puts a checked status list in the place of the one that is held.
    ///
    /// - Returns: whether it is another one.
    /// - Throws: ``ServerError``, as for a CRL.
    package mutating func take(_ list: StatusToken, now: Int64) throws(ServerError) -> Bool {
        try Self.check(time: list.issuedAt, now: now, "status list")
        if let held = self.statusList, held.uri.utf8.elementsEqual(list.uri.utf8) {
            if held.sha256 == list.sha256 { return false }
            let hasEnded = held.nextUpdate.map { $0 <= now } ?? false
            guard hasEnded || list.issuedAt >= held.issuedAt else {
                throw ServerError(
                    .failedPrecondition,
                    "status list not taken: it was made earlier than the one at hand; the endpoint serves an older list"
                )
            }
        }
        try self.checkRoom(
            for: list.token.utf8.count, replacing: self.statusList?.token.utf8.count ?? 0)
        self.statusList = list
        return true
    }

    private static func check(
        time: Int64, now: Int64, _ what: @autoclosure () -> String
    ) throws(ServerError) {
        guard time > now, time - now > Self.clockTolerance else { return }
        throw ServerError(
            .failedPrecondition,
            "\(what()) not taken: it was made \(time - now) seconds from now; check the partner's clock and ours"
        )
    }

    private func checkRoom(for bytes: Int, replacing old: Int) throws(ServerError) {
        let total = self.bytes - old + bytes
        guard total <= Self.maximumBytes else {
            throw ServerError(
                .invalidArgument,
                "list not taken: the partner's lists would have \(total) bytes; at most \(Self.maximumBytes) are kept"
            )
        }
    }
}
