/// Why a SPIFFE ID, trust domain name or path was refused.
///
/// `code` is stable and meant for comparison; `message` is for people: it quotes the input (capped at
/// 200 bytes) and says which byte broke which rule.
public struct SPIFFEIDError: Error, Hashable, Sendable, CustomStringConvertible {
    /// The first rule of SPIFFE-ID §2 that the input broke.
    public struct Code: Hashable, Sendable, CustomStringConvertible {
        private enum Value: String, Hashable, Sendable {
            case empty, scheme, trustDomainMissing, trustDomainCharacter, trustDomainTooLong
            case pathCharacter, emptySegment, dotSegment, trailingSlash, pathWithoutSlash, tooLong
        }
        private let value: Value
        private init(_ value: Value) { self.value = value }

        /// The input is empty.
        public static let empty = Code(.empty)
        /// The input does not start with `spiffe://` in lower case.
        public static let scheme = Code(.scheme)
        /// There is no trust domain.
        public static let trustDomainMissing = Code(.trustDomainMissing)
        /// The trust domain has a byte outside `a-z 0-9 . - _`.
        public static let trustDomainCharacter = Code(.trustDomainCharacter)
        /// The trust domain is longer than 255 bytes.
        public static let trustDomainTooLong = Code(.trustDomainTooLong)
        /// A path segment has a byte outside `A-Z a-z 0-9 . - _`.
        public static let pathCharacter = Code(.pathCharacter)
        /// The path has an empty segment.
        public static let emptySegment = Code(.emptySegment)
        /// The path has a `.` or `..` segment.
        public static let dotSegment = Code(.dotSegment)
        /// The path ends with a slash.
        public static let trailingSlash = Code(.trailingSlash)
        /// A path was given that does not start with a slash.
        public static let pathWithoutSlash = Code(.pathWithoutSlash)
        /// The whole ID is longer than 2048 bytes.
        public static let tooLong = Code(.tooLong)

        public var description: String { self.value.rawValue }
    }

    /// The rule that was broken; compare this.
    public let code: Code
    /// What was refused and what would have been accepted, for people.
    public let message: String

    init(_ code: Code, _ what: String, _ input: String, _ reason: String) {
        self.code = code
        self.message = "\(what) \(SPIFFEIDError.quoted(input)) rejected: \(reason)"
    }

    public var description: String { self.message }

    /// Quotes untrusted text for a message: control characters escaped, at most 200 bytes.
    static func quoted(_ text: String) -> String {
        var result = "\""
        for scalar in text.unicodeScalars {
            if result.utf8.count > 200 {
                result += "…"
                break
            }
            if scalar.value < 0x20 || scalar.value == 0x7F {
                result += "\\u{" + String(scalar.value, radix: 16) + "}"
            } else if scalar == "\"" {
                result += "\\\""
            } else {
                result.unicodeScalars.append(scalar)
            }
        }
        return result + "\""
    }
}
