package import Foundation

/// Looks again at peers that were verified earlier, when something has become known that ends their access.
package struct PeerRecheck: Sendable {
    private let revocation: RevocationChecker?
    private let limits: PartnerLimitChecker?

    /// - Returns: nil when there is nobody who could know anything new.
    init?(_ revocation: RevocationChecker?, _ limits: PartnerLimitChecker?) {
        if revocation == nil, limits == nil { return nil }
        self.revocation = revocation
        self.limits = limits
    }

    /// Asks to be told when peers are to be looked at.
    ///
    /// - Parameter onChange: Called after each change, perhaps from several threads; must be quick.
    /// - Returns: What keeps the calls coming, until all of it is let go.
    package func observe(_ onChange: @escaping @Sendable () -> Void) -> [RevocationObservation] {
        [
            self.revocation?.source.observeRevocations(onChange),
            self.limits?.source.observePartnerLimits(onChange),
        ].compactMap { $0 }
    }

    /// Whether a peer's access has ended. Doubt does not end it: that news is late or missing is a reason to let nobody
    /// in, not to throw everybody out.
    ///
    /// - Throws: ``X509SVIDError`` `revoked` or `outsideLimits`.
    package func check(_ peer: VerifiedX509SVID, now: Date) throws(X509SVIDError) {
        do throws(X509SVIDError) {
            try self.revocation?.check(peer, now: now)
        } catch {
            if error.code == .revoked { throw error }
        }
        do throws(X509SVIDError) {
            try self.limits?.check(peer)
        } catch {
            if error.code == .outsideLimits { throw error }
        }
    }
}
