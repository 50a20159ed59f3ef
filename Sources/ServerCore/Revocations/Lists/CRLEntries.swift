/// The certificates of one CRL, each encoded once and kept in the order of the serial numbers.
///
/// Replacing 10,000 of them by 10,001 encodes one.
struct CRLEntries: Sendable {
    private struct Entry: Sendable {
        let certificate: RevokedCertificate
        /// The serial number without leading zeros, most significant byte first.
        let serial: [UInt8]
        /// One element of `revokedCertificates`.
        let der: [UInt8]

        func precedes(_ other: Entry) -> Bool {
            guard self.serial.count == other.serial.count else {
                return self.serial.count < other.serial.count
            }
            return self.serial.lexicographicallyPrecedes(other.serial)
        }
    }

    private enum Code {
        static let enumerated: UInt8 = 0x0A
        /// `certificateHold` (RFC 5280 §5.3.1).
        static let certificateHold: UInt8 = 6
        static let reasonCode: [UInt8] = [0x06, 0x03, 0x55, 0x1D, 0x15]
    }

    private var entries: [Entry] = []

    /// How many there are.
    var count: Int { self.entries.count }

    /// All of them, one after the other, in DER.
    var encoded: [UInt8] {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(self.entries.reduce(0) { $0 + $1.der.count })
        for entry in self.entries { bytes.append(contentsOf: entry.der) }
        return bytes
    }

    /// Takes these in place of the ones before.
    ///
    /// Of several with one serial number one stays: what is taken back for good counts more than what is suspended,
    /// and the earlier date more than the later.
    ///
    /// - Returns: whether anything has changed, and the serial numbers that are none and were left out.
    mutating func replace(
        with certificates: [RevokedCertificate]
    ) -> (hasChanged: Bool, unreadable: [String]) {
        var wanted: [String: RevokedCertificate] = [:]
        wanted.reserveCapacity(certificates.count)
        for certificate in certificates {
            wanted[certificate.serial] =
                wanted[certificate.serial].map {
                    Self.weightier($0, certificate)
                } ?? certificate
        }
        let before = self.entries.count
        self.entries.removeAll { entry in
            guard wanted[entry.certificate.serial] == entry.certificate else { return true }
            wanted[entry.certificate.serial] = nil
            return false
        }
        let removed = before - self.entries.count
        // What is left is new.
        var added: [Entry] = []
        var unreadable: [String] = []
        for certificate in wanted.values {
            guard let serial = Self.bytes(hex: certificate.serial) else {
                unreadable.append(certificate.serial)
                continue
            }
            added.append(
                Entry(
                    certificate: certificate, serial: serial,
                    der: Self.encode(certificate, serial)))
        }
        guard removed > 0 || !added.isEmpty else { return (false, unreadable.sorted()) }
        added.sort { $0.precedes($1) }
        self.merge(added)
        return (true, unreadable.sorted())
    }

    private mutating func merge(_ added: [Entry]) {
        guard !added.isEmpty else { return }
        var merged: [Entry] = []
        merged.reserveCapacity(self.entries.count + added.count)
        var next = 0
        for entry in self.entries {
            while next < added.count, added[next].precedes(entry) {
                merged.append(added[next])
                next += 1
            }
            merged.append(entry)
        }
        merged.append(contentsOf: added[next...])
        self.entries = merged
    }

    private static func weightier(
        _ one: RevokedCertificate, _ other: RevokedCertificate
    ) -> RevokedCertificate {
        if one.isSuspended != other.isSuspended { return one.isSuspended ? other : one }
        return one.revokedAt <= other.revokedAt ? one : other
    }

    /// `SEQUENCE { userCertificate, revocationDate, crlEntryExtensions OPTIONAL }` (RFC 5280 §5.1.2.6). No reason is
    /// written for what was taken back for good: `unspecified` is said by saying nothing.
    private static func encode(_ certificate: RevokedCertificate, _ serial: [UInt8]) -> [UInt8] {
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
            writer.integer(serial)
        }
        return writer.bytes
    }

    /// Nil for text that is no hex number.
    private static func bytes(hex text: String) -> [UInt8]? {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(text.utf8.count / 2 + 1)
        // An odd number of digits has its first byte from one.
        var high: UInt8? = text.utf8.count.isMultiple(of: 2) ? nil : 0
        for character in text.utf8 {
            let digit: UInt8
            switch character {
            case UInt8(ascii: "0")...UInt8(ascii: "9"): digit = character - UInt8(ascii: "0")
            case UInt8(ascii: "a")...UInt8(ascii: "f"): digit = character - UInt8(ascii: "a") + 10
            default: return nil
            }
            if let first = high {
                bytes.append(first << 4 | digit)
                high = nil
            } else {
                high = digit
            }
        }
        guard !bytes.isEmpty else { return nil }
        return Array(bytes.drop { $0 == 0 })
    }
}
