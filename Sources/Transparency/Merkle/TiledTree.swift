/// A Merkle tree that can be appended to and hands out its tiles: the frontier, and the hashes of the tiles at
/// its right edge that are not full yet, at most 255 on each level.
package struct TiledTree: Sendable {
    private(set) var frontier: MerkleFrontier
    /// The hashes of the partial tile of each level, lowest first.
    private var rows: [[MerkleHash]]
    /// Tiles that became full and were not taken yet.
    private var finished: [HashTile] = []

    /// The empty tree.
    package init() {
        self.frontier = MerkleFrontier()
        self.rows = [[]]
    }

    /// A tree of `size` leaves from the partial tiles at its right edge, lowest level first.
    ///
    /// - Throws: ``TransparencyError`` `malformedTile` when a row does not have the width that `size` asks for.
    package init(size: UInt64, rows: [[MerkleHash]]) throws(TransparencyError) {
        guard size <= Decimal.maximum else {
            throw TransparencyError(.outOfRange, "a tree of \(size) leaves; at most 2^63-1")
        }
        var rows = rows
        if rows.isEmpty { rows = [[]] }
        let levels = TiledTree.levels(size: size)
        guard rows.count <= 8, rows.count >= levels else {
            throw TransparencyError(
                .malformedTile,
                "a tree of \(size) leaves has \(levels) levels of tiles, given \(rows.count)")
        }
        var subtrees: [MerkleHash] = []
        for level in rows.indices.reversed() {
            let width = Int(size >> UInt64(8 * level) & 255)
            guard rows[level].count == width else {
                throw TransparencyError(
                    .malformedTile,
                    "the tile at the edge of level \(level) has \(rows[level].count) hashes; a tree of "
                        + "\(size) leaves has \(width) there")
            }
            var start = 0
            for bit in (0..<8).reversed() where width >> bit & 1 == 1 {
                subtrees.append(.perfect(rows[level][start..<start + 1 << bit]))
                start += 1 << bit
            }
        }
        guard let frontier = MerkleFrontier(size: size, subtrees: subtrees) else {
            throw TransparencyError(
                .malformedTile, "the tiles do not make a tree of \(size) leaves")
        }
        self.frontier = frontier
        self.rows = rows
    }

    /// How many levels have tiles, full or partial, in a tree of this size; 0 for the empty one.
    package static func levels(size: UInt64) -> Int {
        var levels = 0
        var rest = size
        while rest > 0 {
            levels += 1
            rest >>= 8
        }
        return levels
    }

    /// How many leaves it has.
    package var size: UInt64 { self.frontier.size }

    /// Its root.
    package var root: MerkleHash { self.frontier.root }

    /// Leaves that were put behind a tree without changing it: what is to be done to the tree when they count.
    struct Growth: Sendable {
        /// The tree's frontier afterwards.
        fileprivate(set) var frontier: MerkleFrontier
        fileprivate let base: UInt64
        fileprivate var hashes: [MerkleHash] = []
        /// The roots of the tiles that become full, those of one leaf in the order of their levels.
        fileprivate var heads: [(position: UInt64, level: Int, root: MerkleHash)] = []

        /// Appends the hash of a leaf.
        mutating func append(_ leafHash: MerkleHash) {
            let position = self.frontier.size
            self.hashes.append(leafHash)
            // A copy of the list: the closure must not reach into what is being changed.
            var heads: [(UInt64, Int, MerkleHash)] = []
            self.frontier.append(leafHash) { height, root in
                if height & 7 == 0 { heads.append((position, height >> 3, root)) }
            }
            self.heads += heads
        }
    }

    /// Begins to put leaves behind the tree.
    var growth: Growth { Growth(frontier: self.frontier, base: self.size) }

    /// Takes over leaves that were put behind this very tree.
    mutating func grow(_ growth: Growth) {
        var heads = growth.heads[...]
        for (offset, hash) in growth.hashes.enumerated() {
            let position = growth.base + UInt64(offset)
            self.place(hash, level: 0, position: position)
            while let head = heads.first, head.position == position {
                self.place(head.root, level: head.level, position: position)
                heads = heads.dropFirst()
            }
        }
        self.frontier = growth.frontier
    }

    /// Appends the hash of a leaf.
    package mutating func append(_ leafHash: MerkleHash) {
        let position = self.frontier.size
        self.place(leafHash, level: 0, position: position)
        // Collected first: the closure must not reach into what is being changed.
        var heads: (MerkleHash?, [MerkleHash]) = (nil, [])
        self.frontier.append(leafHash) { height, root in
            guard height & 7 == 0 else { return }
            if heads.0 == nil { heads.0 = root } else { heads.1.append(root) }
        }
        guard let first = heads.0 else { return }
        self.place(first, level: 1, position: position)
        for (index, head) in heads.1.enumerated() {
            self.place(head, level: index + 2, position: position)
        }
    }

    private mutating func place(_ hash: MerkleHash, level: Int, position: UInt64) {
        if level == self.rows.count { self.rows.append([]) }
        self.rows[level].append(hash)
        guard self.rows[level].count == Tile.fullWidth else { return }
        let shift = UInt64(8 * (level + 1))
        let index = shift < 64 ? position >> shift : 0
        let tile = Tile(.hashes(level: level), index: index)
        self.finished.append(HashTile(tile: tile, hashes: self.rows[level]))
        self.rows[level] = []
        self.rows[level].reserveCapacity(Tile.fullWidth)
    }

    /// The tiles that became full since the last call, in the order in which they did.
    package mutating func takeFinished() -> [HashTile] {
        defer { self.finished = [] }
        return self.finished
    }

    /// The partial tiles at the right edge, lowest level first; levels whose edge is empty have none.
    package var partialTiles: [HashTile] {
        var tiles: [HashTile] = []
        for (level, row) in self.rows.enumerated() where !row.isEmpty {
            let shift = UInt64(8 * (level + 1))
            let index = shift < 64 ? self.size >> shift : 0
            let tile = Tile(.hashes(level: level), index: index, width: row.count)
            tiles.append(HashTile(tile: tile, hashes: row))
        }
        return tiles
    }
}
