/// Sixteen bytes without a heap object; in the order of the numbers that they are.
struct Bytes16: Hashable, Sendable, Comparable {
    var high: UInt64
    var low: UInt64

    /// The first 16 of the bytes; what is missing is zero.
    init(_ bytes: some Collection<UInt8>) {
        var words: (UInt64, UInt64) = (0, 0)
        for (index, byte) in bytes.prefix(16).enumerated() {
            let shift = UInt64(56 - 8 * (index % 8))
            if index < 8 {
                words.0 |= UInt64(byte) << shift
            } else {
                words.1 |= UInt64(byte) << shift
            }
        }
        self.high = words.0
        self.low = words.1
    }

    var bytes: [UInt8] { Self.bytes(self.high) + Self.bytes(self.low) }

    static func < (one: Bytes16, other: Bytes16) -> Bool {
        (one.high, one.low) < (other.high, other.low)
    }

    static func bytes(_ word: UInt64) -> [UInt8] {
        stride(from: 56, through: 0, by: -8).map {
            UInt8(truncatingIfNeeded: word >> UInt64($0))
        }
    }
}

/// Thirty-two bytes without a heap object: a SHA-256, or a serial number; in the order of the numbers that they are.
struct Bytes32: Hashable, Sendable, Comparable {
    var first: Bytes16
    var second: Bytes16

    init(_ bytes: some Collection<UInt8>) {
        self.first = Bytes16(bytes)
        self.second = Bytes16(bytes.dropFirst(16))
    }

    /// A number in hex, at most 64 digits; nil when it is none.
    init?(hexNumber text: String) {
        guard (1...64).contains(text.utf8.count) else { return nil }
        var bytes = [UInt8](repeating: 0, count: 32)
        for (index, digit) in text.utf8.reversed().enumerated() {
            let value: UInt8
            switch digit {
            case 0x30...0x39: value = digit - 0x30
            case 0x61...0x66: value = digit - 0x61 + 10
            case 0x41...0x46: value = digit - 0x41 + 10
            default: return nil
            }
            bytes[31 - index / 2] |= index % 2 == 0 ? value : value << 4
        }
        self.init(bytes)
    }

    var bytes: [UInt8] { self.first.bytes + self.second.bytes }

    static func < (one: Bytes32, other: Bytes32) -> Bool {
        one.first == other.first ? one.second < other.second : one.first < other.first
    }

    /// As a number in lower-case hex without leading zeros.
    var hexNumber: String {
        let text = hex(self.bytes).drop { $0 == "0" }
        return text.isEmpty ? "0" : String(text)
    }
}
