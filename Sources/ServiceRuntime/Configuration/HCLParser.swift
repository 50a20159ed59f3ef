/// Parses HCL version 1, the language of SPIRE's configuration files.
///
/// Takes attributes, blocks with labels, nested blocks, lists, maps, strings with escapes, heredocs,
/// numbers, booleans and the three forms of comments. Text such as `${x}` inside a string stays as it
/// is written. Any input gives a tree or an error: nesting is bounded and nothing traps.
struct HCLParser {
    private var cursor: ConfigurationCursor

    init(bytes: [UInt8], file: String) {
        self.cursor = ConfigurationCursor(bytes: bytes, file: file)
    }

    /// Parses a whole file.
    mutating func parse() throws(ConfigurationError) -> ConfigurationNode {
        let start = self.cursor.location
        let members = try self.members(untilBrace: nil, depth: 1)
        return ConfigurationNode(.object(members), at: start)
    }

    // MARK: Blocks

    private mutating func members(
        untilBrace opening: SourceLocation?, depth: Int
    ) throws(ConfigurationError) -> [ConfigurationMember] {
        var members: [ConfigurationMember] = []
        while true {
            try self.skipTrivia()
            guard let byte = self.cursor.current else {
                if let opening {
                    throw self.cursor.failure(
                        "block opened here is not closed with \"}\"", at: opening)
                }
                return members
            }
            if byte == UInt8(ascii: "}") {
                guard opening != nil else {
                    throw self.cursor.failure("\"}\" closes no block")
                }
                self.cursor.advance()
                return members
            }
            members.append(try self.member(depth: depth))
            try self.skipTrivia()
            if opening != nil { _ = self.cursor.consume(UInt8(ascii: ",")) }
        }
    }

    private mutating func member(depth: Int) throws(ConfigurationError) -> ConfigurationMember {
        var keys: [(text: String, location: SourceLocation)] = []
        while true {
            let place = self.cursor.location
            guard let byte = self.cursor.current else {
                throw self.incomplete(keys)
            }
            switch byte {
            case UInt8(ascii: "="):
                guard let key = keys.first, keys.count == 1 else { throw self.incomplete(keys) }
                self.cursor.advance()
                try self.skipTrivia()
                let node = try self.value(depth: depth)
                return ConfigurationMember(key: key.text, location: key.location, node: node)
            case UInt8(ascii: "{"):
                guard !keys.isEmpty else {
                    throw self.cursor.failure("expected a key, found \"{\"")
                }
                let node = try self.value(depth: depth + keys.count - 1)
                return HCLParser.nest(keys, around: node)
            case UInt8(ascii: "\""):
                keys.append((try self.quotedString(), place))
            case _ where HCLParser.startsIdentifier(byte):
                keys.append((try self.identifier(), place))
            default:
                throw keys.isEmpty
                    ? self.cursor.failure("expected a key, found \(self.cursor.found)")
                    : self.incomplete(keys)
            }
            try self.cursor.checkDepth(depth + keys.count)
            try self.skipTrivia()
        }
    }

    private func incomplete(
        _ keys: [(text: String, location: SourceLocation)]
    ) -> ConfigurationError {
        guard let key = keys.first else {
            return self.cursor.failure("expected a key, found \(self.cursor.found)")
        }
        return self.cursor.failure(
            "expected \"= value\" or \"{\" after key \(QuotedText.quoted(key.text))",
            at: key.location)
    }

    private static func nest(
        _ keys: [(text: String, location: SourceLocation)], around body: ConfigurationNode
    ) -> ConfigurationMember {
        var node = body
        for key in keys.dropFirst().reversed() {
            let member = ConfigurationMember(key: key.text, location: key.location, node: node)
            node = ConfigurationNode(.object([member]), at: key.location)
        }
        return ConfigurationMember(key: keys[0].text, location: keys[0].location, node: node)
    }

    // MARK: Values

    private mutating func value(depth: Int) throws(ConfigurationError) -> ConfigurationNode {
        try self.cursor.checkDepth(depth + 1)
        let place = self.cursor.location
        guard let byte = self.cursor.current else {
            throw self.cursor.failure("expected a value, found the end of the file")
        }
        switch byte {
        case UInt8(ascii: "\""):
            return ConfigurationNode(.string(try self.quotedString()), at: place)
        case UInt8(ascii: "<"):
            return ConfigurationNode(.string(try self.heredoc()), at: place)
        case UInt8(ascii: "["):
            return ConfigurationNode(.list(try self.list(depth: depth + 1)), at: place)
        case UInt8(ascii: "{"):
            self.cursor.advance()
            let members = try self.members(untilBrace: place, depth: depth + 1)
            return ConfigurationNode(.object(members), at: place)
        case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "."):
            return ConfigurationNode(.number(try self.number()), at: place)
        case _ where HCLParser.startsIdentifier(byte):
            let word = try self.identifier()
            switch word {
            case "true": return ConfigurationNode(.bool(true), at: place)
            case "false": return ConfigurationNode(.bool(false), at: place)
            default:
                throw self.cursor.failure(
                    "expected a value, found \(QuotedText.quoted(word)); text needs double quotes",
                    at: place)
            }
        default:
            throw self.cursor.failure("expected a value, found \(self.cursor.found)")
        }
    }

    private mutating func list(depth: Int) throws(ConfigurationError) -> [ConfigurationNode] {
        let opening = self.cursor.location
        self.cursor.advance()
        var elements: [ConfigurationNode] = []
        while true {
            try self.skipTrivia()
            if self.cursor.current == nil { throw self.unclosedList(opening) }
            if self.cursor.consume(UInt8(ascii: "]")) { return elements }
            elements.append(try self.value(depth: depth))
            try self.skipTrivia()
            if self.cursor.consume(UInt8(ascii: ",")) { continue }
            if self.cursor.consume(UInt8(ascii: "]")) { return elements }
            if self.cursor.current == nil { throw self.unclosedList(opening) }
            throw self.cursor.failure(
                "expected \",\" or \"]\" in a list, found \(self.cursor.found)")
        }
    }

    private func unclosedList(_ opening: SourceLocation) -> ConfigurationError {
        self.cursor.failure("list opened here is not closed with \"]\"", at: opening)
    }

    private mutating func number() throws(ConfigurationError) -> String {
        let place = self.cursor.location
        var bytes: [UInt8] = []
        while let byte = self.cursor.current, HCLParser.belongsToNumber(byte, after: bytes.last) {
            bytes.append(byte)
            self.cursor.advance()
        }
        let text = try self.cursor.text(bytes, at: place)
        guard NumberText.integer(text) != nil || NumberText.isDecimal(text) else {
            throw self.cursor.failure("\(QuotedText.quoted(text)) is not a number", at: place)
        }
        return text
    }

    private static func belongsToNumber(_ byte: UInt8, after previous: UInt8?) -> Bool {
        if byte == UInt8(ascii: "-") || byte == UInt8(ascii: "+") {
            return previous == nil || previous == UInt8(ascii: "e") || previous == UInt8(ascii: "E")
        }
        return byte == UInt8(ascii: ".") || HCLParser.continuesIdentifier(byte)
    }

    // MARK: Words and strings

    private static func startsIdentifier(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "_"), 0x80...0xFF:
            true
        default: false
        }
    }

    private static func continuesIdentifier(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "."): true
        default: HCLParser.startsIdentifier(byte)
        }
    }

    private mutating func identifier() throws(ConfigurationError) -> String {
        let place = self.cursor.location
        var bytes: [UInt8] = []
        while let byte = self.cursor.current, HCLParser.continuesIdentifier(byte) {
            bytes.append(byte)
            self.cursor.advance()
        }
        return try self.cursor.text(bytes, at: place)
    }

    private mutating func quotedString() throws(ConfigurationError) -> String {
        let place = self.cursor.location
        self.cursor.advance()
        var bytes: [UInt8] = []
        // Inside ${ } quotes do not end the string and nothing is an escape.
        var braces = 0
        while let byte = self.cursor.current {
            if byte == UInt8(ascii: "$"), self.cursor.peek(1) == UInt8(ascii: "{"), braces == 0 {
                bytes.append(contentsOf: [byte, UInt8(ascii: "{")])
                self.cursor.advance(2)
                braces = 1
            } else if braces > 0 {
                if byte == UInt8(ascii: "{") { braces += 1 }
                if byte == UInt8(ascii: "}") { braces -= 1 }
                bytes.append(byte)
                self.cursor.advance()
            } else if byte == UInt8(ascii: "\"") {
                self.cursor.advance()
                return try self.cursor.text(bytes, at: place)
            } else if byte == UInt8(ascii: "\n") {
                throw self.cursor.failure("string is not closed on its line", at: place)
            } else if byte == UInt8(ascii: "\\") {
                try self.escape(into: &bytes)
            } else {
                bytes.append(byte)
                self.cursor.advance()
            }
        }
        throw self.cursor.failure("string is not closed", at: place)
    }

    private mutating func escape(into bytes: inout [UInt8]) throws(ConfigurationError) {
        self.cursor.advance()
        guard let byte = self.cursor.current else {
            throw self.cursor.failure("string ends in an escape")
        }
        switch byte {
        case UInt8(ascii: "0")...UInt8(ascii: "7"):
            var value: UInt32 = 0
            for _ in 0..<3 {
                guard let digit = self.cursor.current, (0x30...0x37).contains(digit) else {
                    throw self.cursor.failure(
                        "expected three octal digits, found \(self.cursor.found)")
                }
                value = value << 3 | UInt32(digit - 0x30)
                self.cursor.advance()
            }
            try self.cursor.append(value, to: &bytes)
            return
        case UInt8(ascii: "x"), UInt8(ascii: "X"):
            self.cursor.advance()
            try self.cursor.append(try self.cursor.hexadecimal(2), to: &bytes)
            return
        case UInt8(ascii: "u"):
            self.cursor.advance()
            try self.cursor.append(try self.cursor.hexadecimal(4), to: &bytes)
            return
        case UInt8(ascii: "U"):
            self.cursor.advance()
            try self.cursor.append(try self.cursor.hexadecimal(8), to: &bytes)
            return
        case UInt8(ascii: "n"): bytes.append(0x0A)
        case UInt8(ascii: "r"): bytes.append(0x0D)
        case UInt8(ascii: "t"): bytes.append(0x09)
        case UInt8(ascii: "a"): bytes.append(0x07)
        case UInt8(ascii: "b"): bytes.append(0x08)
        case UInt8(ascii: "f"): bytes.append(0x0C)
        case UInt8(ascii: "v"): bytes.append(0x0B)
        case UInt8(ascii: "\\"), UInt8(ascii: "\""): bytes.append(byte)
        default: throw self.cursor.failure("unknown escape \"\\\" followed by \(self.cursor.found)")
        }
        self.cursor.advance()
    }

    /// `<<WORD` or `<<-WORD`, lines, then a line with the word alone. With the dash, the indentation of
    /// that last line is taken from every line, if all have it.
    private mutating func heredoc() throws(ConfigurationError) -> String {
        let place = self.cursor.location
        guard self.cursor.peek(1) == UInt8(ascii: "<") else {
            throw self.cursor.failure("expected a value, found \"<\"")
        }
        self.cursor.advance(2)
        let indented = self.cursor.consume(UInt8(ascii: "-"))
        let word = Array(try self.identifier().utf8)
        _ = self.cursor.consume(UInt8(ascii: "\r"))
        guard !word.isEmpty, self.cursor.consume(UInt8(ascii: "\n")) else {
            throw self.cursor.failure("expected a word and a line break after \"<<\"", at: place)
        }
        var lines: [[UInt8]] = []
        while self.cursor.current != nil {
            var line: [UInt8] = []
            while let byte = self.cursor.current, byte != UInt8(ascii: "\n") {
                line.append(byte)
                self.cursor.advance()
            }
            if line.last == UInt8(ascii: "\r") { line.removeLast() }
            let indentation = line.prefix { $0 == UInt8(ascii: " ") || $0 == UInt8(ascii: "\t") }
            if line.dropFirst(indentation.count).elementsEqual(word) {
                if indented, lines.allSatisfy({ $0.isEmpty || $0.starts(with: indentation) }) {
                    lines = lines.map { Array($0.dropFirst(indentation.count)) }
                }
                let body = lines.flatMap { $0 + [UInt8(ascii: "\n")] }
                return try self.cursor.text(body, at: place)
            }
            lines.append(line)
            self.cursor.advance()
        }
        throw self.cursor.failure("heredoc that begins here has no closing line", at: place)
    }

    // MARK: Between the words

    private mutating func skipTrivia() throws(ConfigurationError) {
        while true {
            self.cursor.skipWhitespace()
            let next = self.cursor.peek(1)
            switch self.cursor.current {
            case UInt8(ascii: "#"):
                self.skipLine()
            case UInt8(ascii: "/") where next == UInt8(ascii: "/"):
                self.skipLine()
            case UInt8(ascii: "/") where next == UInt8(ascii: "*"):
                try self.skipBlockComment()
            default:
                return
            }
        }
    }

    private mutating func skipLine() {
        while let byte = self.cursor.current, byte != UInt8(ascii: "\n") { self.cursor.advance() }
    }

    private mutating func skipBlockComment() throws(ConfigurationError) {
        let place = self.cursor.location
        self.cursor.advance(2)
        while self.cursor.current != nil {
            if self.cursor.current == UInt8(ascii: "*"), self.cursor.peek(1) == UInt8(ascii: "/") {
                self.cursor.advance(2)
                return
            }
            self.cursor.advance()
        }
        throw self.cursor.failure("comment is not closed with \"*/\"", at: place)
    }
}
