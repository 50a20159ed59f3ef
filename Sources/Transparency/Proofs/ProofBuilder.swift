/// Builds proofs from the tiles of a log. It reads a few tiles for each proof, however large the log is, and
/// checks what it builds, so that a damaged tile gives an error and never a wrong proof.
package struct ProofBuilder: Sendable {
    private let reader: any TileReader
    /// The checkpoint that the proofs lead to.
    private let checkpoint: SignedCheckpoint

    package init(_ reader: any TileReader, checkpoint: SignedCheckpoint) {
        self.reader = reader
        self.checkpoint = checkpoint
    }

    /// Proves that the leaf at `index` is in the log, with the leaf itself as the extra data.
    ///
    /// - Throws: ``TransparencyError`` `outOfRange`, or ``LogFault``.
    package func proof(ofLeaf index: UInt64) async throws -> LogProof {
        let size = self.checkpoint.checkpoint.size
        let ranges = try InclusionProof.ranges(index: index, size: size)
        guard let tile = Tile(.entries, index: index >> 8, size: size) else {
            throw TransparencyError(.outOfRange, "there is no leaf \(index) in \(size)")
        }
        let entries = try await self.reader.entries(tile)
        let place = Int(index & 255)
        guard entries.indices.contains(place) else {
            throw LogFault(.leaf(index), "\(tile.path) does not have leaf \(index)")
        }
        let leaf = Array(entries[place])
        let path = try await self.hashes(of: ranges)
        do {
            try InclusionProof(index: index, size: size, path: path)
                .verify(leafHash: .leaf(leaf), root: self.checkpoint.checkpoint.root)
        } catch {
            throw LogFault(
                .leaf(index),
                "leaf \(index) or a tile above it does not lead to the root of the checkpoint")
        }
        return LogProof(extra: leaf, index: index, path: path, note: self.checkpoint.note)
    }

    /// Proves that the log begins with the leaves of an older checkpoint.
    ///
    /// - Throws: ``TransparencyError`` `outOfRange`, or ``LogFault``.
    package func consistency(from old: Checkpoint) async throws -> ConsistencyProof {
        let new = self.checkpoint.checkpoint
        let ranges = try ConsistencyProof.ranges(oldSize: old.size, newSize: new.size)
        let proof = ConsistencyProof(
            oldSize: old.size, newSize: new.size, path: try await self.hashes(of: ranges))
        do {
            try proof.verify(oldRoot: old.root, newRoot: new.root)
        } catch {
            throw LogFault(
                .leaves(0..<max(old.size, 1)),
                "the log of \(new.size) leaves does not begin with those of the checkpoint of \(old.size)"
            )
        }
        return proof
    }

    /// The same from an older size whose root only the one who asks knows: shows what this log says it was.
    ///
    /// - Throws: ``TransparencyError`` `outOfRange`, or ``LogFault``.
    package func consistency(fromSize size: UInt64) async throws -> ConsistencyProof {
        let new = self.checkpoint.checkpoint
        guard size <= new.size else {
            throw TransparencyError(
                .outOfRange, "a tree of \(new.size) leaves cannot begin with \(size) leaves")
        }
        let root: MerkleHash
        if size == 0 {
            root = .emptyTree
        } else if size == new.size {
            root = new.root
        } else {
            root = try await self.hashes(of: [0..<size])[0]
        }
        return try await self.consistency(
            from: try Checkpoint(origin: new.origin, size: size, root: root))
    }

    /// What is needed to append to the log and to know its root, from the tiles at its end.
    ///
    /// - Throws: ``LogFault`` when they do not lead to the checkpoint's root.
    package func frontier() async throws -> MerkleFrontier {
        let checkpoint = self.checkpoint.checkpoint
        let nodes = MerkleNode.nodes(covering: 0..<checkpoint.size)
        let subtrees = try await self.hashes(
            of: nodes.map { node in
                let shift = UInt64(node.height)
                return node.index << shift..<(node.index + 1) << shift
            })
        guard let frontier = MerkleFrontier(size: checkpoint.size, subtrees: subtrees),
            frontier.root == checkpoint.root
        else {
            throw LogFault(
                .leaves(0..<max(checkpoint.size, 1)),
                "the tiles at the end of the log do not lead to the root of the checkpoint")
        }
        return frontier
    }

    /// The roots of subtrees, each tile read once.
    private func hashes(of ranges: [Range<UInt64>]) async throws -> [MerkleHash] {
        var tiles: [Tile: [MerkleHash]] = [:]
        var hashes: [MerkleHash] = []
        for range in ranges {
            var subtrees: [MerkleHash] = []
            for node in MerkleNode.nodes(covering: range) {
                let level = node.height / 8
                let first = node.index << UInt64(node.height % 8)
                let count = 1 << (node.height % 8)
                guard
                    let tile = Tile(
                        .hashes(level: level), index: first >> 8,
                        size: self.checkpoint.checkpoint.size)
                else { throw TransparencyError(.outOfRange, "no tile has the subtree \(range)") }
                if tiles[tile] == nil { tiles[tile] = try await self.reader.hashes(tile) }
                let start = Int(first & 255)
                guard let row = tiles[tile], start + count <= row.count else {
                    throw LogFault(.tile(tile.path), "\(tile.path) is too short")
                }
                subtrees.append(.perfect(row[start..<start + count]))
            }
            hashes.append(.fold(subtrees))
        }
        return hashes
    }
}
