/// The certificates of one CRL, each encoded once and kept in the order of the serial numbers.
///
/// Replacing 100,000 of them by 100,001 encodes one. The rest is sorting and copying, so neither of them has an object on the
/// heap for each certificate.
struct CRLEntries: Sendable {
    private enum Code {
        static let enumerated: UInt8 = 0x0A
        /// `certificateHold` (RFC 5280 §5.3.1).
        static let certificateHold: UInt8 = 6
        static let reasonCode: [UInt8] = [0x06, 0x03, 0x55, 0x1D, 0x15]
    }

    /// In order.
    private var certificates: [RevokedCertificate] = []
    /// Where the element of each ends in ``encoded``.
    private var ends: [Int] = []
    /// The elements of `revokedCertificates`, one after the other, in DER.
    private(set) var encoded: [UInt8] = []

    /// How many there are.
    var count: Int { self.certificates.count }

    /// Takes these in place of the ones before.
    ///
    /// Of several with one serial number one stays: what is taken back for good counts more than what is suspended,
    /// and the earlier date more than the later.
    ///
    /// - Returns: whether anything has changed.
    mutating func replace(with certificates: [RevokedCertificate]) -> Bool {
        let wanted = Self.ordered(certificates)
        if wanted == self.certificates { return false }
        var encoded: [UInt8] = []
        encoded.reserveCapacity(self.encoded.count + 64)
        var ends: [Int] = []
        ends.reserveCapacity(wanted.count)
        var held = 0
        for certificate in wanted {
            while held < self.certificates.count,
                self.certificates[held].number < certificate.number
            {
                held += 1
            }
            if held < self.certificates.count, self.certificates[held] == certificate {
                let start = held == 0 ? 0 : self.ends[held - 1]
                encoded.append(contentsOf: self.encoded[start..<self.ends[held]])
            } else {
                encoded.append(contentsOf: Self.encode(certificate))
            }
            ends.append(encoded.count)
        }
        self.certificates = wanted
        self.ends = ends
        self.encoded = encoded
        return true
    }

    /// By serial number, each once.
    private static func ordered(_ certificates: [RevokedCertificate]) -> [RevokedCertificate] {
        var ordered = certificates
        // Of one number the weightiest comes first.
        ordered.sort { one, other in
            if one.number != other.number { return one.number < other.number }
            if one.isSuspended != other.isSuspended { return other.isSuspended }
            return one.revokedAt < other.revokedAt
        }
        var kept = 0
        for index in ordered.indices
        where kept == 0 || ordered[index].number != ordered[kept - 1].number {
            ordered[kept] = ordered[index]
            kept += 1
        }
        ordered.removeLast(ordered.count - kept)
        return ordered
    }

    /// `SEQUENCE { userCertificate, revocationDate, crlEntryExtensions OPTIONAL }` (RFC 5280 §5.1.2.6). No reason is
    /// written for what was taken back for good: `unspecified` is said by saying nothing.
    private static func encode(_ certificate: RevokedCertificate) -> [UInt8] {
        var writer = DERWriter(capacity: 64)
        writer.sequence { writer in
            if certificate.isSuspended {
                writer.sequence { writer in
                    writer.sequence { writer in
                        writer.octetString { writer in
                            writer.wrap(Code.enumerated) {
                                $0.put(CollectionOfOne(Code.certificateHold))
                            }
                        }
                        writer.put(Code.reasonCode)
                    }
                }
            }
            writer.time(certificate.revokedAt)
            writer.integer(Array(certificate.number.bytes.drop { $0 == 0 }))
        }
        return writer.bytes
    }
}
