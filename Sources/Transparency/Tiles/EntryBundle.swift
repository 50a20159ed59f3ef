/// The entries of one tile: each with its length in two bytes, big-endian, before it (C2SP tlog-tiles, "Log
/// entries").
package enum EntryBundle {
    /// How long an entry may be.
    package static let maximumEntry = 65_535
    /// How long the file of a full tile can be.
    package static let maximumBytes = 256 * (2 + maximumEntry)

    /// Checks the length of an entry.
    ///
    /// - Throws: ``TransparencyError`` `tooLarge` above 65,535 bytes.
    static func check(_ entry: [UInt8]) throws(TransparencyError) {
        guard entry.count <= self.maximumEntry else {
            throw TransparencyError(
                .tooLarge, "an entry of \(entry.count) bytes; at most \(self.maximumEntry)")
        }
    }

    /// Appends one entry.
    ///
    /// - Throws: ``TransparencyError`` `tooLarge` above 65,535 bytes; nothing is appended then.
    package static func append(_ entry: [UInt8], to bundle: inout [UInt8]) throws(TransparencyError)
    {
        try self.check(entry)
        bundle.append(UInt8(truncatingIfNeeded: entry.count >> 8))
        bundle.append(UInt8(truncatingIfNeeded: entry.count))
        bundle.append(contentsOf: entry)
    }

    /// Reads a bundle.
    ///
    /// - Parameter count: How many entries there must be.
    /// - Returns: Slices of `bytes`, one for each entry, in order.
    /// - Throws: ``TransparencyError`` `malformedTile` for more or fewer entries, or when the last one is cut off.
    package static func parse(_ bytes: [UInt8], count: Int) throws(TransparencyError)
        -> [ArraySlice<UInt8>]
    {
        var entries: [ArraySlice<UInt8>] = []
        entries.reserveCapacity(min(max(count, 0), Tile.fullWidth))
        var offset = 0
        while offset < bytes.count {
            guard entries.count < count else {
                throw TransparencyError(
                    .malformedTile,
                    "a bundle has \(bytes.count - offset) bytes after its \(count) entries")
            }
            guard bytes.count - offset >= 2 else {
                throw TransparencyError(
                    .malformedTile, "entry \(entries.count) of a bundle is cut off in its length")
            }
            let length = Int(bytes[offset]) << 8 | Int(bytes[offset + 1])
            offset += 2
            guard bytes.count - offset >= length else {
                throw TransparencyError(
                    .malformedTile,
                    "entry \(entries.count) of a bundle has \(bytes.count - offset) of \(length) bytes"
                )
            }
            entries.append(bytes[offset..<offset + length])
            offset += length
        }
        guard entries.count == count else {
            throw TransparencyError(
                .malformedTile, "a bundle has \(entries.count) entries; expected \(count)")
        }
        return entries
    }
}
