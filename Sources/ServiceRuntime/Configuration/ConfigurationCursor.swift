/// A position in the bytes of a configuration file that knows its line and column.
///
/// Both parsers move over one; every access is bounds-checked by returning nil past the end.
struct ConfigurationCursor {
    /// The deepest nesting that either parser follows.
    static let maximumDepth = 64

    let bytes: [UInt8]
    let file: String
    private(set) var index: Int
    private var line = 1
    private var lineStart = 0

    init(bytes: [UInt8], file: String) {
        self.bytes = bytes
        self.file = file
        self.index = bytes.starts(with: [0xEF, 0xBB, 0xBF]) ? 3 : 0
        self.lineStart = self.index
    }

    /// The byte here, or nil at the end.
    var current: UInt8? { self.peek(0) }

    var location: SourceLocation {
        SourceLocation(file: self.file, line: self.line, column: self.index - self.lineStart + 1)
    }

    /// The byte `offset` places further on, or nil past the end.
    func peek(_ offset: Int) -> UInt8? {
        let place = self.index + offset
        return place < self.bytes.count ? self.bytes[place] : nil
    }

    mutating func advance() {
        guard self.index < self.bytes.count else { return }
        if self.bytes[self.index] == UInt8(ascii: "\n") {
            self.line += 1
            self.lineStart = self.index + 1
        }
        self.index += 1
    }

    mutating func advance(_ count: Int) {
        for _ in 0..<count { self.advance() }
    }

    /// Steps over the byte when it is the one expected.
    mutating func consume(_ byte: UInt8) -> Bool {
        guard self.current == byte else { return false }
        self.advance()
        return true
    }

    mutating func skipWhitespace() {
        while let byte = self.current,
            byte == UInt8(ascii: " ") || byte == UInt8(ascii: "\t") || byte == UInt8(ascii: "\n")
                || byte == UInt8(ascii: "\r")
        {
            self.advance()
        }
    }

    /// What stands here, for a message.
    var found: String {
        guard let byte = self.current else { return "the end of the file" }
        return byte > 0x20 && byte < 0x7F
            ? QuotedText.quoted(String(Unicode.Scalar(byte))) : "byte 0x" + String(byte, radix: 16)
    }

    func failure(_ reason: String, at place: SourceLocation? = nil) -> ConfigurationError {
        let place = place ?? self.location
        return ConfigurationError(.syntax, "\(place), column \(place.column): \(reason)")
    }

    func checkDepth(_ depth: Int) throws(ConfigurationError) {
        if depth > ConfigurationCursor.maximumDepth {
            throw ConfigurationError(
                .tooDeep,
                "\(self.location): blocks and lists are nested deeper than "
                    + "\(ConfigurationCursor.maximumDepth) levels")
        }
    }

    /// Makes text of bytes taken from the file.
    func text(_ bytes: some Collection<UInt8>, at place: SourceLocation) throws(ConfigurationError)
        -> String
    {
        guard let text = String(validating: bytes, as: UTF8.self) else {
            throw self.failure("text is not UTF-8", at: place)
        }
        if bytes.contains(0) { throw self.failure("text has a NUL character", at: place) }
        return text
    }

    /// Reads `count` hexadecimal digits.
    mutating func hexadecimal(_ count: Int) throws(ConfigurationError) -> UInt32 {
        var value: UInt32 = 0
        for _ in 0..<count {
            guard let byte = self.current, let digit = Unicode.Scalar(byte).hexadecimalDigit else {
                throw self.failure("expected \(count) hexadecimal digits, found \(self.found)")
            }
            value = value << 4 | digit
            self.advance()
        }
        return value
    }

    /// Appends a scalar as UTF-8.
    func append(_ value: UInt32, to bytes: inout [UInt8]) throws(ConfigurationError) {
        guard let scalar = Unicode.Scalar(value) else {
            throw self.failure("escape names no Unicode character")
        }
        bytes.append(contentsOf: UTF8.encode(scalar) ?? UTF8.encodedReplacementCharacter)
    }
}

extension Unicode.Scalar {
    /// The value of the scalar as a hexadecimal digit, or nil.
    fileprivate var hexadecimalDigit: UInt32? {
        switch self {
        case "0"..."9": self.value - 0x30
        case "a"..."f": self.value - 0x61 + 10
        case "A"..."F": self.value - 0x41 + 10
        default: nil
        }
    }
}
