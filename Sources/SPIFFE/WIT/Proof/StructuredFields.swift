/// A bare item of structured fields (RFC 9651 §3.3). Decimals, dates and display strings are not read:
/// nothing that is signed here has them.
enum StructuredValue: Hashable, Sendable {
    case integer(Int64)
    case string(String)
    case token(String)
    case bytes([UInt8])
    case boolean(Bool)
}

/// A parameter of an item or inner list.
struct StructuredParameter: Hashable, Sendable {
    let name: String
    let value: StructuredValue
}

/// An item with its parameters.
struct StructuredItem: Hashable, Sendable {
    let value: StructuredValue
    var parameters: [StructuredParameter] = []
}

/// A list in parentheses with its parameters.
struct StructuredInnerList: Hashable, Sendable {
    let items: [StructuredItem]
    let parameters: [StructuredParameter]

    /// The parameter of that name.
    func parameter(_ name: String) -> StructuredValue? {
        self.parameters.first { $0.name == name }?.value
    }
}

/// A dictionary field (RFC 9651 §3.2), its members in order.
struct StructuredDictionary: Hashable, Sendable {
    enum Value: Hashable, Sendable {
        case item(StructuredItem)
        case innerList(StructuredInnerList)
    }

    struct Member: Hashable, Sendable {
        let name: String
        let value: Value
    }

    let members: [Member]

    subscript(name: String) -> Value? { self.members.first { $0.name == name }?.value }

    /// Reads the lines of a field as one dictionary.
    ///
    /// Stricter than the standard: a name that occurs twice fails it, because readers disagree on which of
    /// them counts. At most 16 KiB, and 64 members of anything.
    ///
    /// - Throws: ``StructuredFieldError``.
    init(lines: [String]) throws(StructuredFieldError) {
        var parser = StructuredFieldParser(lines.joined(separator: ","))
        self.members = try parser.dictionary()
    }
}

/// Why a field is no dictionary of structured fields.
struct StructuredFieldError: Error, Hashable {
    let reason: String
}

// MARK: Writing

/// Text of structured fields in its one canonical form (RFC 9651 §4.1).
enum StructuredFieldText {
    static func of(_ list: StructuredInnerList) -> String {
        "(" + list.items.map { self.of($0) }.joined(separator: " ") + ")" + self.of(list.parameters)
    }

    static func of(_ item: StructuredItem) -> String {
        self.of(item.value) + self.of(item.parameters)
    }

    static func of(_ value: StructuredValue) -> String {
        switch value {
        case .integer(let number): return String(number)
        case .token(let token): return token
        case .bytes(let bytes): return ":" + Base64.encode(bytes) + ":"
        case .boolean(let flag): return flag ? "?1" : "?0"
        case .string(let text):
            var result = "\""
            for scalar in text.unicodeScalars {
                if scalar == "\"" || scalar == "\\" { result.unicodeScalars.append("\\") }
                result.unicodeScalars.append(scalar)
            }
            return result + "\""
        }
    }

    private static func of(_ parameters: [StructuredParameter]) -> String {
        parameters.map { parameter in
            parameter.value == .boolean(true)
                ? ";\(parameter.name)" : ";\(parameter.name)=\(self.of(parameter.value))"
        }.joined()
    }
}

// MARK: Reading

private struct StructuredFieldParser {
    private let bytes: [UInt8]
    private var index = 0

    private static let maximumLength = 16 * 1024
    private static let maximumCount = 64

    init(_ text: String) { self.bytes = Array(text.utf8) }

    mutating func dictionary() throws(StructuredFieldError) -> [StructuredDictionary.Member] {
        guard self.bytes.count <= Self.maximumLength else {
            throw self.failure("it is longer than \(Self.maximumLength) bytes")
        }
        var members: [StructuredDictionary.Member] = []
        self.skipSpace(tabs: true)
        while self.peek != nil {
            let name = try self.key()
            let value: StructuredDictionary.Value
            if self.take("=") {
                if self.peek == UInt8(ascii: "(") {
                    value = .innerList(try self.innerList())
                } else {
                    value = .item(
                        StructuredItem(
                            value: try self.bareItem(), parameters: try self.parameters()))
                }
            } else {
                value = .item(
                    StructuredItem(value: .boolean(true), parameters: try self.parameters()))
            }
            guard !members.contains(where: { $0.name == name }) else {
                throw self.failure("\(name) occurs twice")
            }
            members.append(.init(name: name, value: value))
            guard members.count <= Self.maximumCount else { throw self.failure("too many members") }
            self.skipSpace(tabs: true)
            if self.peek == nil { break }
            guard self.take(",") else { throw self.failure("no comma") }
            self.skipSpace(tabs: true)
            guard self.peek != nil else { throw self.failure("a comma at the end") }
        }
        return members
    }

    private mutating func innerList() throws(StructuredFieldError) -> StructuredInnerList {
        guard self.take("(") else { throw self.failure("no inner list") }
        var items: [StructuredItem] = []
        while true {
            let before = self.index
            self.skipSpace(tabs: false)
            if self.take(")") { break }
            guard items.isEmpty || self.index > before else { throw self.failure("no space") }
            items.append(
                StructuredItem(value: try self.bareItem(), parameters: try self.parameters()))
            guard items.count <= Self.maximumCount else { throw self.failure("too many items") }
        }
        return StructuredInnerList(items: items, parameters: try self.parameters())
    }

    private mutating func parameters() throws(StructuredFieldError) -> [StructuredParameter] {
        var parameters: [StructuredParameter] = []
        while self.take(";") {
            self.skipSpace(tabs: false)
            let name = try self.key()
            var value = StructuredValue.boolean(true)
            if self.take("=") { value = try self.bareItem() }
            guard !parameters.contains(where: { $0.name == name }) else {
                throw self.failure("parameter \(name) occurs twice")
            }
            parameters.append(StructuredParameter(name: name, value: value))
            guard parameters.count <= Self.maximumCount else {
                throw self.failure("too many parameters")
            }
        }
        return parameters
    }

    private mutating func bareItem() throws(StructuredFieldError) -> StructuredValue {
        guard let byte = self.peek else { throw self.failure("no value") }
        switch byte {
        case UInt8(ascii: "\""): return .string(try self.string())
        case UInt8(ascii: ":"): return .bytes(try self.byteSequence())
        case UInt8(ascii: "?"): return .boolean(try self.boolean())
        case UInt8(ascii: "-"), UInt8(ascii: "0")...UInt8(ascii: "9"):
            return .integer(try self.integer())
        case _ where Self.isAlpha(byte) || byte == UInt8(ascii: "*"):
            return .token(
                self.text { Self.isTokenByte($0) || $0 == UInt8(ascii: ":") || $0 == 0x2F })
        default: throw self.failure("no value that is known")
        }
    }

    private mutating func string() throws(StructuredFieldError) -> String {
        self.index += 1
        var result: [UInt8] = []
        while let byte = self.peek {
            self.index += 1
            switch byte {
            case UInt8(ascii: "\""): return String(decoding: result, as: UTF8.self)
            case UInt8(ascii: "\\"):
                guard let escaped = self.peek, escaped == UInt8(ascii: "\"") || escaped == 0x5C
                else {
                    throw self.failure("an unknown escape")
                }
                self.index += 1
                result.append(escaped)
            case 0x20...0x7E: result.append(byte)
            default: throw self.failure("a byte that no string has")
            }
        }
        throw self.failure("a string without an end")
    }

    private mutating func byteSequence() throws(StructuredFieldError) -> [UInt8] {
        self.index += 1
        let text = self.text { $0 != UInt8(ascii: ":") }
        guard self.take(":") else { throw self.failure("a byte sequence without an end") }
        do throws(JOSEError) {
            return try Base64.decode(text)
        } catch {
            throw StructuredFieldError(reason: error.message)
        }
    }

    private mutating func boolean() throws(StructuredFieldError) -> Bool {
        self.index += 1
        if self.take("1") { return true }
        guard self.take("0") else { throw self.failure("a boolean that is none") }
        return false
    }

    private mutating func integer() throws(StructuredFieldError) -> Int64 {
        let sign = self.take("-") ? "-" : ""
        let digits = self.text { (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) }
        guard (1...15).contains(digits.utf8.count), self.peek != UInt8(ascii: "."),
            let value = Int64(sign + digits)
        else { throw self.failure("a number that is not whole or too long") }
        return value
    }

    private mutating func key() throws(StructuredFieldError) -> String {
        guard let first = self.peek, Self.isLowercase(first) || first == UInt8(ascii: "*") else {
            throw self.failure("no name")
        }
        return self.text {
            Self.isLowercase($0) || (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0)
                || "_-.*".utf8.contains($0)
        }
    }

    private mutating func text(while isPart: (UInt8) -> Bool) -> String {
        let start = self.index
        while let byte = self.peek, isPart(byte) { self.index += 1 }
        return String(decoding: self.bytes[start..<self.index], as: UTF8.self)
    }

    private mutating func skipSpace(tabs: Bool) {
        while let byte = self.peek, byte == 0x20 || tabs && byte == 0x09 { self.index += 1 }
    }

    private mutating func take(_ character: Unicode.Scalar) -> Bool {
        guard self.peek == UInt8(ascii: character) else { return false }
        self.index += 1
        return true
    }

    private var peek: UInt8? {
        self.index < self.bytes.count ? self.bytes[self.index] : nil
    }

    private func failure(_ reason: String) -> StructuredFieldError {
        StructuredFieldError(reason: "\(reason) at byte \(self.index)")
    }

    private static func isLowercase(_ byte: UInt8) -> Bool {
        (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(byte)
    }

    private static func isAlpha(_ byte: UInt8) -> Bool { self.isLowercase(byte | 0x20) }

    private static func isTokenByte(_ byte: UInt8) -> Bool {
        self.isAlpha(byte) || (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte)
            || "!#$%&'*+-.^_`|~".utf8.contains(byte)
    }
}
