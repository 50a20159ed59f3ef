/// A strict recursive JSON parser over bytes; the rules are those of `JSONValue.init(parsing:)`.
struct JSONParser {
    private let bytes: UnsafeBufferPointer<UInt8>
    private var index = 0
    private var depth = 0

    init(_ bytes: UnsafeBufferPointer<UInt8>) { self.bytes = bytes }

    mutating func parseDocument() throws(JOSEError) -> JSONValue {
        self.skipSpace()
        let value = try self.parseValue()
        self.skipSpace()
        guard self.index == self.bytes.count else { throw self.syntax("something after the value") }
        return value
    }

    private mutating func parseValue() throws(JOSEError) -> JSONValue {
        guard let byte = self.peek else { throw self.syntax("the end where a value should be") }
        switch byte {
        case UInt8(ascii: "{"): return try self.parseObject()
        case UInt8(ascii: "["): return try self.parseArray()
        case UInt8(ascii: "\""): return .string(try self.parseString())
        case UInt8(ascii: "t"): return try self.parse("true", as: .bool(true))
        case UInt8(ascii: "f"): return try self.parse("false", as: .bool(false))
        case UInt8(ascii: "n"): return try self.parse("null", as: .null)
        case UInt8(ascii: "-"), UInt8(ascii: "0")...UInt8(ascii: "9"): return try self.parseNumber()
        default: throw self.syntax("a byte that starts no value")
        }
    }

    private mutating func parse(
        _ word: StaticString, as value: JSONValue
    ) throws(JOSEError) -> JSONValue {
        for offset in 0..<word.utf8CodeUnitCount {
            guard self.peek == word.utf8Start[offset] else { throw self.syntax("a misspelt word") }
            self.index += 1
        }
        return value
    }

    private mutating func parseObject() throws(JOSEError) -> JSONValue {
        try self.enter()
        var members: [String: JSONValue] = [:]
        self.skipSpace()
        if self.take(UInt8(ascii: "}")) {
            self.depth -= 1
            return .object(members)
        }
        while true {
            self.skipSpace()
            guard self.peek == UInt8(ascii: "\"") else { throw self.syntax("no member name") }
            let start = self.index
            let name = try self.parseString()
            self.skipSpace()
            guard self.take(UInt8(ascii: ":")) else { throw self.syntax("no colon after a name") }
            self.skipSpace()
            let value = try self.parseValue()
            // Readers that keep the first and readers that keep the last see two different documents.
            if members.updateValue(value, forKey: name) != nil {
                throw JOSEError(
                    .duplicateName,
                    "JSON has the name \(SPIFFEIDError.quoted(name)) again at byte \(start)")
            }
            self.skipSpace()
            if self.take(UInt8(ascii: "}")) { break }
            guard self.take(UInt8(ascii: ",")) else { throw self.syntax("neither comma nor brace") }
        }
        self.depth -= 1
        return .object(members)
    }

    private mutating func parseArray() throws(JOSEError) -> JSONValue {
        try self.enter()
        var elements: [JSONValue] = []
        self.skipSpace()
        if self.take(UInt8(ascii: "]")) {
            self.depth -= 1
            return .array(elements)
        }
        while true {
            self.skipSpace()
            elements.append(try self.parseValue())
            self.skipSpace()
            if self.take(UInt8(ascii: "]")) { break }
            guard self.take(UInt8(ascii: ",")) else {
                throw self.syntax("neither comma nor bracket")
            }
        }
        self.depth -= 1
        return .array(elements)
    }

    /// Steps over the opening byte of an array or object.
    private mutating func enter() throws(JOSEError) {
        guard self.depth < JSONValue.maximumDepth else {
            throw JOSEError(
                .tooDeep,
                "JSON is nested deeper than \(JSONValue.maximumDepth) levels at byte \(self.index)")
        }
        self.depth += 1
        self.index += 1
    }

    private mutating func parseString() throws(JOSEError) -> String {
        self.index += 1
        let start = self.index
        while let byte = self.peek {
            switch byte {
            case UInt8(ascii: "\""):
                let text = try self.text(start..<self.index)
                self.index += 1
                return text
            case UInt8(ascii: "\\"):
                return try self.parseEscapedString(start)
            case 0..<0x20:
                throw self.syntax("a control character in a string")
            default:
                self.index += 1
            }
        }
        throw self.syntax("a string without an end")
    }

    /// Goes on with a string from its first backslash.
    private mutating func parseEscapedString(_ start: Int) throws(JOSEError) -> String {
        var result = try self.text(start..<self.index)
        var plain = self.index
        while let byte = self.peek {
            switch byte {
            case UInt8(ascii: "\""):
                result += try self.text(plain..<self.index)
                self.index += 1
                return result
            case UInt8(ascii: "\\"):
                result += try self.text(plain..<self.index)
                self.index += 1
                result.unicodeScalars.append(try self.parseEscape())
                plain = self.index
            case 0..<0x20:
                throw self.syntax("a control character in a string")
            default:
                self.index += 1
            }
        }
        throw self.syntax("a string without an end")
    }

    /// Reads what follows a backslash.
    private mutating func parseEscape() throws(JOSEError) -> Unicode.Scalar {
        guard let byte = self.peek else { throw self.syntax("a string without an end") }
        self.index += 1
        switch byte {
        case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): return Unicode.Scalar(byte)
        case UInt8(ascii: "b"): return "\u{08}"
        case UInt8(ascii: "f"): return "\u{0C}"
        case UInt8(ascii: "n"): return "\n"
        case UInt8(ascii: "r"): return "\r"
        case UInt8(ascii: "t"): return "\t"
        case UInt8(ascii: "u"):
            let unit = try self.parseHex()
            if let scalar = Unicode.Scalar(unit) { return scalar }
            guard UTF16.isLeadSurrogate(UInt16(unit)), self.take(UInt8(ascii: "\\")),
                self.take(UInt8(ascii: "u"))
            else {
                throw JOSEError(.invalidUTF8, "JSON has a lone surrogate at byte \(self.index)")
            }
            let trail = try self.parseHex()
            guard UTF16.isTrailSurrogate(UInt16(trail)),
                let scalar = Unicode.Scalar(0x10000 + (unit - 0xD800) << 10 + (trail - 0xDC00))
            else {
                throw JOSEError(.invalidUTF8, "JSON has a lone surrogate at byte \(self.index)")
            }
            return scalar
        default:
            throw self.syntax("an unknown escape")
        }
    }

    private mutating func parseHex() throws(JOSEError) -> UInt32 {
        var value: UInt32 = 0
        for _ in 0..<4 {
            guard let byte = self.peek, let digit = Character(Unicode.Scalar(byte)).hexDigitValue,
                byte < 0x80
            else { throw self.syntax("an escape without four hexadecimal digits") }
            value = value << 4 | UInt32(digit)
            self.index += 1
        }
        return value
    }

    private mutating func parseNumber() throws(JOSEError) -> JSONValue {
        let start = self.index
        let isNegative = self.take(UInt8(ascii: "-"))
        let firstDigit = self.index
        var magnitude: UInt64? = 0
        while let digit = self.digit {
            magnitude = magnitude.flatMap { value in
                let (product, overflow) = value.multipliedReportingOverflow(by: 10)
                let (sum, carry) = product.addingReportingOverflow(UInt64(digit))
                return overflow || carry ? nil : sum
            }
            self.index += 1
        }
        let digits = self.index - firstDigit
        guard digits > 0 else { throw self.syntax("a number without digits") }
        guard digits == 1 || self.bytes[firstDigit] != UInt8(ascii: "0") else {
            throw self.syntax("a number with a leading zero")
        }
        var isWhole = true
        if self.take(UInt8(ascii: ".")) {
            isWhole = false
            try self.skipDigits()
        }
        if self.take(UInt8(ascii: "e")) || self.take(UInt8(ascii: "E")) {
            isWhole = false
            if !self.take(UInt8(ascii: "+")) { _ = self.take(UInt8(ascii: "-")) }
            try self.skipDigits()
        }
        if isWhole, let magnitude {
            if !isNegative {
                return Int64(exactly: magnitude).map(JSONValue.int) ?? .uint(magnitude)
            }
            if magnitude == Int64.min.magnitude { return .int(Int64.min) }
            if let value = Int64(exactly: magnitude) { return .int(-value) }
        }
        let text = String(decoding: self.bytes[start..<self.index], as: UTF8.self)
        guard let value = Double(text), value.isFinite else {
            throw JOSEError(.numberOutOfRange, "JSON number at byte \(start) is too large")
        }
        return .double(value)
    }

    private mutating func skipDigits() throws(JOSEError) {
        guard self.digit != nil else { throw self.syntax("a number without digits") }
        while self.digit != nil { self.index += 1 }
    }

    private var digit: UInt8? {
        guard let byte = self.peek, (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) else {
            return nil
        }
        return byte - UInt8(ascii: "0")
    }

    private var peek: UInt8? {
        self.index < self.bytes.count ? self.bytes[self.index] : nil
    }

    private mutating func take(_ byte: UInt8) -> Bool {
        guard self.peek == byte else { return false }
        self.index += 1
        return true
    }

    private mutating func skipSpace() {
        while let byte = self.peek, byte == 0x20 || byte == 0x0A || byte == 0x0D || byte == 0x09 {
            self.index += 1
        }
    }

    private func text(_ range: Range<Int>) throws(JOSEError) -> String {
        guard let text = String(validating: self.bytes[range], as: UTF8.self) else {
            throw JOSEError(.invalidUTF8, "JSON string at byte \(range.lowerBound) is not UTF-8")
        }
        return text
    }

    private func syntax(_ what: String) -> JOSEError {
        JOSEError(.jsonSyntax, "JSON has \(what) at byte \(self.index)")
    }
}
