import ControlPlaneProto
import Foundation
import SPIFFE
import ServiceRuntime

/// The text form of a bundle as a SPIFFE bundle document (Trust Domain and Bundle §4).
enum SPIFFEBundleText {
    /// How often to look for a new bundle when nobody has set it, in seconds (§4.1.2).
    private static let refreshHint: Int64 = 300

    /// - Throws: ``CommandError`` when the server sent something that is no bundle.
    static func json(_ bundle: Spire_Api_Types_Bundle) throws -> String {
        do {
            let document = try self.bundle(bundle)
            return String(decoding: document.json(), as: UTF8.self)
        } catch {
            let reason = TerminalText.safe("\(error)")
            throw CommandError(
                "the server's bundle cannot be written as a SPIFFE bundle: \(reason)")
        }
    }

    /// The message as a bundle.
    ///
    /// - Throws: any error, when it is none.
    static func bundle(_ bundle: Spire_Api_Types_Bundle) throws -> SPIFFEBundle {
        return try SPIFFEBundle(
            trustDomain: TrustDomain(bundle.trustDomain),
            x509Authorities: bundle.x509Authorities.map { [UInt8]($0.asn1) },
            jwtAuthorities: bundle.jwtAuthorities.map { key in
                JWTAuthorityKey(
                    keyID: key.keyID, publicKeyDER: [UInt8](key.publicKey),
                    expiresAt: key.expiresAt > 0
                        ? Date(timeIntervalSince1970: TimeInterval(key.expiresAt)) : nil)
            },
            witAuthorities: bundle.witAuthorities.map { key in
                WITAuthorityKey(
                    keyID: key.keyID, publicKeyDER: [UInt8](key.publicKey),
                    expiresAt: key.expiresAt > 0
                        ? Date(timeIntervalSince1970: TimeInterval(key.expiresAt)) : nil)
            },
            refreshHint: .seconds(
                bundle.refreshHint > 0 ? bundle.refreshHint : Self.refreshHint),
            sequenceNumber: bundle.sequenceNumber)
    }
}
