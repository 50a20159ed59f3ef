import Transparency

/// A disk in memory on which the n-th write goes wrong.
struct Disk: TileReader {
    /// How a write goes wrong.
    enum Failure: CaseIterable, Sendable {
        /// Nothing was written.
        case failed
        /// Everything was written, and the answer was an error.
        case stored
        /// Half of it was written; only an append can end so.
        case torn
        /// The second half was written, where zeros had been before; only an append can end so.
        case patchy
    }
    struct Broken: Error {}

    var files: [String: [UInt8]] = [:]
    var journal: [UInt8]?
    /// Every checkpoint that others could have read.
    private(set) var shown: [[UInt8]] = []
    private(set) var writes = 0
    private var failing: (at: Int, how: Failure)?

    init() {}

    init(failingAt write: Int, _ how: Failure) { self.failing = (write, how) }

    mutating func perform(_ steps: [LedgerWrite]) throws {
        for step in steps { try self.perform(step) }
    }

    private mutating func perform(_ step: LedgerWrite) throws {
        self.writes += 1
        guard let failing, failing.at == self.writes else { return self.store(step) }
        switch (failing.how, step) {
        case (.stored, _): self.store(step)
        case (.torn, .appendToJournal(let bytes)):
            self.journal = (self.journal ?? []) + bytes.prefix(bytes.count / 2)
        case (.patchy, .appendToJournal(let bytes)):
            let half = bytes.count / 2
            self.journal =
                (self.journal ?? []) + [UInt8](repeating: 0, count: half) + bytes.dropFirst(half)
        default: break
        }
        throw Broken()
    }

    private mutating func store(_ step: LedgerWrite) {
        switch step {
        case .startJournal(let bytes): self.journal = bytes
        case .appendToJournal(let bytes): self.journal = (self.journal ?? []) + bytes
        case .file(let path, let bytes):
            self.files[path] = bytes
            if path == "checkpoint" { self.shown.append(bytes) }
        case .sync: break
        case .removeFolder(let path):
            for name in self.files.keys where name.hasPrefix(path + "/") { self.files[name] = nil }
        }
    }

    func read(_ path: String, limit: Int) async throws -> [UInt8]? { self.files[path] }
}

/// A ledger on such a disk, as a server would run it.
struct Ledger {
    let signer: NoteSigner
    var disk: Disk
    private(set) var writer: LedgerWriter
    private(set) var acknowledged: [[UInt8]] = []

    init(_ signer: NoteSigner, disk: Disk = Disk()) throws {
        self.signer = signer
        self.disk = disk
        let first = try LedgerWriter.firstCheckpoint(origin: signer.key.name.text)
        let note = try SignedCheckpoint(first, signer: signer).note
        let steps: [LedgerWrite]
        (self.writer, steps) = try LedgerWriter.create(signed: note, key: signer.key)
        try self.disk.perform(steps)
    }

    mutating func append(_ leaves: [[UInt8]]) throws {
        let batch = try self.writer.prepare(leaves)
        let note = try SignedCheckpoint(batch.checkpoint, signer: self.signer).note
        try self.disk.perform(batch.writes(signed: note))
        try self.writer.commit(batch, signed: note)
        self.acknowledged += leaves
    }

    mutating func publish() throws {
        guard let publication = self.writer.publication() else { return }
        try self.disk.perform(publication.writes)
        self.writer.published(publication)
    }

    mutating func rotate() throws {
        guard let steps = try self.writer.journalStart() else { return }
        try self.disk.perform(steps)
        self.writer.journalStarted()
    }

    /// What a server does when it starts, or when a write has failed.
    mutating func recover() throws {
        let disk = self.disk
        guard
            let writer = try LedgerWriter.recover(
                key: self.signer.key, journal: disk.journal, read: { disk.files[$0] })
        else { throw Disk.Broken() }
        self.writer = writer
        try self.publish()
        try self.rotate()
    }

    /// Numbered leaves.
    mutating func append(numbered count: UInt64) throws {
        let first = self.writer.size
        try self.append((first..<first + count).map(numberedLeaf))
    }

    /// All leaves that a reader gets.
    func leaves() async throws -> [[UInt8]] {
        var leaves: [[UInt8]] = []
        let old = try self.disk.shown.map {
            try SignedCheckpoint(parsing: $0, signedBy: self.signer.key).checkpoint
        }
        let verifier = LogVerifier(
            self.disk, verifier: try ProofVerifier(key: self.signer.key), against: old)
        _ = try await verifier.verify { _, leaf in leaves.append(Array(leaf)) }
        return leaves
    }
}
