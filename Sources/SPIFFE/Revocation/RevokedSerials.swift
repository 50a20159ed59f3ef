import Foundation

/// A certificate's serial number: a whole number that is not negative, of at most 20 octets (RFC 5280 §4.1.2.2).
struct SerialNumber: Comparable, Hashable, Sendable {
    private let high: UInt32
    private let middle: UInt64
    private let low: UInt64

    /// - Parameter bytes: Big-endian; zeros in front do not count. Nil when it needs more than 20 octets.
    init?(magnitude bytes: ArraySlice<UInt8>) {
        let digits = bytes.drop { $0 == 0 }
        guard digits.count <= 20 else { return nil }
        var high: UInt32 = 0
        var middle: UInt64 = 0
        var low: UInt64 = 0
        for digit in digits {
            high = high << 8 | UInt32(middle >> 56)
            middle = middle << 8 | low >> 56
            low = low << 8 | UInt64(digit)
        }
        self.high = high
        self.middle = middle
        self.low = low
    }

    /// Reads the content of a DER INTEGER; nil when it is negative, too long or not in its shortest form.
    init?(integer content: ArraySlice<UInt8>) {
        guard let first = content.first, first < 0x80 else { return nil }
        if first == 0, content.count > 1 {
            guard content[content.startIndex + 1] >= 0x80 else { return nil }
        }
        self.init(magnitude: content)
    }

    static func < (left: SerialNumber, right: SerialNumber) -> Bool {
        if left.high != right.high { return left.high < right.high }
        if left.middle != right.middle { return left.middle < right.middle }
        return left.low < right.low
    }
}

/// The entries of a CRL in order of serial number: 40 bytes each, found by halving.
struct RevokedSerials: Sendable {
    struct Entry: Sendable {
        let serial: SerialNumber
        /// Unix seconds.
        let revokedAt: Int64
        /// RFC 5280 §5.3.1.
        let reason: UInt8
    }

    private let entries: [Entry]

    /// - Parameter entries: In any order. One that occurs twice is revoked all the same.
    init(_ entries: [Entry]) { self.entries = entries.sorted { $0.serial < $1.serial } }

    var count: Int { self.entries.count }

    func entry(_ serial: SerialNumber) -> Entry? {
        var first = 0
        var end = self.entries.count
        while first < end {
            let middle = first + (end - first) / 2
            if self.entries[middle].serial < serial { first = middle + 1 } else { end = middle }
        }
        guard first < self.entries.count, self.entries[first].serial == serial else { return nil }
        return self.entries[first]
    }
}
