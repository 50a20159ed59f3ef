/// Checks a whole log: reads every entry and every tile once, in order, and keeps no more than a few tiles.
///
/// It trusts the verifier key and the older checkpoints that it is given, and nothing that it reads.
package struct LogVerifier: Sendable {
    /// What holds.
    package struct Report: Sendable {
        /// What the log's key signed.
        package let signed: SignedCheckpoint
        /// The witnesses that cosigned, and when in POSIX seconds.
        package let cosignatures: [(key: VerifierKey, time: UInt64)]
        /// Sizes of the older checkpoints that the log begins with.
        package let oldSizes: [UInt64]
    }

    private let reader: any TileReader
    private let verifier: ProofVerifier
    private let old: [Checkpoint]

    /// - Parameters:
    ///   - reader: The log.
    ///   - verifier: Knows the log's key and the witnesses.
    ///   - against: Older checkpoints of the log that were verified and kept, in any order.
    package init(_ reader: any TileReader, verifier: ProofVerifier, against: [Checkpoint] = []) {
        self.reader = reader
        self.verifier = verifier
        self.old = against.sorted { $0.size < $1.size }
    }

    /// Reads and verifies the log's checkpoint, and nothing below it.
    ///
    /// - Throws: ``LogFault`` at the checkpoint; what the reader throws.
    package func checkpoint() async throws -> Report {
        guard let bytes = try await self.reader.read("checkpoint", limit: SignedNote.maximumBytes)
        else { throw LogFault(.checkpoint, "there is none") }
        do throws(TransparencyError) {
            let note = try SignedNote(parsing: bytes)
            let (signed, cosignatures) = try self.verifier.signed(note)
            return Report(
                signed: signed, cosignatures: cosignatures, oldSizes: self.old.map(\.size))
        } catch {
            throw LogFault(.checkpoint, error.message)
        }
    }

    /// Checks everything.
    ///
    /// - Parameter visit: Called for each leaf, in order, when its tile agrees with it. The leaf is proved only when
    ///   the whole call returns.
    /// - Throws: ``LogFault`` for the first thing that does not hold; what the reader and `visit` throw.
    package func verify(
        visit: (_ index: UInt64, _ leaf: ArraySlice<UInt8>) throws -> Void = { _, _ in }
    ) async throws -> Report {
        let report = try await self.checkpoint()
        let checkpoint = report.signed.checkpoint
        if let old = self.old.last, old.size > checkpoint.size {
            throw LogFault(
                .leaves(checkpoint.size..<old.size),
                "missing: the log ends with \(checkpoint.size) leaves, and had \(old.size) when the older "
                    + "checkpoint was signed")
        }
        var pass = Pass(checkpoint: checkpoint, old: self.old[...])
        try pass.compareOld()
        var index: UInt64 = 0
        while let entriesTile = Tile(.entries, index: index, size: checkpoint.size),
            let tile = Tile(.hashes(level: 0), index: index, size: checkpoint.size)
        {
            let entries = try await self.reader.entries(entriesTile)
            let stored = try await self.reader.hashes(tile)
            let computed = entries.map { MerkleHash.leaf($0) }
            if let place = zip(computed, stored).enumerated().first(where: { $1.0 != $1.1 })?.offset
            {
                throw try await self.blame(
                    tile, place: place, computed: computed, stored: stored, pass: pass)
            }
            for (offset, entry) in entries.enumerated() {
                try visit(index << 8 + UInt64(offset), entry)
                pass.tree.append(computed[offset])
                try pass.compareOld()
            }
            for finished in pass.tree.takeFinished() { try await self.compare(finished, &pass) }
            index += 1
        }
        for partial in pass.tree.partialTiles { try await self.compare(partial, &pass) }
        try pass.compareRoot()
        return report
    }

    /// Checks what was added to a log that was checked before: reads the leaves from there on and nothing else. The root
    /// shows that those before are still the same.
    ///
    /// - Parameters:
    ///   - known: Of the log as it was checked before.
    ///   - visit: Called for each leaf behind that, in order. The leaf is proved only when the whole call returns.
    /// - Returns: What holds, and what to know the next time.
    /// - Throws: ``LogFault`` for the first thing that does not hold; what the reader and `visit` throw.
    package func verify(
        behind known: MerkleFrontier,
        visit: (_ index: UInt64, _ leaf: ArraySlice<UInt8>) throws -> Void = { _, _ in }
    ) async throws -> (report: Report, frontier: MerkleFrontier) {
        let report = try await self.checkpoint()
        let checkpoint = report.signed.checkpoint
        guard known.size <= checkpoint.size else {
            throw LogFault(
                .leaves(checkpoint.size..<known.size),
                "missing: the log ends with \(checkpoint.size) leaves, and had \(known.size) when it was checked before"
            )
        }
        var frontier = known
        while frontier.size < checkpoint.size,
            let tile = Tile(.entries, index: frontier.size >> 8, size: checkpoint.size)
        {
            let entries = try await self.reader.entries(tile)
            let first = Int(frontier.size & 255)
            guard first < entries.count else {
                throw LogFault(.tile(tile.path), "\(tile.path) does not have leaf \(frontier.size)")
            }
            for entry in entries[first...] {
                try visit(frontier.size, entry)
                frontier.append(.leaf(entry))
            }
        }
        guard frontier.size == checkpoint.size, frontier.root == checkpoint.root else {
            throw LogFault(
                .leaves(min(known.size, max(checkpoint.size, 1) - 1)..<max(checkpoint.size, 1)),
                "not those that the checkpoint was signed for, or the log does not begin with the \(known.size) leaves "
                    + "that were checked before; check all of it with ledger verify")
        }
        return (report, frontier)
    }

    /// Compares a tile that was computed with the one that is stored; level 0 was compared before.
    private func compare(_ computed: HashTile, _ pass: inout Pass) async throws {
        guard case .hashes(let level) = computed.tile.kind, level > 0 else { return }
        let stored = try await self.reader.hashes(computed.tile)
        guard
            let place = zip(computed.hashes, stored).enumerated().first(where: { $1.0 != $1.1 })?
                .offset
        else { return }
        let below = Tile(
            .hashes(level: level - 1), index: computed.tile.index << 8 + UInt64(place))
        pass.suspect(computed.tile, leaves: below.leaves)
    }

    /// Finds out whether the entry or the tile of hashes was changed: what leads to the level above, or to the root,
    /// is right.
    private func blame(
        _ tile: Tile, place: Int, computed: [MerkleHash], stored: [MerkleHash], pass: Pass
    ) async throws -> LogFault {
        let index = tile.index << 8 + UInt64(place)
        let tileIsWrong: Bool
        if tile.isPartial {
            var tree = pass.tree
            for hash in computed { tree.append(hash) }
            tileIsWrong = tree.root == pass.checkpoint.root
        } else if let above = Tile(
            .hashes(level: 1), index: tile.index >> 8, size: pass.checkpoint.size),
            let row = try? await self.reader.hashes(above),
            row.indices.contains(Int(tile.index & 255))
        {
            tileIsWrong = MerkleHash.perfect(computed[...]) == row[Int(tile.index & 255)]
        } else {
            tileIsWrong = false
        }
        return tileIsWrong
            ? LogFault(.tile(tile.path), "its hash of leaf \(index) is not that of the entry")
            : LogFault(
                .leaf(index), "the entry was changed: its hash is not the one in \(tile.path)")
    }
}

/// What one pass over a log knows so far.
private struct Pass {
    let checkpoint: Checkpoint
    var tree = TiledTree()
    /// Older checkpoints not reached yet.
    private var old: ArraySlice<Checkpoint>
    /// The leaves before this one are those that an older checkpoint was signed for.
    private var proved: UInt64 = 0
    /// The first tile that does not agree with what is below it.
    private var suspicion: (tile: Tile, leaves: Range<UInt64>)?

    init(checkpoint: Checkpoint, old: ArraySlice<Checkpoint>) {
        self.checkpoint = checkpoint
        self.old = old
    }

    mutating func suspect(_ tile: Tile, leaves: Range<UInt64>) {
        if self.suspicion == nil { self.suspicion = (tile, leaves) }
    }

    /// Compares the older checkpoints of the size reached.
    mutating func compareOld() throws {
        while let next = self.old.first, next.size == self.tree.size {
            guard next.root == self.tree.root else {
                throw LogFault(
                    .leaves(
                        self.suspicion?.leaves ?? self.proved..<max(next.size, self.proved + 1)),
                    "not those that the older checkpoint of size \(next.size) was signed for: the log was rewritten "
                        + "or shows different views")
            }
            self.proved = next.size
            self.old = self.old.dropFirst()
        }
    }

    /// Compares the root, and says who is to blame.
    func compareRoot() throws {
        guard self.tree.root == self.checkpoint.root else {
            let end = max(self.checkpoint.size, self.proved + 1)
            throw LogFault(
                .leaves(self.suspicion?.leaves ?? self.proved..<end),
                "not those that the checkpoint was signed for: entries and tiles were changed together"
            )
        }
        if let suspicion {
            throw LogFault(
                .tile(suspicion.tile.path),
                "its hash above leaf \(suspicion.leaves.lowerBound) is not the one that follows from the leaves"
            )
        }
    }
}
