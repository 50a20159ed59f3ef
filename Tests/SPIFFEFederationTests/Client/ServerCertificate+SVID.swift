import Foundation
import LoopbackTestSupport
import SPIFFE
import SPIFFETesting

extension ServerCertificate {
    /// An X509-SVID.
    init(_ authority: TestAuthority, _ path: String, notAfter: Date? = nil) throws {
        let svid = try authority.x509SVID(path, notAfter: notAfter)
        self.init(chain: svid.certificateChainDER, keyDER: svid.privateKeyDER)
    }
}
