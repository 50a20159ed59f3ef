import Crypto
import SPIFFE
import SwiftASN1
import X509

extension IssuanceRecord {
    /// The record of what is done with an authority.
    ///
    /// - Parameter reason: `authority` for a new one.
    init(
        _ entry: JournalEntry, of trustDomain: TrustDomain, reason: String, requestedBy: String
    ) {
        let kind: Kind
        var serial = entry.authorityID
        switch entry.kind {
        case .x509:
            kind = .x509Authority
            if let certificate = try? Certificate(derEncoded: entry.der) {
                serial = hex(certificate.serialNumber.bytes.drop { $0 == 0 })
            }
        case .jwt: kind = .jwtAuthority
        case .wit: kind = .witAuthority
        }
        self.init(
            kind: kind, spiffeID: trustDomain.id, serial: serial, authorityID: entry.authorityID,
            sha256: Array(SHA256.hash(data: entry.der)), expiresAt: entry.notAfter, reason: reason,
            requestedBy: requestedBy)
    }
}
