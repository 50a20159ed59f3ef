import Foundation
import SPIFFE
import X509

/// Lists of what was taken back.
enum Revocations {
    static func certificateList(_ bytes: [UInt8]) {
        guard let list = try? CertificateRevocationList(der: bytes) else { return }
        demand(list.der == bytes)
        demand(list.count <= CertificateRevocationList.maximumEntries)
        demand(list.thisUpdate <= list.nextUpdate)
    }

    /// The input is the claims of a list; the signature is good.
    static func statusList(_ bytes: [UInt8]) {
        guard let issuer = Tokens.statusIssuer, let token = try? issuer.signer.sign(claims: bytes),
            let list = try? StatusList(token: token, uri: "u", bundle: issuer.bundle)
        else { return }
        demand(list.status(at: UInt64(list.count)) == nil)
        demand(list.count == 0 || list.status(at: UInt64(list.count - 1)) != nil)
    }
}
