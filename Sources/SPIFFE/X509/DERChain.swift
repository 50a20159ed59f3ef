/// Certificates one after the other in DER, as the Workload API and SPIRE's APIs carry them.
package enum DERChain {
    /// Cuts concatenated DER certificates apart without parsing them.
    ///
    /// One stray byte between or behind them fails the whole (Workload API §5.2): nothing is skipped.
    ///
    /// - Throws: ``X509SVIDError`` `malformedCertificate` with the offset.
    package static func split(_ concatenated: [UInt8]) throws(X509SVIDError) -> [[UInt8]] {
        var certificates: [[UInt8]] = []
        var rest = concatenated[...]
        while !rest.isEmpty {
            guard let element = DERElement(rest), element.tag == 0x30 else {
                throw X509SVIDError(
                    .malformedCertificate,
                    "no DER certificate at byte \(rest.startIndex) of \(concatenated.count)")
            }
            certificates.append(Array(element.encoded))
            rest = element.rest
        }
        return certificates
    }
}

/// The first element of some DER: its tag, content, whole encoding, and what follows it.
///
/// Only low tag numbers and definite, minimal lengths below 2^24 are taken.
struct DERElement {
    let tag: UInt8
    let content: ArraySlice<UInt8>
    let encoded: ArraySlice<UInt8>
    let rest: ArraySlice<UInt8>

    init?(_ bytes: ArraySlice<UInt8>) {
        guard bytes.count >= 2 else { return nil }
        let start = bytes.startIndex
        self.tag = bytes[start]
        guard self.tag & 0x1F != 0x1F else { return nil }
        var length = Int(bytes[start + 1])
        var header = 2
        if length >= 0x80 {
            let octets = length & 0x7F
            guard (1...3).contains(octets), bytes.count >= 2 + octets else { return nil }
            length = bytes[(start + 2)..<(start + 2 + octets)].reduce(0) { $0 << 8 | Int($1) }
            guard length >= 0x80, length >> (8 * (octets - 1)) != 0 else { return nil }
            header += octets
        }
        guard bytes.count - header >= length else { return nil }
        let end = start + header + length
        self.content = bytes[(start + header)..<end]
        self.encoded = bytes[start..<end]
        self.rest = bytes[end...]
    }
}
