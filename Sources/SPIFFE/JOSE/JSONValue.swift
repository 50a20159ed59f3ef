/// A JSON value whose numbers keep what was written.
///
/// Integers that fit 64 bits stay exact; every other number is a double. Reading is strict: see
/// ``init(parsing:)-([UInt8])``. Writing is deterministic: see ``serialized()``.
public enum JSONValue: Hashable, Sendable {
    /// `null`.
    case null
    /// `true` or `false`; never confused with a number.
    case bool(Bool)
    /// A whole number written without fraction and exponent that fits `Int64`.
    case int(Int64)
    /// A whole number written without fraction and exponent above `Int64.max` that fits `UInt64`.
    case uint(UInt64)
    /// Any other number.
    case double(Double)
    /// A string.
    case string(String)
    /// An array.
    case array([JSONValue])
    /// An object. Its members have no order.
    case object([String: JSONValue])

    /// How deep arrays and objects may be nested, the outermost included.
    public static let maximumDepth = 32

    /// Parses one JSON text (RFC 8259) in UTF-8.
    ///
    /// Refuses what parsers disagree on: member names that occur twice, a byte order mark, lone
    /// surrogates, anything after the value, and nesting deeper than ``maximumDepth``.
    ///
    /// - Throws: ``JOSEError`` with the byte offset in its message.
    public init(parsing bytes: [UInt8]) throws(JOSEError) {
        let result = bytes.withUnsafeBufferPointer { buffer -> Result<JSONValue, JOSEError> in
            var parser = JSONParser(buffer)
            do throws(JOSEError) {
                return .success(try parser.parseDocument())
            } catch {
                return .failure(error)
            }
        }
        self = try result.get()
    }

    /// Parses one JSON text; rules as ``init(parsing:)-([UInt8])``.
    public init(parsing text: String) throws(JOSEError) {
        try self.init(parsing: Array(text.utf8))
    }

    /// The text of a string, else nil.
    public var stringValue: String? {
        if case .string(let value) = self { value } else { nil }
    }

    /// The elements of an array, else nil.
    public var arrayValue: [JSONValue]? {
        if case .array(let value) = self { value } else { nil }
    }

    /// The members of an object, else nil.
    public var objectValue: [String: JSONValue]? {
        if case .object(let value) = self { value } else { nil }
    }

    /// A boolean, else nil; numbers are not booleans.
    public var boolValue: Bool? {
        if case .bool(let value) = self { value } else { nil }
    }

    /// Any number as a double, rounded where it needs more than 53 bits; nil for all else.
    public var numberValue: Double? {
        switch self {
        case .int(let value): Double(value)
        case .uint(let value): Double(value)
        case .double(let value): value
        default: nil
        }
    }

    /// A whole number that is not negative and fits 64 bits, however large; nil for all else.
    public var unsignedValue: UInt64? {
        switch self {
        case .int(let value): UInt64(exactly: value)
        case .uint(let value): value
        default: nil
        }
    }

    /// A member of an object; nil when absent or when this is no object.
    public subscript(name: String) -> JSONValue? {
        if case .object(let members) = self { members[name] } else { nil }
    }
}

extension JSONValue: ExpressibleByStringLiteral, ExpressibleByIntegerLiteral,
    ExpressibleByBooleanLiteral, ExpressibleByArrayLiteral, ExpressibleByDictionaryLiteral
{
    public init(stringLiteral value: String) { self = .string(value) }
    public init(integerLiteral value: Int64) { self = .int(value) }
    public init(booleanLiteral value: Bool) { self = .bool(value) }
    public init(arrayLiteral elements: JSONValue...) { self = .array(elements) }
    /// Of two members with one name the last stays.
    public init(dictionaryLiteral elements: (String, JSONValue)...) {
        self = .object(Dictionary(elements) { _, last in last })
    }
}
