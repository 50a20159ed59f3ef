package import SPIFFE

/// JSON in the one form that everybody can hash (RFC 8785): no white space, members in the order of their names' UTF-16
/// units, strings with the fewest escapes, numbers as ECMAScript writes them.
///
/// Numbers have the precision of a double, as the RFC says; leaves only have whole numbers up to 2⁵³.
package enum CanonicalJSON {
    /// Writes a value.
    ///
    /// - Throws: ``TransparencyError`` `notCanonical` for a number that is not finite.
    package static func encode(_ value: JSONValue) throws(TransparencyError) -> [UInt8] {
        var output: [UInt8] = []
        try self.append(value, to: &output)
        return output
    }

    /// Whether the bytes are JSON in canonical form.
    package static func isCanonical(_ bytes: [UInt8]) -> Bool {
        guard let value = try? JSONValue(parsing: bytes) else { return false }
        return (try? self.encode(value)) == bytes
    }

    private static func append(
        _ value: JSONValue, to output: inout [UInt8]
    ) throws(TransparencyError) {
        switch value {
        case .null: output.append(contentsOf: "null".utf8)
        case .bool(let value): output.append(contentsOf: (value ? "true" : "false").utf8)
        case .int(let value) where value.magnitude <= 1 << 53:
            output.append(contentsOf: String(value).utf8)
        case .int(let value): output.append(contentsOf: try self.number(Double(value)).utf8)
        case .uint(let value): output.append(contentsOf: try self.number(Double(value)).utf8)
        case .double(let value): output.append(contentsOf: try self.number(value).utf8)
        case .string(let value): self.append(string: value, to: &output)
        case .array(let elements):
            output.append(UInt8(ascii: "["))
            for (index, element) in elements.enumerated() {
                if index > 0 { output.append(UInt8(ascii: ",")) }
                try self.append(element, to: &output)
            }
            output.append(UInt8(ascii: "]"))
        case .object(let members):
            let sorted = members.sorted { $0.key.utf16.lexicographicallyPrecedes($1.key.utf16) }
            try self.append(sorted: sorted.map { ($0.key, $0.value) }, to: &output)
        }
    }

    private static func append(
        sorted members: [(String, JSONValue)], to output: inout [UInt8]
    ) throws(TransparencyError) {
        output.append(UInt8(ascii: "{"))
        for (index, member) in members.enumerated() {
            if index > 0 { output.append(UInt8(ascii: ",")) }
            self.append(string: member.0, to: &output)
            output.append(UInt8(ascii: ":"))
            try self.append(member.1, to: &output)
        }
        output.append(UInt8(ascii: "}"))
    }

    /// Appends a string with its quotes (RFC 8785 §3.2.2.2).
    static func append(string: String, to output: inout [UInt8]) {
        output.append(UInt8(ascii: "\""))
        let isAppended = string.utf8.withContiguousStorageIfAvailable { bytes in
            guard !bytes.contains(where: { $0 < 0x20 || $0 == 0x22 || $0 == 0x5C }) else {
                return false
            }
            output.append(contentsOf: bytes)
            return true
        }
        guard isAppended != true else { return output.append(UInt8(ascii: "\"")) }
        for byte in string.utf8 {
            switch byte {
            case UInt8(ascii: "\""): output.append(contentsOf: "\\\"".utf8)
            case UInt8(ascii: "\\"): output.append(contentsOf: "\\\\".utf8)
            case 0x08: output.append(contentsOf: "\\b".utf8)
            case 0x09: output.append(contentsOf: "\\t".utf8)
            case 0x0A: output.append(contentsOf: "\\n".utf8)
            case 0x0C: output.append(contentsOf: "\\f".utf8)
            case 0x0D: output.append(contentsOf: "\\r".utf8)
            case 0..<0x20: output.append(contentsOf: ("\\u00" + Hex.encode([byte])).utf8)
            default: output.append(byte)
            }
        }
        output.append(UInt8(ascii: "\""))
    }

    /// A double as ECMAScript's `Number::toString` writes it (RFC 8785 §3.2.2.3).
    private static func number(_ value: Double) throws(TransparencyError) -> String {
        guard value.isFinite else {
            throw TransparencyError(.notCanonical, "a number that is not finite has no JSON form")
        }
        if value == 0 { return "0" }
        // Swift writes the same shortest digits; only where the point stands differs.
        var digits: [UInt8] = []
        var exponent = 0
        var point: Int?
        let text = Array(value.magnitude.description.utf8)
        for (index, byte) in text.enumerated() {
            if byte == UInt8(ascii: ".") {
                point = digits.count
            } else if byte == UInt8(ascii: "e") {
                exponent = Int(String(decoding: text[(index + 1)...], as: UTF8.self)) ?? 0
                break
            } else {
                digits.append(byte)
            }
        }
        // The value is 0.digits · 10^position.
        var position = (point ?? digits.count) + exponent
        while digits.first == UInt8(ascii: "0") {
            digits.removeFirst()
            position -= 1
        }
        while digits.last == UInt8(ascii: "0") { digits.removeLast() }
        let sign = value < 0 ? "-" : ""
        return sign + self.text(String(decoding: digits, as: UTF8.self), position)
    }

    private static func text(_ digits: String, _ position: Int) -> String {
        let count = digits.utf8.count
        switch position {
        case count...max(count, 21):
            if position <= 21 { return digits + String(repeating: "0", count: position - count) }
        case 1...21: return digits.prefix(position) + "." + digits.dropFirst(position)
        case -5...0: return "0." + String(repeating: "0", count: -position) + digits
        default: break
        }
        let fraction = count > 1 ? "." + digits.dropFirst() : ""
        let power = position - 1
        return digits.prefix(1) + fraction + "e" + (power < 0 ? "-" : "+") + String(power.magnitude)
    }
}
