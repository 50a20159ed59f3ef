/// The name of a trust domain, such as `example.org`.
///
/// Valid by construction: 1 to 255 bytes of `a-z 0-9 . - _`, with no further rules: a name that looks
/// like a host name or an IP address is treated like any other (SPIFFE-ID §2.1).
public struct TrustDomain: Hashable, Sendable, Comparable, CustomStringConvertible {
    /// The bare name, without scheme.
    public let name: String

    /// Parses a bare trust domain name.
    ///
    /// - Parameter name: For example `example.org`.
    /// - Throws: ``SPIFFEIDError`` with the first rule broken.
    /// - SeeAlso: SPIFFE-ID §2.1, §2.3.
    public init(_ name: String) throws(SPIFFEIDError) {
        var copy = name
        let broken = copy.withUTF8 { bytes in TrustDomain.firstBrokenRule(bytes[...]) }
        if let broken {
            throw SPIFFEIDError(broken.code, "trust domain", name, broken.reason)
        }
        self.name = copy
    }

    /// Parses a bare trust domain name or any SPIFFE ID inside it (`spiffe://example.org/x` gives
    /// `example.org`); the form in which settings and map keys may name a trust domain.
    ///
    /// - Throws: ``SPIFFEIDError`` with the first rule broken.
    public init(nameOrID text: String) throws(SPIFFEIDError) {
        if text.utf8.contains(UInt8(ascii: ":")) {
            self = try SPIFFEID(text).trustDomain
        } else {
            try self.init(text)
        }
    }

    /// For text that has been checked already.
    init(checked name: String) { self.name = name }

    /// The SPIFFE ID of the trust domain itself: no path.
    public var id: SPIFFEID { SPIFFEID(checkedTrustDomain: self.name, path: "") }

    public var description: String { self.name }

    public static func < (left: TrustDomain, right: TrustDomain) -> Bool { left.name < right.name }

    /// The first rule that the bytes break as a trust domain, or nil.
    static func firstBrokenRule(
        _ bytes: Slice<UnsafeBufferPointer<UInt8>>
    ) -> (code: SPIFFEIDError.Code, reason: String)? {
        if bytes.isEmpty {
            return (
                .trustDomainMissing,
                "trust domain is missing; expected a name such as \"example.org\""
            )
        }
        for index in bytes.indices where !isTrustDomainByte(bytes[index]) {
            return (
                .trustDomainCharacter,
                "trust domain has \(printable(bytes[index])) at byte \(index); allowed are a-z 0-9 . - _"
            )
        }
        if bytes.count > 255 {
            return (
                .trustDomainTooLong,
                "trust domain has \(bytes.count) bytes; at most 255 are allowed"
            )
        }
        return nil
    }

    @inline(__always)
    static func isTrustDomainByte(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "0")...UInt8(ascii: "9"),
            UInt8(ascii: "."), UInt8(ascii: "-"), UInt8(ascii: "_"):
            true
        default:
            false
        }
    }

    /// A byte as a person can read it in a message.
    static func printable(_ byte: UInt8) -> String {
        byte > 0x20 && byte < 0x7F
            ? "\"\(Character(Unicode.Scalar(byte)))\"" : "byte 0x" + String(byte, radix: 16)
    }
}
