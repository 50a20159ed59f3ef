package import Foundation
package import Transparency

extension LedgerFile {
    /// How much earlier than a leaf before it a leaf may be dated: clocks are set back now and then.
    private static let clockTolerance: TimeInterval = 300
    /// How many bundles of 256 leaves in a row must be older, so that what is before them is taken to be.
    private static let olderBundles = 4

    /// Reads leaves back, in their order: all that are dated at or after an instant.
    ///
    /// It is looked for from the end of the log backwards. Where a clock was set back by more than five minutes, a leaf is
    /// missed when the 1,024 leaves behind it are all dated more than five minutes before the instant. Not more than one bundle
    /// of 256 leaves is in memory.
    ///
    /// - Parameter body: Called for each leaf; what it throws ends the reading.
    /// - Throws: ``TransparencyError`` or ``LedgerStorageError`` when leaves cannot be read, and what `body` throws.
    package func replay(since: Date, _ body: (Leaf) throws -> Void) async throws {
        try await self.publish()
        let size = self.publishedSize
        let first = LeafTime(since)
        let tolerated = LeafTime(since.addingTimeInterval(-Self.clockTolerance))
        var index = size >> 8 + (size & 255 == 0 ? 0 : 1)
        var start = index
        var older = 0
        while index > 0, older < Self.olderBundles {
            index -= 1
            let isOlder = try self.bundle(index, size: size).allSatisfy { entry in
                LeafTime.latest(in: entry).map { $0 < tolerated } ?? true
            }
            older = isOlder ? older + 1 : 0
            if !isOlder { start = index }
        }
        while start << 8 < size {
            for entry in try self.bundle(start, size: size) {
                let leaf = try Leaf(parsing: Array(entry))
                if leaf.time >= first { try body(leaf) }
            }
            start += 1
        }
    }

    /// The entries of a bundle of the log when it had `size` leaves.
    private func bundle(_ index: UInt64, size: UInt64) throws -> [ArraySlice<UInt8>] {
        guard let tile = Tile(.entries, index: index, size: size) else { return [] }
        for candidate in [tile, tile.full] {
            guard
                let bytes = try self.storage.read(
                    candidate.path, limit: EntryBundle.maximumBytes)
            else { continue }
            let entries = try EntryBundle.parse(bytes, count: candidate.width)
            return Array(entries.prefix(tile.width))
        }
        throw TransparencyError(
            .inconsistentLedger, "\(tile.path) is missing; restore it from a copy")
    }
}

extension LeafTime {
    /// An instant, cut to a millisecond.
    init(_ date: Date) {
        let milliseconds = (date.timeIntervalSince1970 * 1000).rounded(.down)
        self.init(milliseconds: Int64(exactly: milliseconds) ?? (milliseconds < 0 ? .min : .max))
    }

    /// The latest of the times that stand in a leaf's bytes as `"time":"…"`, without reading the rest; nil when there is
    /// none. In other members' texts the quotes would be escaped.
    static func latest(in leaf: ArraySlice<UInt8>) -> LeafTime? {
        let mark = Array("\"time\":\"".utf8)
        var latest: LeafTime?
        var place = leaf.startIndex
        while let quote = leaf[place...].firstIndex(of: UInt8(ascii: "\"")) {
            place = quote + 1
            let rest = leaf[quote...]
            guard rest.starts(with: mark) else { continue }
            let text = rest.dropFirst(mark.count).prefix { $0 != UInt8(ascii: "\"") }
            guard let time = LeafTime(parsing: String(decoding: text, as: UTF8.self)) else {
                continue
            }
            latest = max(latest ?? time, time)
        }
        return latest
    }
}
