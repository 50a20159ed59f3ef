/// Names a tile: a piece of a log that is stored and served as one file (C2SP tlog-tiles).
package struct Tile: Hashable, Sendable, CustomStringConvertible {
    /// What is in it.
    package enum Kind: Hashable, Sendable {
        /// Hashes: of leaves on level 0, of full tiles of the level below otherwise.
        case hashes(level: Int)
        /// The entries themselves, as many as a tile of level 0 has hashes.
        case entries
    }

    /// How many hashes or entries a full tile has.
    package static let fullWidth = 256

    /// What is in it.
    package let kind: Kind
    /// Counted from the left within the level, from 0.
    package let index: UInt64
    /// How many hashes or entries: 256, or 1 to 255 for a partial tile.
    package let width: Int

    /// - Parameter width: 1 to 256; others are taken as the nearest of these.
    package init(_ kind: Kind, index: UInt64, width: Int = Tile.fullWidth) {
        self.kind = kind
        self.index = index
        self.width = min(max(width, 1), Tile.fullWidth)
    }

    /// The tile as it is in a tree of `size` leaves: full or partial; nil when it is not in there.
    package init?(_ kind: Kind, index: UInt64, size: UInt64) {
        let level = if case .hashes(let level) = kind { level } else { 0 }
        guard (0...7).contains(level), index < 1 << 55 else { return nil }
        let count = size >> UInt64(8 * level)
        let start = index << 8
        guard start < count else { return nil }
        self.init(kind, index: index, width: Int(min(count - start, 256)))
    }

    /// Whether it has fewer than 256 hashes or entries.
    package var isPartial: Bool { self.width < Tile.fullWidth }

    /// The full tile in the same place.
    package var full: Tile { Tile(self.kind, index: self.index) }

    /// The leaves below it, by index. Only for tiles that a tree of at most 2⁶³ − 1 leaves has.
    package var leaves: Range<UInt64> {
        let level = if case .hashes(let level) = self.kind { level } else { 0 }
        let shift = UInt64(8 * level)
        guard shift < 64 else { return 0..<Decimal.maximum }
        let (start, overflow) = (self.index << 8).multipliedReportingOverflow(by: 1 << shift)
        let (count, more) = UInt64(self.width).multipliedReportingOverflow(by: 1 << shift)
        guard !overflow, !more, start <= Decimal.maximum, count <= Decimal.maximum - start else {
            return 0..<Decimal.maximum
        }
        return start..<start + count
    }

    /// The folder that holds the partial tiles in this place.
    package var partialFolder: String { self.stem + ".p" }

    /// The path below the log's prefix: `tile/<level>/<index>` or `tile/entries/<index>`, with `.p/<width>` for a
    /// partial tile.
    package var path: String {
        self.isPartial ? "\(self.partialFolder)/\(self.width)" : self.stem
    }

    private var stem: String {
        switch self.kind {
        case .hashes(let level): "tile/\(level)/\(Tile.path(of: self.index))"
        case .entries: "tile/entries/\(Tile.path(of: self.index))"
        }
    }

    package var description: String { self.path }

    /// An index as path elements of three digits, all but the last with an `x` before them.
    private static func path(of index: UInt64) -> String {
        func three(_ value: UInt64) -> String {
            let text = String(value)
            return String(repeating: "0", count: 3 - text.utf8.count) + text
        }
        var path = three(index % 1000)
        var rest = index / 1000
        while rest > 0 {
            path = "x\(three(rest % 1000))/\(path)"
            rest /= 1000
        }
        return path
    }

    /// Reads a path in its one form.
    ///
    /// - Throws: ``TransparencyError`` `malformedPath`: another prefix, a level above 63, a width outside 1 to 255,
    ///   superfluous zeros or elements, an index of more than 18 digits.
    package init(path: String) throws(TransparencyError) {
        func malformed() -> TransparencyError {
            TransparencyError(
                .malformedPath,
                "\(TransparencyError.quoted(path.utf8)) is no path of a tile; expected "
                    + "tile/<level>/<index> or tile/entries/<index>, perhaps with .p/<width>")
        }
        guard path.utf8.count <= 64 else { throw malformed() }
        var parts = path.utf8.split(separator: UInt8(ascii: "/"), omittingEmptySubsequences: false)[
            ...]
        guard let first = parts.popFirst(), first.elementsEqual("tile".utf8),
            let level = parts.popFirst()
        else { throw malformed() }
        let kind: Kind
        if level.elementsEqual("entries".utf8) {
            kind = .entries
        } else if let number = Decimal.parse(level), number <= 63 {
            kind = .hashes(level: Int(number))
        } else {
            throw malformed()
        }
        var width = Tile.fullWidth
        if parts.count >= 2, parts[parts.endIndex - 2].suffix(2).elementsEqual(".p".utf8) {
            guard let last = parts.popLast(), let number = Decimal.parse(last),
                (1...255).contains(number), let stem = parts.popLast()
            else { throw malformed() }
            width = Int(number)
            parts.append(stem.dropLast(2))
        }
        guard (1...6).contains(parts.count) else { throw malformed() }
        var index: UInt64 = 0
        for part in parts {
            let digits = part.first == UInt8(ascii: "x") ? part.dropFirst() : part
            guard digits.count == 3 else { throw malformed() }
            for digit in digits {
                guard digit >= UInt8(ascii: "0"), digit <= UInt8(ascii: "9") else {
                    throw malformed()
                }
                // At most 18 digits.
                index = index * 10 + UInt64(digit - UInt8(ascii: "0"))
            }
        }
        self.init(kind, index: index, width: width)
        // Whatever is written in another way than we would write it.
        guard self.path.utf8.elementsEqual(path.utf8) else { throw malformed() }
    }
}
