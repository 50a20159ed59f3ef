package import SPIFFE
import SwiftASN1
import X509

/// The authorities of a bundle, as far as they sign lists of what was taken back.
package struct PartnerAuthorities: Sendable {
    package let trustDomain: TrustDomain
    /// By subject key identifier in lower-case hex; one that has none signs no list that anybody could name.
    let x509: [String: [Certificate]]
    /// Those that have none.
    let withoutKeyID: [Certificate]
    let jwt: JWTBundle

    /// Authorities that cannot be read are left out.
    package init(_ bundle: TrustBundle) {
        self.trustDomain = bundle.trustDomain
        var x509: [String: [Certificate]] = [:]
        var withoutKeyID: [Certificate] = []
        for authority in bundle.x509Authorities {
            guard let certificate = try? Certificate(derEncoded: authority.der) else { continue }
            guard let identifier = try? certificate.extensions.subjectKeyIdentifier else {
                withoutKeyID.append(certificate)
                continue
            }
            x509[Self.hex(identifier.keyIdentifier), default: []].append(certificate)
        }
        self.x509 = x509
        self.withoutKeyID = withoutKeyID
        var keys: [String: JWTVerificationKey] = [:]
        for authority in bundle.jwtAuthorities {
            keys[authority.keyID] = try? JWTVerificationKey(publicKeyDER: authority.publicKeyDER)
        }
        self.jwt = JWTBundle(trustDomain: bundle.trustDomain, authorities: keys)
    }

    static func hex(_ bytes: some Sequence<UInt8>) -> String {
        bytes.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
    }

    /// Whether an ID is the lower-case hex of a key identifier.
    static func isID(_ id: String, of keyIdentifier: [UInt8]) -> Bool {
        id.utf8.elementsEqual(Self.hex(keyIdentifier).utf8)
    }
}
