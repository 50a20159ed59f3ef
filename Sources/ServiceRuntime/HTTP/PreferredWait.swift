/// The preference `wait` of a request: for how long the client would rather wait than get an answer at once
/// (RFC 7240 §2, §4.3).
enum PreferredWait {
    /// Reads the values of `Prefer`.
    ///
    /// Of a preference that comes twice the first counts (§2). One that is no number is none.
    ///
    /// - Returns: Seconds; a number that is too large for 32 bits counts as the largest. Nil without the preference.
    static func seconds(_ values: [String]) -> Int? {
        for value in values {
            for preference in Self.parts(Substring(value).utf8, at: UInt8(ascii: ",")) {
                // Parameters may follow; `wait` has none.
                guard let pair = Self.parts(preference, at: UInt8(ascii: ";")).first else {
                    continue
                }
                let sides = Self.parts(pair, at: UInt8(ascii: "="))
                guard let name = sides.first, Self.isWait(Self.trimmed(name)) else { continue }
                return sides.count == 2 ? Self.number(Self.trimmed(sides[1])) : nil
            }
        }
        return nil
    }

    private typealias Text = Substring.UTF8View

    /// Splits at a byte that is not between quotes.
    private static func parts(_ text: Text, at separator: UInt8) -> [Text] {
        var parts: [Text] = []
        var start = text.startIndex
        var isQuoted = false
        var isEscaped = false
        for index in text.indices {
            let byte = text[index]
            if isEscaped {
                isEscaped = false
            } else if isQuoted, byte == UInt8(ascii: "\\") {
                isEscaped = true
            } else if byte == UInt8(ascii: "\"") {
                isQuoted.toggle()
            } else if byte == separator, !isQuoted {
                parts.append(text[start..<index])
                start = text.index(after: index)
            }
        }
        parts.append(text[start...])
        return parts
    }

    private static func trimmed(_ text: Text) -> Text {
        var text = text
        while let byte = text.first, byte == 0x20 || byte == 0x09 { text.removeFirst() }
        while let byte = text.last, byte == 0x20 || byte == 0x09 { text.removeLast() }
        return text
    }

    private static func isWait(_ name: Text) -> Bool {
        name.count == 4 && name.elementsEqual("wait".utf8) { $0 | 0x20 == $1 }
    }

    /// Digits, in quotes or not.
    private static func number(_ text: Text) -> Int? {
        var digits = text
        if digits.count >= 2, digits.first == UInt8(ascii: "\""),
            digits.last == UInt8(ascii: "\"")
        {
            digits.removeFirst()
            digits.removeLast()
        }
        guard !digits.isEmpty, digits.allSatisfy({ (0x30...0x39).contains($0) }) else {
            return nil
        }
        return min(Int(Substring(digits)) ?? .max, Int(Int32.max))
    }
}
