extension LedgerWriter {
    /// A writer for what is on disk, after a stop, a crash or a write that failed.
    ///
    /// Everything acknowledged is in it. What was written without being acknowledged may be. Before the writer is used,
    /// its ``publication()`` and then its ``journalStart()`` must be written: they repair tiles that were lost and cut
    /// off what was not written to its end.
    ///
    /// - Parameters:
    ///   - key: The log's key; its name is the origin.
    ///   - journal: The journal's bytes; nil when there is none.
    ///   - read: Reads a file of the log; nil when there is none.
    /// - Returns: The writer; nil when there is neither journal nor checkpoint, so that a ledger can be created.
    /// - Throws: ``TransparencyError``: `inconsistentLedger` when journal, tiles and checkpoint do not belong together or
    ///   some are missing, `wrongOrigin`, `wrongSignature` or `notSigned` for the ledger of somebody else; what `read`
    ///   throws.
    package static func recover(
        key: VerifierKey, journal: [UInt8]?, read: (_ path: String) throws -> [UInt8]?
    ) throws -> LedgerWriter? {
        let published = try read("checkpoint").map { bytes in
            try SignedCheckpoint(parsing: bytes, signedBy: key).checkpoint
        }
        guard let journal else {
            if published == nil { return nil }
            throw TransparencyError(
                .inconsistentLedger,
                "the ledger has a checkpoint and no journal; restore the journal: the last leaves may be in "
                    + "no other place")
        }
        let records = try JournalRecord.parse(journal).records
        guard let first = records.first, first.leaves.isEmpty else {
            throw TransparencyError(
                .inconsistentLedger, "the journal has no beginning; restore it from a copy")
        }
        let base = try SignedCheckpoint(first.note, signedBy: key)
        var edge = try self.edge(of: base.checkpoint, read: read)
        var known = [base.checkpoint.size: base.checkpoint.root]
        var last = base
        for record in records.dropFirst() {
            for leaf in record.leaves { try edge.append(leaf) }
            let checkpoint = try Checkpoint(parsing: record.note.text)
            guard checkpoint.size == edge.tree.size, checkpoint.root == edge.tree.root else {
                throw TransparencyError(
                    .inconsistentLedger,
                    "the journal's leaves up to \(edge.tree.size) are not those of its checkpoint of size "
                        + "\(checkpoint.size)")
            }
            known[checkpoint.size] = checkpoint.root
        }
        // The last signature is over all of the leaves, so the others need not be verified.
        if let record = records.dropFirst().last {
            last = try SignedCheckpoint(record.note, signedBy: key)
        }
        if let published, published.size >= base.checkpoint.size,
            known[published.size] != published.root
        {
            throw TransparencyError(
                .inconsistentLedger,
                "the published checkpoint has \(published.size) leaves and the journal \(edge.tree.size): the "
                    + "journal is an older copy or was cut; restore it, a ledger must not sign two histories"
            )
        }
        return LedgerWriter(recovered: last, edge: edge)
    }

    private init(recovered signed: SignedCheckpoint, edge: Edge) {
        self.init(origin: signed.checkpoint.origin, committed: signed.note, edge: edge)
        self.takeFinished()
    }

    /// The edge of the log at a checkpoint, from its tiles, compared with the checkpoint.
    private static func edge(
        of checkpoint: Checkpoint, read: (_ path: String) throws -> [UInt8]?
    ) throws -> Edge {
        let size = checkpoint.size
        func file(_ tile: Tile) throws -> ([UInt8], Tile) {
            if let bytes = try read(tile.path) { return (bytes, tile) }
            if tile.isPartial, let bytes = try read(tile.full.path) { return (bytes, tile.full) }
            throw TransparencyError(
                .inconsistentLedger, "\(tile.path) is missing; restore it from a copy")
        }
        var rows: [[MerkleHash]] = []
        for level in 0..<max(TiledTree.levels(size: size), 1) {
            let shift = UInt64(8 * (level + 1))
            guard
                let tile = Tile(
                    .hashes(level: level), index: shift < 64 ? size >> shift : 0, size: size)
            else {
                rows.append([])
                continue
            }
            let (bytes, found) = try file(tile)
            rows.append(Array(try HashTile(parsing: bytes, as: found).hashes.prefix(tile.width)))
        }
        let tree = try TiledTree(size: size, rows: rows)
        guard tree.root == checkpoint.root else {
            throw TransparencyError(
                .inconsistentLedger,
                "the tiles at the end of the log do not lead to the root of its checkpoint of \(size) leaves; "
                    + "\"cygnet ledger verify\" names what was changed")
        }
        guard let tile = Tile(.entries, index: size >> 8, size: size) else {
            return Edge(tree: tree, bundle: [])
        }
        let (bytes, found) = try file(tile)
        var bundle: [UInt8] = []
        let entries = try EntryBundle.parse(bytes, count: found.width).prefix(tile.width)
        for (offset, entry) in entries.enumerated() {
            guard MerkleHash.leaf(entry) == rows[0][offset] else {
                throw TransparencyError(
                    .inconsistentLedger,
                    "leaf \(size & ~255 + UInt64(offset)) in \(tile.path) was changed")
            }
            try EntryBundle.append(Array(entry), to: &bundle)
        }
        return Edge(tree: tree, bundle: bundle)
    }
}
