import SwiftASN1
import X509

/// The parts of a `CertificateList` (RFC 5280 §5.1) as they were read; nothing of it is verified yet.
struct CRLContent: Sendable {
    let issuer: DistinguishedName
    let algorithm: Certificate.SignatureAlgorithm
    let signed: ArraySlice<UInt8>
    let signature: ArraySlice<UInt8>
    /// Unix seconds.
    let thisUpdate: Int64
    let nextUpdate: Int64
    let serials: RevokedSerials
    let authorityKeyIdentifier: ArraySlice<UInt8>?
    let number: SerialNumber?

    init(_ der: [UInt8]) throws(RevocationListError) {
        guard der.count <= CertificateRevocationList.maximumLength else {
            throw RevocationListError(
                .tooLarge,
                "CRL has \(der.count) bytes; at most \(CertificateRevocationList.maximumLength)")
        }
        var outer = DERFields(try Self.sequence(der))
        let list = try outer.take(0x30, "tbsCertList")
        let algorithm = try outer.take(0x30, "signatureAlgorithm")
        let signature = try outer.take(0x03, "signature")
        try outer.end("CRL")
        guard signature.content.first == 0 else {
            throw Self.malformed("its signature is no whole number of bytes")
        }
        self.signed = list.encoded
        self.signature = signature.content.dropFirst()
        self.algorithm = try Self.algorithm(algorithm.content)

        var fields = DERFields(list.content)
        guard let version = fields.takeIf(0x02), version.content.elementsEqual([1]) else {
            throw RevocationListError(.unsupported, "CRL is not of version 2")
        }
        guard try fields.take(0x30, "signature").encoded == algorithm.encoded else {
            throw RevocationListError(
                .unsupported, "CRL names one signature algorithm inside and another one outside")
        }
        self.issuer = try Self.name(try fields.take(0x30, "issuer"))
        self.thisUpdate = try Self.time(fields.next(), "thisUpdate")
        self.nextUpdate = try Self.time(fields.next(), "nextUpdate")
        guard self.thisUpdate <= self.nextUpdate else {
            throw Self.malformed("nextUpdate lies before thisUpdate")
        }
        self.serials = RevokedSerials(try Self.entries(fields.takeIf(0x30)))
        let extensions = try CRLExtensions(fields.takeIf(0xA0))
        try fields.end("tbsCertList")
        self.authorityKeyIdentifier = extensions.authorityKeyIdentifier
        self.number = extensions.number
    }

    private static func sequence(_ der: [UInt8]) throws(RevocationListError) -> ArraySlice<UInt8> {
        guard let whole = DERElement(der[...]), whole.tag == 0x30, whole.rest.isEmpty else {
            throw self.malformed("it is not one DER sequence")
        }
        return whole.content
    }

    static func malformed(_ what: String) -> RevocationListError {
        RevocationListError(.malformed, "CRL cannot be read: \(what)")
    }

    private static func name(_ element: DERElement) throws(RevocationListError)
        -> DistinguishedName
    {
        let name: DistinguishedName
        do {
            name = try DistinguishedName(derEncoded: try DER.parse(element.encoded))
        } catch {
            throw self.malformed("its issuer is no name")
        }
        guard !name.isEmpty else { throw self.malformed("its issuer has no name") }
        return name
    }

    // MARK: Entries

    private static func entries(
        _ element: DERElement?
    ) throws(RevocationListError) -> [RevokedSerials.Entry] {
        guard let element else { return [] }
        // An empty list is left out (RFC 5280 §5.1.2.6); some write it, and it means the same.
        var entries: [RevokedSerials.Entry] = []
        // The smallest entry has 20 bytes.
        entries.reserveCapacity(element.content.count / 20)
        var fields = DERFields(element.content)
        while !fields.isAtEnd {
            guard entries.count < CertificateRevocationList.maximumEntries else {
                throw RevocationListError(
                    .tooLarge,
                    "CRL has more than \(CertificateRevocationList.maximumEntries) entries")
            }
            entries.append(try self.entry(try fields.take(0x30, "entry")))
        }
        return entries
    }

    private static func entry(
        _ element: DERElement
    ) throws(RevocationListError) -> RevokedSerials.Entry {
        var fields = DERFields(element.content)
        guard let serial = SerialNumber(integer: try fields.take(0x02, "serial number").content)
        else {
            throw self.malformed("a serial number is negative, or longer than 20 octets")
        }
        let revokedAt = try self.time(fields.next(), "revocationDate")
        var reason: UInt8 = 0
        if let extensions = fields.takeIf(0x30) {
            try CRLExtensions.forEach(extensions.content) {
                (oid, isCritical, value) throws(RevocationListError) in
                switch oid {
                case CRLExtensions.reasonCode: reason = try self.reason(value)
                // Entries of other issuers' certificates make a CRL indirect.
                default: if isCritical { throw CRLExtensions.unknown(oid) }
                }
            }
        }
        try fields.end("entry")
        return RevokedSerials.Entry(serial: serial, revokedAt: revokedAt, reason: reason)
    }

    private static func reason(_ value: ArraySlice<UInt8>) throws(RevocationListError) -> UInt8 {
        guard let element = DERElement(value), element.tag == 0x0A, element.rest.isEmpty,
            element.content.count == 1, let reason = element.content.first
        else { throw self.malformed("a reason is no reason code") }
        guard reason <= 10, reason != 7, reason != 8 else {
            throw RevocationListError(
                .unsupported, "CRL has reason code \(reason), which only a delta or nobody has")
        }
        return reason
    }

    // MARK: Primitive values

    /// The signature algorithms that X509-SVIDs may have, by their whole identifier with parameters.
    private static func algorithm(
        _ content: ArraySlice<UInt8>
    ) throws(RevocationListError) -> Certificate.SignatureAlgorithm {
        let ecdsa: [UInt8] = [0x06, 0x08, 0x2A, 0x86, 0x48, 0xCE, 0x3D, 0x04, 0x03]
        let rsa: [UInt8] = [0x06, 0x09, 0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 0x01, 0x01]
        let bytes = Array(content)
        let known: [([UInt8], Certificate.SignatureAlgorithm)] = [
            (ecdsa + [2], .ecdsaWithSHA256), (ecdsa + [3], .ecdsaWithSHA384),
            (ecdsa + [4], .ecdsaWithSHA512), (rsa + [11, 5, 0], .sha256WithRSAEncryption),
            (rsa + [12, 5, 0], .sha384WithRSAEncryption),
            (rsa + [13, 5, 0], .sha512WithRSAEncryption),
            ([0x06, 0x03, 0x2B, 0x65, 0x70], .ed25519),
        ]
        guard let found = known.first(where: { $0.0 == bytes }) else {
            throw RevocationListError(
                .unsupported, "CRL is signed with an algorithm that is none of those of X509-SVIDs")
        }
        return found.1
    }

    private static func time(
        _ element: DERElement?, _ name: String
    ) throws(RevocationListError) -> Int64 {
        guard let element, let seconds = DERTime.seconds(element) else {
            throw self.malformed("\(name) is no time in UTC")
        }
        return seconds
    }
}

/// The elements of some DER, one after the other.
struct DERFields {
    private var rest: ArraySlice<UInt8>

    init(_ content: ArraySlice<UInt8>) { self.rest = content }

    var isAtEnd: Bool { self.rest.isEmpty }

    mutating func next() -> DERElement? {
        guard let element = DERElement(self.rest) else { return nil }
        self.rest = element.rest
        return element
    }

    mutating func takeIf(_ tag: UInt8) -> DERElement? {
        guard let element = DERElement(self.rest), element.tag == tag else { return nil }
        self.rest = element.rest
        return element
    }

    mutating func take(_ tag: UInt8, _ name: String) throws(RevocationListError) -> DERElement {
        guard let element = self.takeIf(tag) else {
            throw CRLContent.malformed("there is no \(name) where one is expected")
        }
        return element
    }

    func end(_ name: String) throws(RevocationListError) {
        guard self.rest.isEmpty else { throw CRLContent.malformed("\(name) goes on after its end") }
    }
}

/// UTCTime and GeneralizedTime in the one form that RFC 5280 §4.1.2.5 allows: to the second, with `Z`.
enum DERTime {
    /// Unix seconds.
    static func seconds(_ element: DERElement) -> Int64? {
        let digits = element.content.dropLast().map { Int64($0) - 0x30 }
        guard element.content.last == UInt8(ascii: "Z"),
            digits.allSatisfy({ $0 >= 0 && $0 <= 9 })
        else { return nil }
        func pair(_ index: Int) -> Int64 { digits[index] * 10 + digits[index + 1] }
        var year: Int64
        var at = 2
        switch (element.tag, digits.count) {
        case (0x17, 12): year = pair(0) < 50 ? 2000 + pair(0) : 1900 + pair(0)
        case (0x18, 14):
            year = pair(0) * 100 + pair(2)
            at = 4
        default: return nil
        }
        let (month, day) = (pair(at), pair(at + 2))
        let (hour, minute, second) = (pair(at + 4), pair(at + 6), pair(at + 8))
        let isLeap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
        let lengths: [Int64] = [31, isLeap ? 29 : 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]
        guard (1...12).contains(month), (1...lengths[Int(month) - 1]).contains(day), hour < 24,
            minute < 60, second < 60
        else { return nil }
        // Days since 1970, counted in years that begin in March.
        if month <= 2 { year -= 1 }
        let era = (year >= 0 ? year : year - 399) / 400
        let yearOfEra = year - era * 400
        let dayOfYear = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1
        let dayOfEra = yearOfEra * 365 + yearOfEra / 4 - yearOfEra / 100 + dayOfYear
        let days = era * 146_097 + dayOfEra - 719_468
        return days * 86_400 + hour * 3600 + minute * 60 + second
    }
}
