/// Rules for numbers as they are written in HCL and JSON.
enum NumberText {
    /// The value of decimal, `0x` hexadecimal or leading-zero octal text, or nil when it is none of
    /// these or does not fit.
    static func integer(_ text: String) -> Int? {
        let negative = text.utf8.first == UInt8(ascii: "-")
        let digits = negative ? text.dropFirst() : text[...]
        let (body, radix): (Substring, Int) =
            if digits.hasPrefix("0x") || digits.hasPrefix("0X") {
                (digits.dropFirst(2), 16)
            } else if digits.count > 1, digits.first == "0" {
                (digits.dropFirst(), 8)
            } else {
                (digits, 10)
            }
        guard let first = body.utf8.first, first != UInt8(ascii: "+"), first != UInt8(ascii: "-")
        else {
            return nil
        }
        return Int((negative ? "-" : "") + body, radix: radix)
    }

    /// Whether the text is a decimal number with an optional fraction and exponent, as in JSON but with
    /// leading zeros allowed.
    static func isDecimal(_ text: String) -> Bool {
        var bytes = text.utf8[...]
        func digits(_ bytes: inout Substring.UTF8View) -> Int {
            let count = bytes.prefix { (0x30...0x39).contains($0) }.count
            bytes = bytes.dropFirst(count)
            return count
        }
        if bytes.first == UInt8(ascii: "-") { bytes = bytes.dropFirst() }
        guard digits(&bytes) > 0 else { return false }
        if bytes.first == UInt8(ascii: ".") {
            bytes = bytes.dropFirst()
            guard digits(&bytes) > 0 else { return false }
        }
        if bytes.first == UInt8(ascii: "e") || bytes.first == UInt8(ascii: "E") {
            bytes = bytes.dropFirst()
            if bytes.first == UInt8(ascii: "+") || bytes.first == UInt8(ascii: "-") {
                bytes = bytes.dropFirst()
            }
            guard digits(&bytes) > 0 else { return false }
        }
        return bytes.isEmpty
    }
}
