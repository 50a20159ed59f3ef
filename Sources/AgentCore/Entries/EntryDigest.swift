import Crypto

/// A fingerprint of a set of entries: the XOR over its members of the first 16 bytes of
/// SHA-256(id "\n" revision "\n" created_at), numbers in decimal.
///
/// Does not depend on order and is updated in constant time. The server computes the same, so that
/// an agent notices when it has missed a change.
package struct EntryDigest: Hashable, Sendable {
    private var high: UInt64 = 0
    private var low: UInt64 = 0

    /// The digest of the empty set: 16 zero bytes.
    package init() {}

    /// - Parameter bytes: Exactly 16 bytes, as they are sent; nil for any other number.
    package init?(bytes: some Collection<UInt8>) {
        guard bytes.count == 16 else { return nil }
        for (index, byte) in bytes.enumerated() {
            if index < 8 {
                self.high = self.high << 8 | UInt64(byte)
            } else {
                self.low = self.low << 8 | UInt64(byte)
            }
        }
    }

    /// The 16 bytes as they are sent.
    package var bytes: [UInt8] {
        [self.high, self.low].flatMap { half in
            (0..<8).map { UInt8(truncatingIfNeeded: half >> (56 - 8 * UInt64($0))) }
        }
    }

    /// Adds an entry that is not in the set, or takes out one that is.
    package mutating func toggle(_ entry: AuthorizedEntry) {
        let hash = SHA256.hash(
            data: Array("\(entry.id)\n\(entry.revision)\n\(entry.createdAt)".utf8))
        for (index, byte) in hash.enumerated().prefix(16) {
            let bits = UInt64(byte) << (56 - 8 * UInt64(index & 7))
            if index < 8 { self.high ^= bits } else { self.low ^= bits }
        }
    }
}
