/// A SPIFFE ID, such as `spiffe://example.org/ns/default/sa/web`.
///
/// Valid by construction and kept in the one canonical form, so equality is byte equality (SPIFFE-ID
/// §2.4). Nothing is ever normalised.
public struct SPIFFEID: Hashable, Sendable, Comparable, CustomStringConvertible {
    /// The whole ID, `spiffe://` included. At most 2048 bytes of ASCII.
    public let string: String
    /// Length of the trust domain in bytes.
    private let trustDomainLength: UInt8

    /// Parses a SPIFFE ID.
    ///
    /// Accepts only the canonical form: lower-case scheme and trust domain, no query, fragment, port or
    /// user info, no empty or dot segments, no trailing slash, at most 2048 bytes of ASCII. Upper case in
    /// scheme or trust domain is refused as §2.1 requires.
    ///
    /// - Parameter string: For example `spiffe://example.org/ns/default/sa/web`.
    /// - Throws: ``SPIFFEIDError`` whose `code` names the first rule broken; the message has its offset.
    /// - SeeAlso: SPIFFE-ID §2.1–2.4.
    public init(_ string: String) throws(SPIFFEIDError) {
        var copy = string
        let result = copy.withUTF8 { SPIFFEID.parse($0) }
        switch result {
        case .success(let length):
            self.string = copy
            self.trustDomainLength = UInt8(length)
        case .failure(let broken):
            throw SPIFFEIDError(broken.code, "SPIFFE ID", string, broken.reason)
        }
    }

    /// Makes a SPIFFE ID from a trust domain and a path.
    ///
    /// - Parameters:
    ///   - trustDomain: The trust domain.
    ///   - path: Empty, or starting with a slash, such as `/ns/default`.
    /// - Throws: ``SPIFFEIDError`` with the first rule that the path breaks.
    public init(trustDomain: TrustDomain, path: String) throws(SPIFFEIDError) {
        if let first = path.utf8.first, first != UInt8(ascii: "/") {
            throw SPIFFEIDError(.pathWithoutSlash, "path", path, "a path starts with \"/\"")
        }
        try self.init("spiffe://" + trustDomain.name + path)
    }

    /// For parts that have been checked already.
    init(checkedTrustDomain name: String, path: String) {
        self.string = "spiffe://" + name + path
        self.trustDomainLength = UInt8(name.utf8.count)
    }

    /// The trust domain the ID lives in.
    public var trustDomain: TrustDomain {
        let utf8 = self.string.utf8
        let start = utf8.index(utf8.startIndex, offsetBy: 9)
        let end = utf8.index(start, offsetBy: Int(self.trustDomainLength))
        return TrustDomain(checked: String(self.string[start..<end]))
    }

    /// The path with its leading slash, or the empty string.
    public var path: String {
        let utf8 = self.string.utf8
        return String(
            self.string[utf8.index(utf8.startIndex, offsetBy: 9 + Int(self.trustDomainLength))...])
    }

    /// Whether the ID is the trust domain's own, without a path.
    public var hasEmptyPath: Bool { self.string.utf8.count == 9 + Int(self.trustDomainLength) }

    /// The path's segments, in order, without slashes.
    public var pathSegments: [Substring] { self.path.split(separator: "/") }

    /// Whether the ID lies in the trust domain. Does not allocate.
    public func isMember(of trustDomain: TrustDomain) -> Bool {
        Int(self.trustDomainLength) == trustDomain.name.utf8.count
            && self.string.utf8.dropFirst(9).starts(with: trustDomain.name.utf8)
    }

    public var description: String { self.string }

    public static func < (left: SPIFFEID, right: SPIFFEID) -> Bool { left.string < right.string }

    public static func == (left: SPIFFEID, right: SPIFFEID) -> Bool { left.string == right.string }

    public func hash(into hasher: inout Hasher) { hasher.combine(self.string) }

    /// The length of the trust domain, or the first broken rule with its reason.
    private static func parse(_ bytes: UnsafeBufferPointer<UInt8>) -> ParseResult {
        func failure(_ code: SPIFFEIDError.Code, _ reason: @autoclosure () -> String) -> ParseResult
        {
            .failure((code, reason()))
        }
        if bytes.isEmpty {
            return failure(.empty, "it is empty; expected spiffe://<trust domain>/<path>")
        }
        let scheme: StaticString = "spiffe://"
        guard bytes.count >= 9,
            (0..<9).allSatisfy({ bytes[$0] == scheme.utf8Start[$0] })
        else {
            return failure(.scheme, "it does not start with \"spiffe://\" in lower case")
        }
        var index = 9
        while index < bytes.count, bytes[index] != UInt8(ascii: "/") { index += 1 }
        if let broken = TrustDomain.firstBrokenRule(bytes[9..<index]) {
            return .failure(broken)
        }
        let trustDomainLength = index - 9
        if bytes.count > 2048 {
            return failure(.tooLong, "it has \(bytes.count) bytes; at most 2048 are allowed")
        }
        while index < bytes.count {
            let start = index + 1  // bytes[index] is the slash
            index = start
            while index < bytes.count, bytes[index] != UInt8(ascii: "/") {
                if !isSegmentByte(bytes[index]) {
                    return failure(
                        .pathCharacter,
                        "path has \(TrustDomain.printable(bytes[index])) at byte \(index); "
                            + "allowed are A-Z a-z 0-9 . - _")
                }
                index += 1
            }
            let length = index - start
            if length == 0 {
                return index == bytes.count
                    ? failure(.trailingSlash, "path ends with \"/\"")
                    : failure(.emptySegment, "path has an empty segment at byte \(start)")
            }
            if length <= 2, bytes[start] == UInt8(ascii: "."), bytes[index - 1] == UInt8(ascii: ".")
            {
                return failure(.dotSegment, "path has a \".\" or \"..\" segment at byte \(start)")
            }
        }
        return .success(trustDomainLength)
    }

    private enum ParseResult {
        case success(Int)
        case failure((code: SPIFFEIDError.Code, reason: String))
    }

    @inline(__always)
    private static func isSegmentByte(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "A")...UInt8(ascii: "Z"): true
        default: TrustDomain.isTrustDomainByte(byte)
        }
    }
}
