import SPIFFE
import X509

/// A list of revoked certificates as the SDK reads it, of an authority that it names by its key.
struct RevocationList: Sendable {
    /// Why a list is of no use.
    struct Refused: Error, Hashable, CustomStringConvertible {
        let description: String
    }

    /// Key ID of the authority that signed it.
    let authorityKeyID: [UInt8]
    private let list: CertificateRevocationList

    var der: [UInt8] { self.list.der }

    /// Reads a list. Its signature is checked by ``isSigned(by:)``.
    init(der: [UInt8]) throws(Refused) {
        do throws(RevocationListError) {
            self.list = try CertificateRevocationList(der: der)
        } catch {
            throw Refused(description: error.message)
        }
        // Several authorities may have one name.
        guard let keyID = self.list.authorityKeyIdentifier, (1...64).contains(keyID.count) else {
            throw Refused(description: "CRL does not name its authority's key")
        }
        self.authorityKeyID = keyID
    }

    /// How many certificates it takes back, for good or for a while.
    var count: Int { self.list.count }

    /// Whether it takes the certificate with that serial number back, for good or for a while.
    func contains(_ serialNumber: [UInt8]) -> Bool {
        self.list.contains(serialNumber: serialNumber)
    }

    /// Whether the authority with that certificate signed the list.
    func isSigned(by authority: Certificate) -> Bool { self.list.isSigned(by: authority) }
}
