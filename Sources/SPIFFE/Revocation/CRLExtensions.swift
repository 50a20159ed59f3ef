/// The extensions of a CRL that matter here (RFC 5280 §5.2), and the rule for all others.
struct CRLExtensions {
    private static let authorityKey: [UInt8] = [0x55, 0x1D, 0x23]
    private static let crlNumber: [UInt8] = [0x55, 0x1D, 0x14]
    private static let delta: [UInt8] = [0x55, 0x1D, 0x1B]
    private static let distributionPoint: [UInt8] = [0x55, 0x1D, 0x1C]
    static let reasonCode: [UInt8] = [0x55, 0x1D, 0x15]

    private(set) var authorityKeyIdentifier: ArraySlice<UInt8>?
    private(set) var number: SerialNumber?

    /// - Parameter element: The field `crlExtensions`, if there is one.
    init(_ element: DERElement?) throws(RevocationListError) {
        guard let element else { return }
        var wrapper = DERFields(element.content)
        let list = try wrapper.take(0x30, "crlExtensions")
        try wrapper.end("crlExtensions")
        var keyIdentifier: ArraySlice<UInt8>?
        var number: SerialNumber?
        try Self.forEach(list.content) { (oid, isCritical, value) throws(RevocationListError) in
            switch oid {
            case Self.authorityKey: keyIdentifier = try Self.keyIdentifier(value)
            case Self.crlNumber: number = try Self.number(value)
            case Self.delta:
                throw RevocationListError(.unsupported, "CRL is a delta; expected a complete one")
            // Says that the list is for some certificates only, or of several issuers.
            case Self.distributionPoint:
                throw RevocationListError(
                    .unsupported,
                    "CRL has an issuing distribution point; expected one for all certificates of its issuer"
                )
            default: if isCritical { throw Self.unknown(oid) }
            }
        }
        self.authorityKeyIdentifier = keyIdentifier
        self.number = number
    }

    static func unknown(_ oid: [UInt8]) -> RevocationListError {
        let text = oid.prefix(32).map { String($0, radix: 16) }.joined(separator: " ")
        return RevocationListError(
            .unsupported, "CRL has a critical extension that is not understood (OID bytes \(text))")
    }

    /// Walks through `Extensions`; one that occurs twice is refused.
    static func forEach(
        _ content: ArraySlice<UInt8>,
        _ body: (_ oid: [UInt8], _ isCritical: Bool, _ value: ArraySlice<UInt8>)
            throws(RevocationListError) -> Void
    ) throws(RevocationListError) {
        var list = DERFields(content)
        guard !list.isAtEnd else { throw CRLContent.malformed("its extensions are empty") }
        var seen: Set<[UInt8]> = []
        while !list.isAtEnd {
            var fields = DERFields(try list.take(0x30, "extension").content)
            let oid = Array(try fields.take(0x06, "extension OID").content)
            var isCritical = false
            if let flag = fields.takeIf(0x01) {
                // DER leaves out what is false.
                guard flag.content.elementsEqual([0xFF]) else {
                    throw CRLContent.malformed("an extension is critical in no DER way")
                }
                isCritical = true
            }
            let value = try fields.take(0x04, "extension value").content
            try fields.end("extension")
            guard seen.insert(oid).inserted, seen.count <= 32 else {
                throw CRLContent.malformed("an extension occurs twice, or there are too many")
            }
            try body(oid, isCritical, value)
        }
    }

    private static func keyIdentifier(
        _ value: ArraySlice<UInt8>
    ) throws(RevocationListError) -> ArraySlice<UInt8>? {
        guard let sequence = DERElement(value), sequence.tag == 0x30, sequence.rest.isEmpty else {
            throw CRLContent.malformed("its authority key identifier is none")
        }
        var fields = DERFields(sequence.content)
        return fields.takeIf(0x80)?.content
    }

    private static func number(
        _ value: ArraySlice<UInt8>
    ) throws(RevocationListError) -> SerialNumber {
        guard let element = DERElement(value), element.tag == 0x02, element.rest.isEmpty,
            let number = SerialNumber(integer: element.content)
        else { throw CRLContent.malformed("its number is negative, or longer than 20 octets") }
        return number
    }
}
