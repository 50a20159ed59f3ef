import ServerCore
import Transparency

/// A ledger between memory and disk, without threads and waiting: who has it does one thing at a time.
///
/// After a write that failed nothing is written before the state was read from disk again.
struct LedgerJournal: Sendable {
    /// How many bytes of a file other than the journal are read.
    private static let maximumFile = 32 << 20
    /// How long a journal may be that is read. It is begun anew at far less.
    private static let maximumJournal = 1 << 32

    private let storage: any LedgerStorage
    private let signer: NoteSigner
    private(set) var writer: LedgerWriter
    /// Whether a write failed, so that what is on disk is not known.
    private(set) var isInDoubt = false

    /// Reads the ledger from disk, or creates it where none is.
    ///
    /// - Throws: ``ServerError`` `failedPrecondition` for the ledger of another key and for one that does not hold
    ///   together; ``LedgerStorageError``.
    init(_ storage: any LedgerStorage, signer: NoteSigner) throws {
        self.storage = storage
        self.signer = signer
        if let writer = try Self.read(storage, signer.key) {
            self.writer = writer
        } else {
            guard try !storage.contains(LedgerPath.tiles) else {
                throw TransparencyError(
                    .inconsistentLedger,
                    "there are tiles, and neither a journal nor a checkpoint; restore them from a copy, or move "
                        + "the folder away")
            }
            let first = try LedgerWriter.firstCheckpoint(origin: signer.key.name.text)
            let steps: [LedgerWrite]
            (self.writer, steps) = try LedgerWriter.create(
                signed: SignedCheckpoint(first, signer: signer).note, key: signer.key)
            try storage.perform(steps)
        }
        try self.settle()
    }

    /// How many leaves are acknowledged.
    var size: UInt64 { self.writer.size }

    /// Makes leaves durable behind all others, with the checkpoint that they lead to.
    ///
    /// - Throws: What went wrong. When that was a write, ``isInDoubt`` is true: then ``recover()`` comes first.
    mutating func append(_ leaves: [[UInt8]]) throws {
        guard !self.isInDoubt else {
            throw LedgerStorageError("an earlier write failed; what is on disk is not known")
        }
        let batch = try self.writer.prepare(leaves)
        let note = try SignedCheckpoint(batch.checkpoint, signer: self.signer).note
        let steps = try batch.writes(signed: note)
        try self.write(steps)
        try self.writer.commit(batch, signed: note)
    }

    /// Reads the state from disk, repairs what others can read, and begins a new journal. May be tried again.
    mutating func recover() throws {
        self.isInDoubt = true
        guard let writer = try Self.read(self.storage, self.signer.key) else {
            throw TransparencyError(
                .inconsistentLedger, "journal and checkpoint are gone; restore them from a copy")
        }
        self.writer = writer
        try self.settle()
        self.isInDoubt = false
    }

    /// What is to be written so that others can read everything; nil when they can.
    var publication: LedgerWriter.Publication? { self.writer.publication() }

    /// Notes that a publication was written.
    mutating func published(_ publication: LedgerWriter.Publication) {
        self.writer.published(publication)
    }

    /// Keeps the cosignatures over the last checkpoint; over an older one they are of no use here.
    mutating func cosigned(_ note: SignedNote) throws {
        guard note.text == self.writer.committed.text else { return }
        try self.writer.cosigned(note)
    }

    /// Notes that somebody else's write failed.
    mutating func doubt() { self.isInDoubt = true }

    /// Publishes what is not yet, makes it durable and begins a new journal.
    mutating func startJournal() throws {
        guard !self.isInDoubt else { return }
        do {
            try self.settle()
        } catch {
            self.isInDoubt = true
            throw error
        }
    }

    private mutating func settle() throws {
        if let publication = self.writer.publication() {
            try self.storage.perform(publication.writes)
            self.writer.published(publication)
        }
        if let steps = try self.writer.journalStart() {
            try self.storage.perform(steps)
            self.writer.journalStarted()
        }
    }

    private mutating func write(_ steps: [LedgerWrite]) throws {
        do {
            try self.storage.perform(steps)
        } catch {
            self.isInDoubt = true
            throw error
        }
    }

    private static func read(
        _ storage: any LedgerStorage, _ key: VerifierKey
    ) throws -> LedgerWriter? {
        let journal = try storage.read(LedgerPath.journal, limit: self.maximumJournal)
        var writer = try LedgerWriter.recover(key: key, journal: journal) { path in
            try storage.read(path, limit: self.maximumFile)
        }
        // What was read may be in memory only, after a sync that failed: nothing is published before it is durable.
        if let journal, writer != nil {
            let length = try JournalRecord.parse(journal).length
            try storage.replace(
                LedgerPath.journal, with: Array(journal.prefix(length)), isDurable: true)
        }
        // The journal has checkpoints as they were signed; cosignatures came later.
        if let bytes = try storage.read(LedgerPath.checkpoint, limit: self.maximumFile),
            let published = try? SignedNote(parsing: bytes), let committed = writer?.committed,
            published.text == committed.text,
            published.signatures.count > committed.signatures.count
        {
            try writer?.cosigned(published)
        }
        return writer
    }
}
