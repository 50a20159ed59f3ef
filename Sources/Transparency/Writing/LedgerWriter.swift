/// Decides what is written when leaves are appended to a ledger, in which order, and what is true after a crash
/// between any two writes. Does no writing itself.
///
/// A batch of leaves is acknowledged when its record is durable in the journal: one write for all of them. Tiles and
/// the checkpoint that others read are published from there, less often; a checkpoint is shown to others only when
/// the journal has it, so it is never taken back.
///
///     let batch = try writer.prepare(leaves)
///     let note = …sign batch.checkpoint.text…
///     …do batch.writes(signed: note)…        failed: recover from disk before anything else
///     writer.commit(batch, signed: note)     the leaves are acknowledged now
///
///     if let publication = try writer.publication() {   some time later
///         …do publication.writes…
///         writer.published(publication)
///     }
package struct LedgerWriter: Sendable {
    /// Leaves with the checkpoint that they lead to, before anything was written.
    package struct Batch: Sendable {
        /// What is to be signed.
        package let checkpoint: Checkpoint
        /// The index of the first leaf.
        package let firstIndex: UInt64
        fileprivate let leaves: [[UInt8]]
        fileprivate let growth: TiledTree.Growth

        /// What makes the batch durable.
        ///
        /// - Parameter note: ``checkpoint`` signed by the log.
        /// - Throws: ``TransparencyError`` when the note has another text, or the batch is too large.
        package func writes(signed note: SignedNote) throws(TransparencyError) -> [LedgerWrite] {
            guard note.text == self.checkpoint.text else {
                throw TransparencyError(.malformedCheckpoint, "another checkpoint was signed")
            }
            return [.appendToJournal(try JournalRecord(note: note, leaves: self.leaves).encode())]
        }
    }

    /// Tiles and a checkpoint for others to read.
    package struct Publication: Sendable {
        /// The steps. The checkpoint comes last, so that all it needs is there.
        package let writes: [LedgerWrite]
        /// How many leaves can be read then.
        package let size: UInt64
        fileprivate let finishedCount: Int
    }

    /// The last checkpoint that is durable in the journal.
    package private(set) var committed: SignedNote
    /// How many leaves the published checkpoint has; nil when none was published since the start.
    package private(set) var publishedSize: UInt64?
    /// How many bytes were appended to the journal since it was started.
    package private(set) var journalBytes = 0
    private let origin: ExactText
    private var edge: Edge
    /// Full tiles and bundles that were not published yet.
    private var finished: [LedgerWrite] = []
    /// Whether the tiles that the journal begins with are no longer the only place of their leaves.
    private var isBasePublished = false

    init(origin: ExactText, committed: SignedNote, edge: Edge) {
        self.origin = origin
        self.committed = committed
        self.edge = edge
    }

    /// Notes the tiles that became full.
    mutating func takeFinished() { self.finished += self.edge.takeFinished() }

    /// How many leaves are acknowledged.
    package var size: UInt64 { self.edge.tree.size }
    /// The root over them.
    package var root: MerkleHash { self.edge.tree.root }

    /// Puts leaves behind those that are there. Changes nothing.
    ///
    /// - Throws: ``TransparencyError`` `tooLarge` for a leaf above 65,535 bytes; `malformedLeaf` for no leaves.
    package func prepare(_ leaves: [[UInt8]]) throws(TransparencyError) -> Batch {
        guard !leaves.isEmpty else {
            throw TransparencyError(.malformedLeaf, "a batch without leaves")
        }
        // The edge itself, with up to 255 leaves, is not copied.
        var growth = self.edge.tree.growth
        for leaf in leaves {
            try EntryBundle.check(leaf)
            growth.append(.leaf(leaf))
        }
        return Batch(
            checkpoint: try Checkpoint(
                origin: self.origin, size: growth.frontier.size, root: growth.frontier.root),
            firstIndex: self.size, leaves: leaves, growth: growth)
    }

    /// Takes over a batch whose writes have all succeeded.
    ///
    /// - Throws: ``TransparencyError`` `inconsistentLedger` when it was prepared on another state; it must not be
    ///   acknowledged then.
    package mutating func commit(
        _ batch: Batch, signed note: SignedNote
    ) throws(TransparencyError) {
        guard batch.firstIndex == self.size, note.text == batch.checkpoint.text else {
            throw TransparencyError(
                .inconsistentLedger,
                "a batch for \(batch.firstIndex) leaves, where there are \(self.size)")
        }
        try self.edge.append(batch.leaves, growing: batch.growth)
        self.takeFinished()
        self.committed = note
        self.journalBytes += note.bytes.count + batch.leaves.reduce(0) { $0 + $1.count + 2 } + 44
    }

    /// Replaces the note of the last checkpoint by one that has cosignatures too; the next publication has it.
    ///
    /// - Throws: ``TransparencyError`` `inconsistentLedger` when it is another checkpoint.
    package mutating func cosigned(_ note: SignedNote) throws(TransparencyError) {
        guard note.text == self.committed.text else {
            throw TransparencyError(
                .inconsistentLedger, "cosignatures over a checkpoint that is not the last one")
        }
        self.committed = note
        self.publishedSize = nil
    }

    /// What is to be written so that others can read all acknowledged leaves; nil when they can.
    package func publication() -> Publication? {
        guard self.publishedSize != self.size else { return nil }
        var writes = self.finished
        writes += self.edge.partialWrites
        writes.append(.file(path: "checkpoint", bytes: self.committed.bytes))
        // A partial tile that the journal begins with is the one durable place of its leaves, and partial tiles above
        // the lowest row outlive many journals: their full tiles must be durable before they go.
        let isLasting = self.finished.contains { write in
            guard case .file(let path, _) = write else { return false }
            return !path.hasPrefix("tile/entries/") && !path.hasPrefix("tile/0/")
        }
        if !self.finished.isEmpty, isLasting || !self.isBasePublished { writes.append(.sync) }
        for case .file(let path, _) in self.finished {
            // The full tile is there, so its partial ones have done their duty.
            writes.append(.removeFolder(path: path + ".p"))
        }
        return Publication(writes: writes, size: self.size, finishedCount: self.finished.count)
    }

    /// Notes that all writes of a publication have succeeded. After a failure the same can be tried again.
    package mutating func published(_ publication: Publication) {
        self.publishedSize = publication.size
        if publication.finishedCount > 0 { self.isBasePublished = true }
        self.finished.removeFirst(min(publication.finishedCount, self.finished.count))
    }

    /// Begins a new journal, so that it does not grow for ever; nil unless everything is published.
    ///
    /// - Throws: ``TransparencyError`` `tooLarge`.
    package func journalStart() throws(TransparencyError) -> [LedgerWrite]? {
        guard self.publishedSize == self.size else { return nil }
        // The tiles must be durable before the leaves that they stand for leave the journal.
        return [
            .sync, .startJournal(try JournalRecord(note: self.committed, leaves: []).encode()),
        ]
    }

    /// Notes that all writes of ``journalStart()`` have succeeded.
    package mutating func journalStarted() {
        self.journalBytes = 0
        self.isBasePublished = false
    }

    /// The checkpoint of a ledger without leaves, to be signed for ``create(signed:key:)``.
    package static func firstCheckpoint(
        origin: ExactText
    ) throws(TransparencyError) -> Checkpoint {
        try Checkpoint(origin: origin, size: 0, root: .emptyTree)
    }

    /// A new ledger, in a folder where none is.
    ///
    /// - Returns: The writer, and what is to be written before it is used.
    /// - Throws: ``TransparencyError`` when the note is not the first checkpoint, signed by the key.
    package static func create(
        signed note: SignedNote, key: VerifierKey
    ) throws(TransparencyError) -> (LedgerWriter, [LedgerWrite]) {
        let signed = try SignedCheckpoint(note, signedBy: key)
        guard signed.checkpoint.size == 0, signed.checkpoint.root == .emptyTree else {
            throw TransparencyError(.malformedCheckpoint, "a new ledger begins without leaves")
        }
        let writer = LedgerWriter(
            origin: signed.checkpoint.origin, committed: note, edge: Edge())
        return (writer, [.startJournal(try JournalRecord(note: note, leaves: []).encode())])
    }
}

/// The right edge of the log: the tree and the entries of the last bundle.
struct Edge: Sendable {
    fileprivate(set) var tree = TiledTree()
    private var bundle: [UInt8] = []
    private var finished: [LedgerWrite] = []

    init() {}

    init(tree: TiledTree, bundle: [UInt8]) {
        self.tree = tree
        self.bundle = bundle
    }

    mutating func append(_ leaf: [UInt8]) throws(TransparencyError) {
        try EntryBundle.append(leaf, to: &self.bundle)
        self.tree.append(.leaf(leaf))
        guard self.tree.size & 255 == 0 else { return }
        let tile = Tile(.entries, index: self.tree.size >> 8 - 1)
        self.finished.append(.file(path: tile.path, bytes: self.bundle))
        self.bundle = []
        for tile in self.tree.takeFinished() {
            self.finished.append(.file(path: tile.tile.path, bytes: tile.bytes))
        }
    }

    /// Takes over leaves whose hashes are in `growth`.
    mutating func append(
        _ leaves: [[UInt8]], growing growth: TiledTree.Growth
    ) throws(TransparencyError) {
        var size = self.tree.size
        self.tree.grow(growth)
        for leaf in leaves {
            try EntryBundle.append(leaf, to: &self.bundle)
            size += 1
            guard size & 255 == 0 else { continue }
            let tile = Tile(.entries, index: size >> 8 - 1)
            self.finished.append(.file(path: tile.path, bytes: self.bundle))
            self.bundle = []
        }
        for tile in self.tree.takeFinished() {
            self.finished.append(.file(path: tile.tile.path, bytes: tile.bytes))
        }
    }

    mutating func takeFinished() -> [LedgerWrite] {
        defer { self.finished = [] }
        return self.finished
    }

    /// The partial bundle and tiles, as files.
    var partialWrites: [LedgerWrite] {
        var writes: [LedgerWrite] = []
        if let tile = Tile(.entries, index: self.tree.size >> 8, size: self.tree.size) {
            writes.append(.file(path: tile.path, bytes: self.bundle))
        }
        for tile in self.tree.partialTiles {
            writes.append(.file(path: tile.tile.path, bytes: tile.bytes))
        }
        return writes
    }
}
