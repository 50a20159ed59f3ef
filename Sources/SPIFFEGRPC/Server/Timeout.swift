import NIOCore

/// The value of `grpc-timeout`: up to eight digits and a unit.
enum Timeout {
    private static let nanoseconds: [UInt8: Int64] = [
        UInt8(ascii: "H"): 3_600_000_000_000, UInt8(ascii: "M"): 60_000_000_000,
        UInt8(ascii: "S"): 1_000_000_000, UInt8(ascii: "m"): 1_000_000, UInt8(ascii: "u"): 1_000,
        UInt8(ascii: "n"): 1,
    ]
    /// Nobody waits longer, and the sum with the clock stays far from overflow.
    private static let longest: Int64 = 365 * 24 * 3_600_000_000_000

    /// Nil when the text is malformed; the call then has no deadline, as if it had not said one.
    static func parse(_ text: String) -> TimeAmount? {
        let digits = text.utf8.dropLast()
        guard let unit = text.utf8.last, let scale = self.nanoseconds[unit],
            (1...8).contains(digits.count), digits.allSatisfy({ (0x30...0x39).contains($0) }),
            let count = Int64(String(decoding: digits, as: UTF8.self))
        else { return nil }
        let (product, overflows) = count.multipliedReportingOverflow(by: scale)
        return .nanoseconds(overflows ? self.longest : min(product, self.longest))
    }
}
