package import Foundation
package import X509

/// Says whether an SVID was taken back, by a policy and the source that it goes by.
package struct RevocationChecker: Sendable {
    /// What was found out.
    package enum Finding: Hashable, Sendable {
        /// Not taken back, or nothing is known.
        case clear
        /// Taken back; says what, for people.
        case revoked(String)
        /// What should know is overdue or has no place for it; says why, for people.
        case unknown(String)
    }

    /// Where it is known.
    package let source: any RevocationSource
    private let overdue: RevocationPolicy.Overdue

    /// - Parameters:
    ///   - policy: What to do.
    ///   - bundles: The verifier's bundles, which may know revocations as well.
    /// - Returns: nil when there is nothing to check or nobody to ask.
    package init?(_ policy: RevocationPolicy, bundles: any Sendable) {
        guard let overdue = policy.overdue,
            let source = policy.source ?? (bundles as? any RevocationSource)
        else { return nil }
        self.source = source
        self.overdue = overdue
    }

    // MARK: X.509

    /// Checks each certificate of a verified path but its root against the list of its issuer.
    ///
    /// - Parameter path: The leaf first, the authority of the bundle last.
    package func check(
        path: [Certificate], of trustDomain: TrustDomain, now: Date
    ) -> Finding {
        guard let known = self.source.revocations(for: trustDomain),
            !known.certificateLists.isEmpty || known.missingSince != nil
        else { return .clear }
        var doubt: Finding = .clear
        for (certificate, issuer) in zip(path, path.dropFirst()) {
            guard let list = known.newestList(by: issuer) else {
                if let since = known.missingSince, doubt == .clear {
                    doubt = self.finding(
                        overdueSince: since, now, "a CRL that could not be used, perhaps its own,")
                }
                continue
            }
            if let entry = list.entry(for: certificate.serialNumber) {
                return .revoked(
                    "its issuer has taken certificate \(Self.hex(certificate.serialNumber)) back "
                        + "at \(Self.text(entry.revokedAt)) (reason code \(entry.reason))")
            }
            if doubt == .clear {
                doubt = self.finding(overdueSince: list.nextUpdate, now, "the CRL of its issuer")
            }
        }
        return doubt
    }

    /// Checks a verified peer.
    ///
    /// - Throws: ``X509SVIDError`` `revoked` or `revocationUnknown`.
    package func check(_ peer: VerifiedX509SVID, now: Date) throws(X509SVIDError) {
        switch self.check(path: peer.chain, of: peer.id.trustDomain, now: now) {
        case .clear: return
        case .revoked(let reason):
            throw X509SVIDError(.revoked, "X509-SVID of \(peer.id) rejected: \(reason)")
        case .unknown(let reason):
            throw X509SVIDError(
                .revocationUnknown, "X509-SVID of \(peer.id) rejected: \(reason)")
        }
    }

    /// Whether a peer's SVID was taken back; in doubt it was not.
    package func isRevoked(_ peer: VerifiedX509SVID, now: Date) -> Bool {
        if case .revoked = self.check(path: peer.chain, of: peer.id.trustDomain, now: now) {
            return true
        }
        return false
    }

    // MARK: Tokens

    /// Checks a token whose signature is good.
    ///
    /// - Parameters:
    ///   - signingInputSHA256: Of header, dot and payload.
    ///   - reference: Its place in a status list, if it has one.
    package func check(
        signingInputSHA256: [UInt8], reference: TokenStatusReference?, of trustDomain: TrustDomain,
        now: Date
    ) -> Finding {
        guard let known = self.source.revocations(for: trustDomain) else { return .clear }
        if known.revokedTokens.contains(signingInputSHA256) {
            return .revoked("its issuer has taken it back")
        }
        // Without any list the trust domain does not tell in this way, whatever the token says.
        guard let reference, !known.statusLists.isEmpty else { return .clear }
        guard let list = known.statusList(reference.uri) else {
            return self.doubt(
                "there is no status list \(SPIFFEIDError.quoted(reference.uri)), where its status is"
            )
        }
        guard let status = list.status(at: reference.index) else {
            return self.doubt(
                "the status list has \(list.count) places; its own is \(reference.index)")
        }
        guard status == .valid else {
            return .revoked("the status list of its issuer says that it is \(status)")
        }
        guard let freshUntil = list.freshUntil else { return .clear }
        return self.finding(overdueSince: freshUntil, now, "the status list of its issuer")
    }

    // MARK: Doubt

    private func doubt(_ reason: String) -> Finding {
        self.overdue == .accepted ? .clear : .unknown(reason)
    }

    private func finding(overdueSince due: Date, _ now: Date, _ what: String) -> Finding {
        guard case .refused(let bound) = self.overdue, now > due + bound.timeInterval else {
            return .clear
        }
        return .unknown("\(what) is overdue since \(Self.text(due)), which is too long ago")
    }

    private static func text(_ date: Date) -> String { date.formatted(.iso8601) }

    private static func hex(_ serial: Certificate.SerialNumber) -> String {
        let digits = serial.bytes.drop { $0 == 0 }
        return digits.map { byte in
            let text = String(byte, radix: 16)
            return byte < 16 ? "0" + text : text
        }.joined()
    }
}

extension TrustDomainRevocations {
    /// The newest list that this authority has signed.
    func newestList(by authority: Certificate) -> CertificateRevocationList? {
        var newest: CertificateRevocationList?
        for list in self.certificateLists where list.isSigned(by: authority) {
            if let found = newest, !list.isNewer(than: found) { continue }
            newest = list
        }
        return newest
    }

    /// The list with exactly this name, compared by bytes.
    func statusList(_ uri: String) -> StatusList? {
        guard let list = self.statusLists[uri], list.uri.utf8.elementsEqual(uri.utf8) else {
            return nil
        }
        return list
    }
}
