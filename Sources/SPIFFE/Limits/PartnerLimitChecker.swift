/// Says whether an identity lies within the limits of its trust domain.
package struct PartnerLimitChecker: Sendable {
    /// What an SVID was presented as.
    package enum Use: Sendable {
        case x509
        /// WIT-SVIDs go with it: both are signed tokens.
        case jwt
    }

    /// What was found out.
    package enum Finding: Hashable, Sendable {
        /// Within the limits, or there are none.
        case accepted
        /// Outside; says of what, for people.
        case outside(String)
        /// The limits have not been told yet; for people.
        case unknown(String)
    }

    /// Where they are known.
    package let source: any PartnerLimitSource

    /// - Parameters:
    ///   - source: Nil takes the verifier's bundles, if they know limits as well.
    ///   - bundles: The verifier's bundles.
    /// - Returns: nil when there is nobody to ask.
    package init?(_ source: (any PartnerLimitSource)?, bundles: any Sendable) {
        guard let source = source ?? (bundles as? any PartnerLimitSource) else { return nil }
        self.source = source
    }

    /// Checks an identity that has been proven.
    package func check(_ id: SPIFFEID, for use: Use) -> Finding {
        let trustDomain = id.trustDomain
        guard let limits = self.source.partnerLimits(for: trustDomain) else { return .accepted }
        guard limits.isKnown else {
            return .unknown(
                "the limits of \(trustDomain) have not been told yet, so nothing of it is accepted")
        }
        switch use {
        case .x509 where !limits.allowsX509:
            return .outside("X509-SVIDs of \(trustDomain) are not accepted here")
        case .jwt where !limits.allowsJWT:
            return .outside("JWT-SVIDs and WIT-SVIDs of \(trustDomain) are not accepted here")
        default: break
        }
        guard limits.accepts(id) else {
            return .outside(
                "\(id) is outside of the paths that are accepted of \(trustDomain): accepted is "
                    + "\(limits.rule)")
        }
        return .accepted
    }

    /// Checks a verified peer.
    ///
    /// - Throws: ``X509SVIDError`` `outsideLimits` or `limitsUnknown`.
    package func check(_ peer: VerifiedX509SVID) throws(X509SVIDError) {
        switch self.check(peer.id, for: .x509) {
        case .accepted: return
        case .outside(let reason):
            throw X509SVIDError(.outsideLimits, "X509-SVID of \(peer.id) rejected: \(reason)")
        case .unknown(let reason):
            throw X509SVIDError(.limitsUnknown, "X509-SVID of \(peer.id) rejected: \(reason)")
        }
    }
}
