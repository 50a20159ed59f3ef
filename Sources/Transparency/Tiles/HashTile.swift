/// A tile of hashes with what is in it.
package struct HashTile: Hashable, Sendable {
    /// Where it belongs.
    package let tile: Tile
    /// As many hashes as the tile is wide.
    package let hashes: [MerkleHash]

    init(tile: Tile, hashes: [MerkleHash]) {
        self.tile = tile
        self.hashes = hashes
    }

    /// Reads the file of a tile: hashes one after the other.
    ///
    /// - Parameter tile: Which tile it is; a full one when a wider file than asked for was found.
    /// - Throws: ``TransparencyError`` `malformedTile` unless there are exactly as many as the tile is wide.
    package init(parsing bytes: [UInt8], as tile: Tile) throws(TransparencyError) {
        guard bytes.count == tile.width * MerkleHash.byteCount else {
            throw TransparencyError(
                .malformedTile,
                "\(tile.path) has \(bytes.count) bytes; expected \(tile.width * MerkleHash.byteCount)"
            )
        }
        var hashes: [MerkleHash] = []
        hashes.reserveCapacity(tile.width)
        for start in stride(from: 0, to: bytes.count, by: MerkleHash.byteCount) {
            if let hash = MerkleHash(bytes: bytes[start..<start + MerkleHash.byteCount]) {
                hashes.append(hash)
            }
        }
        self.init(tile: tile, hashes: hashes)
    }

    /// The file of the tile.
    package var bytes: [UInt8] {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(self.hashes.count * MerkleHash.byteCount)
        for hash in self.hashes { hash.append(to: &bytes) }
        return bytes
    }

    /// The root of the subtree that a full tile stands for.
    package var root: MerkleHash { .perfect(self.hashes[...]) }
}
