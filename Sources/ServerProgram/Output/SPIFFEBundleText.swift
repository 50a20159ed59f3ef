import ControlPlaneProto
import SPIFFE
import ServiceRuntime
import SwiftProtobuf

/// The text form of a bundle as a SPIFFE bundle document.
enum SPIFFEBundleText {
    /// The document on one line.
    ///
    /// - Throws: ``CommandError`` when the server's bundle has a part that cannot be published.
    static func json(_ bundle: Spire_Api_Types_Bundle) throws(CommandError) -> String {
        do {
            let document = try SPIFFEBundle(
                trustDomain: try TrustDomain(nameOrID: bundle.trustDomain),
                x509Authorities: bundle.x509Authorities.map { Array($0.asn1) },
                jwtAuthorities: bundle.jwtAuthorities.map {
                    JWTAuthorityKey(keyID: $0.keyID, publicKeyDER: Array($0.publicKey))
                },
                refreshHint: bundle.refreshHint > 0 ? .seconds(bundle.refreshHint) : nil,
                sequenceNumber: bundle.sequenceNumber)
            return String(decoding: document.json(), as: UTF8.self)
        } catch {
            throw CommandError(
                "the server's bundle cannot be written: \(TerminalText.safe("\(error)"))")
        }
    }
}
