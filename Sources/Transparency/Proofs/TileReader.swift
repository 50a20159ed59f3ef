/// Reads the files of a log, wherever they are.
///
/// What it returns is not trusted. It may be called for paths that do not exist, and several times for one path.
package protocol TileReader: Sendable {
    /// The bytes of a file.
    ///
    /// - Parameters:
    ///   - path: Relative to the log's prefix, for instance `checkpoint` or `tile/0/000`.
    ///   - limit: More bytes than these need not be read; whoever returns more is not believed.
    /// - Returns: nil when there is no such file.
    /// - Throws: Whatever keeps it from knowing.
    func read(_ path: String, limit: Int) async throws -> [UInt8]?
}

extension TileReader {
    /// The hashes of a tile. Where only the full tile is left of a partial one, that is read and cut.
    ///
    /// - Throws: ``LogFault`` that names the tile when it is missing or malformed; what `read` throws.
    package func hashes(_ tile: Tile) async throws -> [MerkleHash] {
        let (bytes, found) = try await self.bytes(
            tile, limit: Tile.fullWidth * MerkleHash.byteCount)
        do {
            return Array(try HashTile(parsing: bytes, as: found).hashes.prefix(tile.width))
        } catch {
            throw LogFault(.tile(tile.path), error.message)
        }
    }

    /// The entries of a bundle; rules as ``hashes(_:)``.
    package func entries(_ tile: Tile) async throws -> [ArraySlice<UInt8>] {
        let (bytes, found) = try await self.bytes(tile, limit: EntryBundle.maximumBytes)
        do {
            return Array(try EntryBundle.parse(bytes, count: found.width).prefix(tile.width))
        } catch {
            throw LogFault(.tile(tile.path), error.message)
        }
    }

    private func bytes(_ tile: Tile, limit: Int) async throws -> ([UInt8], Tile) {
        var found = tile
        var bytes = try await self.read(tile.path, limit: limit)
        if bytes == nil, tile.isPartial {
            found = tile.full
            bytes = try await self.read(found.path, limit: limit)
        }
        guard let bytes else {
            throw LogFault(
                .tile(tile.path),
                "\(tile.path) is missing, with the leaves from \(tile.leaves.lowerBound)")
        }
        guard bytes.count <= limit else {
            throw LogFault(.tile(tile.path), "\(tile.path) is longer than \(limit) bytes")
        }
        return (bytes, found)
    }
}
