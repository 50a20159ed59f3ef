import Crypto

/// A 16-byte digest of a set of entries that follows additions and removals: the XOR of the first 16 bytes of
/// SHA-256(id "\n" revision "\n" created_at) over the set.
///
/// It shows drift between two sides that mean well; it is no protection against forgery.
package struct EntryDigest: Sendable, Hashable {
    private var high: UInt64 = 0
    private var low: UInt64 = 0

    package init() {}

    /// Adds the entry to the set, or takes it out when it is in.
    package mutating func toggle(_ entry: Entry) {
        self.toggle(id: entry.id, revision: entry.revision, createdAt: entry.createdAt)
    }

    /// The same for an entry of which only these three are at hand; times in Unix seconds.
    package mutating func toggle(id: String, revision: Int64, createdAt: Int64) {
        var text = id
        text += "\n"
        text += String(revision)
        text += "\n"
        text += String(createdAt)
        let hash = text.withUTF8 { SHA256.hash(data: $0) }
        hash.withUnsafeBytes { bytes in
            self.high ^= bytes.loadUnaligned(fromByteOffset: 0, as: UInt64.self).bigEndian
            self.low ^= bytes.loadUnaligned(fromByteOffset: 8, as: UInt64.self).bigEndian
        }
    }

    /// The 16 bytes, big-endian.
    package var bytes: [UInt8] {
        var result: [UInt8] = []
        result.reserveCapacity(16)
        for word in [self.high, self.low] {
            for shift in stride(from: 56, through: 0, by: -8) {
                result.append(UInt8(truncatingIfNeeded: word >> UInt64(shift)))
            }
        }
        return result
    }
}
