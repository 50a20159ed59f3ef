/// What a witness signs: a checkpoint, and when it was the largest that it had seen of the log (C2SP
/// tlog-cosignature, Ed25519).
package struct Cosignature: Hashable, Sendable {
    /// POSIX seconds; at most 2⁶³ − 1.
    package let time: UInt64
    /// 64 bytes.
    package let signature: [UInt8]

    package init(time: UInt64, signature: [UInt8]) {
        self.time = time
        self.signature = signature
    }

    /// Reads what follows the key ID in a signature line; nil unless it has 72 bytes and a time in range.
    package init?(parsing bytes: [UInt8]) {
        guard bytes.count == 72 else { return nil }
        self.time = bytes[..<8].reduce(0) { $0 << 8 | UInt64($1) }
        self.signature = Array(bytes[8...])
        guard self.time <= Decimal.maximum else { return nil }
    }

    /// Eight bytes of time, big-endian, and the signature.
    package var bytes: [UInt8] {
        (0..<8).map { UInt8(truncatingIfNeeded: self.time >> (56 - 8 * $0)) } + self.signature
    }

    /// The bytes that are signed: two lines of its own before the checkpoint's text.
    package static func message(text: [UInt8], time: UInt64) -> [UInt8] {
        Array("cosignature/v1\ntime \(time)\n".utf8) + text
    }
}
