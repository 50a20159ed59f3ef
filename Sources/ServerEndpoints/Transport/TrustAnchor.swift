import SPIFFE
import ServerCore
import X509

/// What a caller's SVID rested on when its connection was made: a connection outlives an authority that is
/// revoked, what is done on it must not.
package struct TrustAnchor: Sendable {
    let trustDomain: TrustDomain
    let authority: Certificate

    /// Nil for who showed no certificate.
    init?(_ verified: VerifiedX509SVID?) {
        guard let verified, let authority = verified.chain.last else { return nil }
        self.trustDomain = verified.id.trustDomain
        self.authority = authority
    }

    /// The authority's subject key identifier in hexadecimal, which is its ID; nil when it has none. It is the
    /// authority's own word and not the leaf's, which the leaf's signer may choose.
    var authorityID: String? {
        (try? self.authority.extensions.subjectKeyIdentifier).map { hex($0.keyIdentifier) }
    }

    /// - Throws: ``ServerError`` `unavailable` when the authority is no longer in its trust domain's bundle.
    func check(_ bundles: any X509BundleSource) throws(ServerError) {
        let bundle = bundles.x509Bundle(for: self.trustDomain)
        guard bundle?.authorities.contains(self.authority) == true else {
            throw ServerError(
                .unavailable,
                "the authority of the caller's SVID is no longer in the bundle of \(self.trustDomain); connect "
                    + "again with a new SVID")
        }
    }
}
