/// Whole numbers as the C2SP formats write them: ASCII digits, no sign, no superfluous zero.
package enum Decimal {
    /// The largest size, index or time that is read: 2⁶³ − 1. Sums and shifts of such numbers fit 64 bits.
    package static let maximum = UInt64(Int64.max)

    /// Reads all of the bytes as one number; nil when they are not exactly that, or above ``maximum``.
    package static func parse(_ bytes: some Collection<UInt8>) -> UInt64? {
        guard let first = bytes.first, bytes.count <= 19 else { return nil }
        guard bytes.count == 1 || first != UInt8(ascii: "0") else { return nil }
        var value: UInt64 = 0
        for byte in bytes {
            guard byte >= UInt8(ascii: "0"), byte <= UInt8(ascii: "9") else { return nil }
            // 19 digits fit UInt64.
            value = value * 10 + UInt64(byte - UInt8(ascii: "0"))
        }
        return value <= self.maximum ? value : nil
    }
}
