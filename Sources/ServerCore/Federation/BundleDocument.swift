package import SPIFFE

/// A trust domain's bundle as partners fetch it: the bytes of a SPIFFE bundle with sequence number and refresh hint,
/// and the entity tag that names them (SPIFFE Federation §5, Trust Domain and Bundle §4).
package struct BundleDocument: Sendable, Hashable {
    /// JSON in UTF-8.
    package let bytes: [UInt8]
    /// Of the bytes, in its quotes.
    package let entityTag: String
    /// `spiffe_sequence`; one more with every change of the bundle.
    package let sequenceNumber: UInt64

    /// - Parameters:
    ///   - bundle: What is published, tainted authorities included: partners need them until they are revoked.
    ///   - refreshHint: How often partners shall look, instead of the bundle's own hint; written in whole seconds.
    /// - Throws: ``BundleError`` for an authority that has no place in a SPIFFE bundle.
    package init(_ bundle: TrustBundle, refreshHint: Duration) throws(BundleError) {
        let document = try SPIFFEBundle(
            trustDomain: bundle.trustDomain,
            x509Authorities: bundle.x509Authorities.map(\.der),
            jwtAuthorities: bundle.jwtAuthorities.map {
                JWTAuthorityKey(keyID: $0.keyID, publicKeyDER: $0.publicKeyDER)
            },
            witAuthorities: bundle.witAuthorities.map {
                WITAuthorityKey(keyID: $0.keyID, publicKeyDER: $0.publicKeyDER)
            },
            refreshHint: refreshHint, sequenceNumber: bundle.sequenceNumber)
        self.bytes = document.json()
        self.entityTag = EntityTag.of(self.bytes)
        self.sequenceNumber = bundle.sequenceNumber
    }
}
