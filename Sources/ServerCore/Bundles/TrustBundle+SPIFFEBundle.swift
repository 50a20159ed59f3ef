import Foundation
package import SPIFFE

extension TrustBundle {
    /// The bundle as it is published. Tainted authorities are in it until they are revoked: SVIDs that they
    /// signed are valid still.
    ///
    /// - Parameter refreshHint: Where the stored bundle has none.
    /// - Throws: ``BundleError`` when an authority in the store cannot be read.
    package func published(
        refreshHint: Duration = .seconds(300)
    ) throws(BundleError) -> SPIFFEBundle {
        func date(_ seconds: Int64) -> Date? {
            seconds == 0 ? nil : Date(timeIntervalSince1970: TimeInterval(seconds))
        }
        return try SPIFFEBundle(
            trustDomain: self.trustDomain, x509Authorities: self.x509Authorities.map(\.der),
            jwtAuthorities: self.jwtAuthorities.map {
                SPIFFE.JWTAuthorityKey(
                    keyID: $0.keyID, publicKeyDER: $0.publicKeyDER, expiresAt: date($0.expiresAt))
            },
            witAuthorities: self.witAuthorities.map {
                SPIFFE.WITAuthorityKey(
                    keyID: $0.keyID, publicKeyDER: $0.publicKeyDER, expiresAt: date($0.expiresAt))
            },
            refreshHint: self.refreshHint > 0 ? .seconds(self.refreshHint) : refreshHint,
            sequenceNumber: self.sequenceNumber)
    }
}
