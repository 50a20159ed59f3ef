/// Parses JSON (RFC 8259) into the same tree as ``HCLParser``.
///
/// Strict: no comments, no trailing commas, nothing after the value. Keys may repeat here;
/// ``ConfigurationSection`` refuses duplicates with both places at hand.
struct JSONConfigurationParser {
    private var cursor: ConfigurationCursor

    init(bytes: [UInt8], file: String) {
        self.cursor = ConfigurationCursor(bytes: bytes, file: file)
    }

    /// Parses a whole file, which may hold any one value.
    mutating func parse() throws(ConfigurationError) -> ConfigurationNode {
        self.cursor.skipWhitespace()
        let node = try self.value(depth: 1)
        self.cursor.skipWhitespace()
        if self.cursor.current != nil {
            throw self.cursor.failure("expected the end of the file, found \(self.cursor.found)")
        }
        return node
    }

    private mutating func value(depth: Int) throws(ConfigurationError) -> ConfigurationNode {
        try self.cursor.checkDepth(depth)
        let place = self.cursor.location
        switch self.cursor.current {
        case UInt8(ascii: "{"):
            return ConfigurationNode(.object(try self.object(depth: depth)), at: place)
        case UInt8(ascii: "["):
            return ConfigurationNode(.list(try self.list(depth: depth)), at: place)
        case UInt8(ascii: "\""): return ConfigurationNode(.string(try self.string()), at: place)
        case UInt8(ascii: "-"), UInt8(ascii: "0"), UInt8(ascii: "1"), UInt8(ascii: "2"),
            UInt8(ascii: "3"), UInt8(ascii: "4"), UInt8(ascii: "5"), UInt8(ascii: "6"),
            UInt8(ascii: "7"), UInt8(ascii: "8"), UInt8(ascii: "9"):
            return ConfigurationNode(.number(try self.number()), at: place)
        default:
            switch self.word() {
            case "true": return ConfigurationNode(.bool(true), at: place)
            case "false": return ConfigurationNode(.bool(false), at: place)
            case "null": return ConfigurationNode(.null, at: place)
            default:
                throw self.cursor.failure(
                    "expected a JSON value, found \(self.cursor.found)", at: place)
            }
        }
    }

    private mutating func word() -> String {
        var word = ""
        while let byte = self.cursor.current, (0x61...0x7A).contains(byte), word.utf8.count < 8 {
            word.unicodeScalars.append(Unicode.Scalar(byte))
            self.cursor.advance()
        }
        return word
    }

    private mutating func number() throws(ConfigurationError) -> String {
        let place = self.cursor.location
        var bytes: [UInt8] = []
        while let byte = self.cursor.current, "0123456789+-.eE".utf8.contains(byte) {
            bytes.append(byte)
            self.cursor.advance()
        }
        let text = try self.cursor.text(bytes, at: place)
        let digits = text.utf8.drop { $0 == UInt8(ascii: "-") }
        let leadingZero =
            digits.first == UInt8(ascii: "0")
            && digits.dropFirst().first.map { (0x30...0x39).contains($0) } == true
        guard NumberText.isDecimal(text), !leadingZero else {
            throw self.cursor.failure("\(QuotedText.quoted(text)) is not a JSON number", at: place)
        }
        return text
    }

    private mutating func object(depth: Int) throws(ConfigurationError) -> [ConfigurationMember] {
        self.cursor.advance()
        var members: [ConfigurationMember] = []
        self.cursor.skipWhitespace()
        if self.cursor.consume(UInt8(ascii: "}")) { return members }
        while true {
            self.cursor.skipWhitespace()
            let place = self.cursor.location
            guard self.cursor.current == UInt8(ascii: "\"") else {
                throw self.cursor.failure(
                    "expected a key in double quotes, found \(self.cursor.found)")
            }
            let key = try self.string()
            self.cursor.skipWhitespace()
            guard self.cursor.consume(UInt8(ascii: ":")) else {
                throw self.cursor.failure("expected \":\" after a key, found \(self.cursor.found)")
            }
            self.cursor.skipWhitespace()
            let node = try self.value(depth: depth + 1)
            members.append(ConfigurationMember(key: key, location: place, node: node))
            self.cursor.skipWhitespace()
            if self.cursor.consume(UInt8(ascii: ",")) { continue }
            if self.cursor.consume(UInt8(ascii: "}")) { return members }
            throw self.cursor.failure("expected \",\" or \"}\", found \(self.cursor.found)")
        }
    }

    private mutating func list(depth: Int) throws(ConfigurationError) -> [ConfigurationNode] {
        self.cursor.advance()
        var elements: [ConfigurationNode] = []
        self.cursor.skipWhitespace()
        if self.cursor.consume(UInt8(ascii: "]")) { return elements }
        while true {
            self.cursor.skipWhitespace()
            elements.append(try self.value(depth: depth + 1))
            self.cursor.skipWhitespace()
            if self.cursor.consume(UInt8(ascii: ",")) { continue }
            if self.cursor.consume(UInt8(ascii: "]")) { return elements }
            throw self.cursor.failure("expected \",\" or \"]\", found \(self.cursor.found)")
        }
    }

    private mutating func string() throws(ConfigurationError) -> String {
        let place = self.cursor.location
        self.cursor.advance()
        var bytes: [UInt8] = []
        while let byte = self.cursor.current {
            switch byte {
            case UInt8(ascii: "\""):
                self.cursor.advance()
                return try self.cursor.text(bytes, at: place)
            case UInt8(ascii: "\\"):
                try self.escape(into: &bytes)
            case 0..<0x20:
                throw self.cursor.failure("string has a control character that is not escaped")
            default:
                bytes.append(byte)
                self.cursor.advance()
            }
        }
        throw self.cursor.failure("string is not closed", at: place)
    }

    private mutating func escape(into bytes: inout [UInt8]) throws(ConfigurationError) {
        self.cursor.advance()
        switch self.cursor.current {
        case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"):
            bytes.append(self.cursor.current ?? 0)
        case UInt8(ascii: "b"): bytes.append(0x08)
        case UInt8(ascii: "f"): bytes.append(0x0C)
        case UInt8(ascii: "n"): bytes.append(0x0A)
        case UInt8(ascii: "r"): bytes.append(0x0D)
        case UInt8(ascii: "t"): bytes.append(0x09)
        case UInt8(ascii: "u"):
            self.cursor.advance()
            let first = try self.cursor.hexadecimal(4)
            guard (0xD800..<0xDC00).contains(first) else {
                return try self.cursor.append(first, to: &bytes)
            }
            guard self.cursor.consume(UInt8(ascii: "\\")), self.cursor.consume(UInt8(ascii: "u"))
            else {
                throw self.cursor.failure("escape has half of a surrogate pair")
            }
            let second = try self.cursor.hexadecimal(4)
            guard (0xDC00..<0xE000).contains(second) else {
                throw self.cursor.failure("escape has half of a surrogate pair")
            }
            return try self.cursor.append(
                0x10000 + (first - 0xD800) << 10 + (second - 0xDC00), to: &bytes)
        default: throw self.cursor.failure("unknown escape \"\\\" followed by \(self.cursor.found)")
        }
        self.cursor.advance()
    }
}
