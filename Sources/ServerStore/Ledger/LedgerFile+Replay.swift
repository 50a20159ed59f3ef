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
    /// - Parameters:
    ///   - type: Only leaves of this type, which costs a search in the bytes of the others instead of reading them.
    ///   - body: Called for each leaf; what it throws ends the reading.
    /// - Throws: ``TransparencyError`` or ``LedgerStorageError`` when leaves cannot be read, and what `body` throws.
    package func replay(
        since: Date, type: String? = nil, _ body: (Leaf) throws -> Void
    ) async throws {
        let mark = type.map { ByteMark("\"type\":\"\($0)\"") }
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
            for entry in try self.bundle(start, size: size) where mark?.isIn(entry) != false {
                let leaf = try Leaf(parsing: Array(entry))
                guard leaf.time >= first, type == nil || leaf.event.type == type else { continue }
                try body(leaf)
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

    private static let mark = ByteMark("\"time\":\"")

    /// The latest of the times that stand in a leaf's bytes as `"time":"…"`, without reading the rest; nil when there is
    /// none. In other members' texts the quotes would be escaped.
    static func latest(in leaf: ArraySlice<UInt8>) -> LeafTime? {
        var latest: LeafTime?
        var rest = leaf
        while let place = Self.mark.end(in: rest) {
            rest = leaf[place...]
            let text = rest.prefix { $0 != UInt8(ascii: "\"") }
            guard let time = LeafTime(parsing: String(decoding: text, as: UTF8.self)) else {
                continue
            }
            latest = max(latest ?? time, time)
        }
        return latest
    }
}

/// A text that is looked for in bytes.
struct ByteMark: Sendable {
    private let bytes: [UInt8]

    init(_ text: String) { self.bytes = Array(text.utf8) }

    /// Whether it stands there.
    func isIn(_ haystack: ArraySlice<UInt8>) -> Bool { self.end(in: haystack) != nil }

    /// The index behind its first occurrence.
    func end(in haystack: ArraySlice<UInt8>) -> Int? {
        haystack.withUnsafeBytes { place in
            self.bytes.withUnsafeBytes { mark in
                guard let first = mark.first, let wanted = mark.baseAddress else { return nil }
                var offset = 0
                while offset + mark.count <= place.count, let start = place.baseAddress {
                    guard let next = memchr(start + offset, Int32(first), place.count - offset)
                    else { return nil }
                    offset = UnsafeRawPointer(next) - start
                    guard offset + mark.count <= place.count else { return nil }
                    if memcmp(next, wanted, mark.count) == 0 {
                        return haystack.startIndex + offset + mark.count
                    }
                    offset += 1
                }
                return nil
            }
        }
    }
}
