package import Foundation
package import SPIFFE
import X509

/// How the bundle came from the endpoint that an invite names.
package enum InviteEndpointEvidence: Sendable {
    /// Over TLS with a certificate of a public authority for the URL's host (`https_web`).
    case webPKI
    /// Over TLS with these certificates, leaf first. The other end has proven to hold the leaf's key; nobody has
    /// looked at the certificates yet.
    case presented(certificatesDER: [[UInt8]])
}

/// An invite that may be acted upon.
package struct VerifiedInvite: Sendable {
    /// Why the bundle is the partner's.
    package enum Grounds: Sendable, Hashable {
        /// It has the fingerprint of the invite.
        case sameBundle
        /// It has changed since; the endpoint proved itself by an authority that the invite names.
        case namedAuthority
        /// It has changed since; the endpoint proved itself by its host name, and an authority that the invite
        /// names is still there.
        case webPKI
    }

    package let invite: Invite
    /// What will be trusted.
    package let bundle: SPIFFEBundle
    package let grounds: Grounds
}

extension InviteLine {
    /// Whether the fetched bundle is that of the partner who made the invite.
    ///
    /// The bundle comes from a network, so nothing in it counts before one of three things holds: it has the
    /// fingerprint that the invite names; or the endpoint's X509-SVID leads to an authority that the invite names by
    /// fingerprint (others in the fetched bundle do not count: whoever is in the middle could have added them); or
    /// the endpoint proved its host name and a named authority is still in the bundle. Then the invite's signature
    /// is held against the bundle's JWT authorities.
    ///
    /// - Parameter now: UTC.
    /// - Throws: ``InviteError`` `expired`, `bundle`, `endpoint` or `signature`.
    package func verify(
        _ bundle: SPIFFEBundle, from evidence: InviteEndpointEvidence, now: Date
    ) async throws(InviteError) -> VerifiedInvite {
        let invite = self.invite
        try invite.checkExpiry(now: now)
        guard bundle.trustDomain == invite.trustDomain else {
            throw InviteError(
                .bundle,
                "bundle is one of \(bundle.trustDomain), the invite one of \(invite.trustDomain)")
        }
        let grounds = try await self.grounds(bundle, evidence, now)
        try self.checkSignature(bundle, now)
        return VerifiedInvite(invite: invite, bundle: bundle, grounds: grounds)
    }

    private func grounds(
        _ bundle: SPIFFEBundle, _ evidence: InviteEndpointEvidence, _ now: Date
    ) async throws(InviteError) -> VerifiedInvite.Grounds {
        let isSame = BundleFingerprint.of(bundle) == self.invite.bundleFingerprint
        let named = bundle.x509Authorities.filter {
            self.invite.authorityFingerprints.contains(BundleFingerprint.of(x509Authority: $0))
        }
        switch (self.invite.profile, evidence) {
        case (.httpsWeb, .webPKI):
            if isSame { return .sameBundle }
            guard !named.isEmpty else { throw self.rotatedAway }
            return .webPKI
        case (.httpsSPIFFE(let endpointID), .presented(let chain)):
            // An endpoint in a third trust domain is for that domain's bundle to vouch for.
            guard endpointID.trustDomain == bundle.trustDomain else {
                if isSame { return .sameBundle }
                throw InviteError(
                    .bundle,
                    "bundle of \(bundle.trustDomain) has changed since the invite was made, and its endpoint "
                        + "\(quoted(endpointID.string)) cannot prove itself by it; ask the partner for a new "
                        + "invite")
            }
            guard isSame || !named.isEmpty else { throw self.rotatedAway }
            try await self.checkEndpoint(
                endpointID, chain, authorities: isSame ? bundle.x509Authorities : named, now)
            return isSame ? .sameBundle : .namedAuthority
        case (.httpsWeb, .presented), (.httpsSPIFFE, .webPKI):
            throw InviteError(
                .endpoint, "the endpoint was asked in another profile than the invite names")
        }
    }

    private func checkEndpoint(
        _ endpointID: SPIFFEID, _ chain: [[UInt8]], authorities: [[UInt8]], _ now: Date
    ) async throws(InviteError) {
        let peer: SPIFFEID
        do throws(X509SVIDError) {
            let bundle = try X509Bundle(
                trustDomain: self.invite.trustDomain, authoritiesDER: authorities)
            peer = try await X509SVIDVerifier(bundles: bundle, now: { now })
                .verify(chainDER: chain).id
        } catch {
            throw InviteError(
                .endpoint,
                "the endpoint's certificate does not lead to an authority that the invite names: "
                    + "\(error.message); if the partner has rotated its authorities by hand, ask for a new "
                    + "invite")
        }
        guard peer == endpointID else {
            throw InviteError(
                .endpoint,
                "the endpoint is \(quoted(peer.string)); the invite names \(quoted(endpointID.string))"
            )
        }
    }

    private func checkSignature(_ bundle: SPIFFEBundle, _ now: Date) throws(InviteError) {
        let signature: JWTSVID
        do throws(JWTSVIDError) {
            signature = try JWTSVID.validate(
                self.token, audience: self.invite.signatureAudience, bundles: bundle.jwtBundle,
                now: now)
        } catch {
            throw InviteError(
                .signature,
                "signature of the invite is not one of \(self.invite.trustDomain): \(error.message)"
            )
        }
        guard signature.id == (try? Invite.signerID(of: self.invite.trustDomain)),
            signature.audience.count == 1
        else {
            throw InviteError(
                .signature,
                "signature of the invite was made for \(quoted(signature.id.string)), which makes no invites"
            )
        }
    }

    private var rotatedAway: InviteError {
        InviteError(
            .bundle,
            "bundle of \(self.invite.trustDomain) has none of the authorities that the invite names; either "
                + "somebody else answered, or the partner has exchanged them all; ask for a new invite"
        )
    }
}

extension Invite {
    /// - Throws: ``InviteError`` `expired` when its time is over.
    package func checkExpiry(now: Date) throws(InviteError) {
        guard Int64(now.timeIntervalSince1970.rounded(.down)) < self.expiresAt else {
            throw InviteError(
                .expired, "invite of \(self.trustDomain) has expired; ask the partner for a new one"
            )
        }
    }

    /// Until when an invite made now can be accepted whatever the planned rotations are, Unix seconds.
    ///
    /// The endpoint shows an SVID that an authority of today signed at least until the newest of them is replaced
    /// (see ``AuthorityLifecycle``).
    ///
    /// - Returns: nil for a bundle without X.509 authorities.
    package static func latestExpiry(_ bundle: SPIFFEBundle) -> Int64? {
        bundle.x509Bundle.authorities.map { authority in
            let start = Int64(authority.notValidBefore.timeIntervalSince1970)
            let end = Int64(authority.notValidAfter.timeIntervalSince1970)
            return end - min(max(0, end - start) / 6, 7 * 86_400)
        }.max()
    }
}
