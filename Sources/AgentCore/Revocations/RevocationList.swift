import SwiftASN1
import X509

/// A CertificateList (RFC 5280 §5), read as far as an agent needs: who signed it and which serial numbers it names.
struct RevocationList: Sendable {
    /// Why a list is of no use.
    struct Refused: Error, Hashable, CustomStringConvertible {
        let description: String
    }

    /// The most that one list may be.
    static let mostBytes = 48 * 1024 * 1024

    let der: [UInt8]
    /// Key ID of the authority that signed it.
    let authorityKeyID: [UInt8]
    /// Serial numbers of what it takes back, for good or for a while, without leading zeros.
    let serialNumbers: Set<[UInt8]>

    private let signed: Range<Int>
    private let signature: Range<Int>
    private let algorithm: Certificate.SignatureAlgorithm

    /// Reads a list. Its signature is checked by ``isSigned(by:)``.
    init(der: [UInt8]) throws(Refused) {
        guard der.count <= Self.mostBytes else {
            throw Refused(description: "it has more than \(Self.mostBytes) bytes")
        }
        do throws(DERCursor.Malformed) { try self.init(reading: der) } catch {
            throw Refused(description: "it is malformed: \(error.what)")
        }
    }

    private init(reading der: [UInt8]) throws(DERCursor.Malformed) {
        var outer = DERCursor(der)
        let list = try outer.next(0x30, "the list")
        try outer.requireEnd("the list")
        var parts = outer.inside(list)
        let toBeSigned = try parts.next(0x30, "the signed part")
        let algorithm = try parts.next(0x30, "the signature's algorithm")
        let signature = try parts.next(0x03, "the signature")
        try parts.requireEnd("the signature")
        guard let known = Self.algorithm(Array(der[algorithm.contents])) else {
            throw DERCursor.Malformed(what: "the signature's algorithm is not known")
        }
        guard signature.contents.count > 1, der[signature.contents.lowerBound] == 0 else {
            throw DERCursor.Malformed(what: "the signature is no whole number of bytes")
        }

        var fields = parts.inside(toBeSigned)
        if fields.nextTag == 0x02 {
            let version = try fields.next(0x02, "the version")
            guard der[version.contents].elementsEqual([1]) else {
                throw DERCursor.Malformed(what: "its version is not 2")
            }
        }
        let inner = try fields.next(0x30, "the inner algorithm")
        guard der[inner.whole].elementsEqual(der[algorithm.whole]) else {
            throw DERCursor.Malformed(what: "it names two algorithms")
        }
        _ = try fields.next(0x30, "the issuer")
        _ = try Self.time(&fields, "thisUpdate")
        if fields.nextTag == 0x17 || fields.nextTag == 0x18 {
            _ = try Self.time(&fields, "nextUpdate")
        }
        var serialNumbers: Set<[UInt8]> = []
        if fields.nextTag == 0x30 {
            let revoked = try fields.next(0x30, "the revoked certificates")
            var entries = fields.inside(revoked)
            while !entries.isAtEnd {
                let entry = try entries.next(0x30, "an entry")
                serialNumbers.insert(try Self.serialNumber(entries.inside(entry)))
            }
        }
        let extensions = try fields.next(0xa0, "the extensions")
        try fields.requireEnd("the extensions")
        self.authorityKeyID = try Self.authorityKeyID(fields.inside(extensions))
        self.der = der
        self.serialNumbers = serialNumbers
        self.signed = toBeSigned.whole
        self.signature = (signature.contents.lowerBound + 1)..<signature.contents.upperBound
        self.algorithm = known
    }

    /// Whether the authority with that certificate signed the list.
    func isSigned(by authority: Certificate) -> Bool {
        authority.publicKey.isValidSignature(
            self.der[self.signature], for: self.der[self.signed],
            signatureAlgorithm: self.algorithm)
    }

    /// As ``serialNumbers`` holds them.
    static func significant(_ serialNumber: some Sequence<UInt8>) -> [UInt8] {
        Array(serialNumber.drop { $0 == 0 })
    }

    private static func time(
        _ fields: inout DERCursor, _ what: String
    ) throws(DERCursor.Malformed) -> DERCursor.Element {
        let time = try fields.next(nil, what)
        guard time.tag == 0x17 || time.tag == 0x18 else {
            throw DERCursor.Malformed(what: "\(what) is no time")
        }
        return time
    }

    private static func serialNumber(
        _ entry: DERCursor
    ) throws(DERCursor.Malformed) -> [UInt8] {
        var entry = entry
        let number = try entry.next(0x02, "a serial number")
        _ = try Self.time(&entry, "a date of revocation")
        if !entry.isAtEnd {
            let extensions = try entry.next(0x30, "an entry's extensions")
            try entry.requireEnd("an entry's extensions")
            var each = entry.inside(extensions)
            while !each.isAtEnd {
                // An entry for another issuer's certificate says so in a critical extension.
                _ = try Self.known(each.inside(each.next(0x30, "an entry's extension")))
            }
        }
        guard number.contents.count >= 1, number.contents.count <= 32 else {
            throw DERCursor.Malformed(what: "a serial number has a bad length")
        }
        return Self.significant(entry.bytes[number.contents])
    }

    private static func authorityKeyID(
        _ explicit: DERCursor
    ) throws(DERCursor.Malformed) -> [UInt8] {
        var explicit = explicit
        let list = try explicit.next(0x30, "the list of extensions")
        try explicit.requireEnd("the list of extensions")
        var each = explicit.inside(list)
        var found: [UInt8]?
        while !each.isAtEnd {
            let (id, value) = try Self.known(each.inside(each.next(0x30, "an extension")))
            // authorityKeyIdentifier, 2.5.29.35
            guard id == [0x55, 0x1d, 0x23] else { continue }
            var holder = DERCursor(each.bytes, in: value)
            let identifier = try holder.next(0x30, "the authority's key identifier")
            try holder.requireEnd("the authority's key identifier")
            var members = holder.inside(identifier)
            let keyID = try members.next(0x80, "the authority's key ID")
            guard found == nil, (1...64).contains(keyID.contents.count) else {
                throw DERCursor.Malformed(what: "the authority's key ID is bad")
            }
            found = Array(each.bytes[keyID.contents])
        }
        guard let found else {
            throw DERCursor.Malformed(what: "it does not name its authority's key")
        }
        return found
    }

    /// An extension's OID and value. A critical one is refused: none that may stand here is understood, and each
    /// would change what the list means (deltas, lists of a part, entries for others).
    private static func known(
        _ fields: DERCursor
    ) throws(DERCursor.Malformed) -> (id: [UInt8], value: Range<Int>) {
        var fields = fields
        let id = try fields.next(0x06, "an extension's ID")
        if fields.nextTag == 0x01 {
            let critical = try fields.next(0x01, "whether an extension is critical")
            guard fields.bytes[critical.contents].allSatisfy({ $0 == 0 }) else {
                throw DERCursor.Malformed(what: "it has a critical extension that is not known")
            }
        }
        let value = try fields.next(0x04, "an extension's value")
        try fields.requireEnd("an extension's value")
        return (Array(fields.bytes[id.contents]), value.contents)
    }

    /// - Parameter identifier: contents of an AlgorithmIdentifier.
    private static func algorithm(_ identifier: [UInt8]) -> Certificate.SignatureAlgorithm? {
        let ecdsa: [UInt8] = [0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03]
        let rsa: [UInt8] = [0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01]
        switch identifier {
        case ecdsa + [2]: return .ecdsaWithSHA256
        case ecdsa + [3]: return .ecdsaWithSHA384
        case ecdsa + [4]: return .ecdsaWithSHA512
        case rsa + [0x0b, 0x05, 0x00], rsa + [0x0b]: return .sha256WithRSAEncryption
        case rsa + [0x0c, 0x05, 0x00], rsa + [0x0c]: return .sha384WithRSAEncryption
        case rsa + [0x0d, 0x05, 0x00], rsa + [0x0d]: return .sha512WithRSAEncryption
        case [0x06, 0x03, 0x2b, 0x65, 0x70]: return .ed25519
        default: return nil
        }
    }
}
