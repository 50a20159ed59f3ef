import Foundation

/// IDs for entries that come without one.
package enum EntryID {
    /// A UUID of version 7 (RFC 9562 §5.7): its first half is the time, so new entries are neighbours in the store's
    /// index instead of touching a random page each.
    ///
    /// - Parameter now: Unix seconds; what follows them is random.
    package static func random(at now: Int64) -> String {
        var bytes = SerialNumbers.random()
        let milliseconds = UInt64(max(0, now)) * 1_000
        for index in 0..<6 {
            bytes[index] = UInt8(truncatingIfNeeded: milliseconds >> UInt64(8 * (5 - index)))
        }
        bytes[6] = (bytes[6] & 0x0F) | 0x70
        bytes[8] = (bytes[8] & 0x3F) | 0x80
        let text = hex(bytes)
        var result = ""
        var start = text.startIndex
        for length in [8, 4, 4, 4, 12] {
            let end = text.index(start, offsetBy: length)
            if !result.isEmpty { result += "-" }
            result += text[start..<end]
            start = end
        }
        return result
    }
}
