import Crypto
import Testing
import Transparency

@Suite("Writing a ledger")
struct LedgerWriterTests {
    @Test(
        "the files of a log are those that Python makes",
        arguments: [0, 1, 255, 256, 257, 600, 65_536, 70_000] as [UInt64])
    func files(size: UInt64) throws {
        let vectors = try Vectors.load()
        var ledger = try Ledger(vectors.log())
        // In batches of odd sizes, published now and then.
        var batch: UInt64 = 1
        while ledger.writer.size < size {
            try ledger.append(numbered: min(batch, size - ledger.writer.size))
            batch = batch * 3 % 1009 + 1
            if batch % 4 == 0 { try ledger.publish() }
        }
        try ledger.publish()
        var lines = ""
        // What was partial once may stay; only what belongs to this size counts.
        for path in ledger.disk.files.keys.sorted() where path != "checkpoint" {
            let tile = try Tile(path: path)
            guard Tile(tile.kind, index: tile.index, size: size) == tile else { continue }
            let digest = SHA256.hash(data: ledger.disk.files[path] ?? [])
            lines += "\(path) \(Hex.encode(digest))\n"
        }
        #expect(Hex.encode(SHA256.hash(data: Array(lines.utf8))) == vectors.logs[String(size)])
    }

    @Test("partial tiles are gone when the full one is there")
    func partialTiles() throws {
        var ledger = try Ledger(Vectors.load().log())
        for _ in 0..<30 {
            try ledger.append(numbered: 10)
            try ledger.publish()
        }
        let partial = ledger.disk.files.keys.filter { $0.contains(".p/") }
        #expect(
            !partial.contains {
                $0.hasPrefix("tile/0/000.p/") || $0.hasPrefix("tile/entries/000.p/")
            })
        #expect(partial.contains("tile/0/001.p/44") && partial.contains("tile/1/000.p/1"))
    }

    @Test(
        "a crash at any write loses nothing acknowledged and never shows two histories",
        arguments: Disk.Failure.allCases)
    func crashes(how: Disk.Failure) async throws {
        let signer = try Vectors.load().log()
        // Ends when the run has fewer writes than the one that is to fail.
        var at = 2
        while true {
            var ledger = try Ledger(signer, disk: Disk(failingAt: at, how))
            var failures = 0
            func survive(_ step: (inout Ledger) throws -> Void) throws {
                do {
                    try step(&ledger)
                } catch is Disk.Broken {
                    failures += 1
                    try ledger.recover()
                }
            }
            for (round, count) in ([1, 3, 250, 2, 1, 255, 5] as [UInt64]).enumerated() {
                try survive {
                    try $0.append((0..<count).map { numberedLeaf(UInt64(round) * 1000 + $0) })
                    if round % 2 == 1 { try $0.publish() }
                    if round % 4 == 3 { try $0.rotate() }
                }
            }
            try survive { try $0.publish() }
            let leaves = try await ledger.leaves()
            // Everything acknowledged is there, in order; a batch that failed may be there too.
            var rest = leaves[...]
            for leaf in ledger.acknowledged {
                guard let place = rest.firstIndex(of: leaf) else {
                    Issue.record("write \(at): an acknowledged leaf is missing")
                    return
                }
                rest = rest[(place + 1)...]
            }
            #expect(Set(leaves).count == leaves.count)
            // And once more from the disk alone.
            let before = ledger.writer.root
            try survive { try $0.recover() }
            #expect(ledger.writer.root == before)
            if failures == 0 { break }
            at += 1
        }
        #expect(at > 35, "only \(at) writes")
    }

    @Test("a failing recovery can be tried again")
    func crashInRecovery() async throws {
        let signer = try Vectors.load().log()
        var at = 1
        while true {
            var ledger = try Ledger(signer)
            try ledger.append(numbered: 300)
            try ledger.publish()
            try ledger.append(numbered: 300)
            // The tiles of the second half are only in the journal.
            var disk = Disk(failingAt: at, .stored)
            disk.files = ledger.disk.files
            disk.journal = ledger.disk.journal
            ledger.disk = disk
            let isDone: Bool
            do {
                try ledger.recover()
                isDone = true
            } catch is Disk.Broken {
                isDone = false
                try ledger.recover()
            }
            #expect(try await ledger.leaves() == (0..<600).map(numberedLeaf))
            if isDone { break }
            at += 1
        }
        #expect(at > 5)
    }

    @Test("a journal that was cut, edited or exchanged is noticed")
    func journals() throws {
        let vectors = try Vectors.load()
        var ledger = try Ledger(vectors.log())
        try ledger.append(numbered: 10)
        let early = ledger.disk
        try ledger.append(numbered: 300)
        try ledger.publish()
        let journal = try #require(ledger.disk.journal)
        let files = ledger.disk.files
        let key = try vectors.log().key

        func recovery(_ journal: [UInt8]?, _ files: [String: [UInt8]]) -> TransparencyError.Code? {
            refusal { _ = try LedgerWriter.recover(key: key, journal: journal) { files[$0] } }
        }
        #expect(recovery(journal, files) == nil)
        // Zeros that were written ahead are nothing.
        let zeros = [UInt8](repeating: 0, count: 5_000)
        #expect(recovery(journal + zeros, files) == nil)
        #expect(try JournalRecord.parse(journal + zeros).length == journal.count)
        // Older than what others have seen.
        #expect(recovery(early.journal, files) == .inconsistentLedger)
        #expect(recovery(nil, files) == .inconsistentLedger)
        #expect(recovery([], files) == .inconsistentLedger)
        #expect(try LedgerWriter.recover(key: key, journal: nil) { _ in nil } == nil)
        // Cut at any byte: the last record or everything is gone, and others have seen it.
        for count in stride(from: 0, to: journal.count, by: 13) {
            #expect(recovery(Array(journal.prefix(count)), files) == .inconsistentLedger)
        }
        // A changed byte before the last record.
        for index in 0..<(early.journal?.count ?? 0) {
            var changed = journal
            changed[index] ^= 0x40
            #expect(recovery(changed, files) == .malformedJournal, "byte \(index)")
        }
        // Another server's.
        let other = try VerifierKey(parsing: vectors.otherKey)
        #expect(
            refusal { _ = try LedgerWriter.recover(key: other, journal: journal) { files[$0] } }
                == .notSigned)
        #expect(
            refusal { _ = try LedgerWriter.recover(key: other, journal: journal) { _ in nil } }
                == .notSigned)
    }

    @Test("tiles that a journal begins with must be there and be right")
    func tiles() throws {
        let vectors = try Vectors.load()
        var ledger = try Ledger(vectors.log())
        try ledger.append(numbered: 300)
        try ledger.publish()
        try ledger.rotate()
        try ledger.append(numbered: 1)
        let key = try vectors.log().key
        let disk = ledger.disk
        func recovery(_ files: [String: [UInt8]]) -> TransparencyError.Code? {
            refusal { _ = try LedgerWriter.recover(key: key, journal: disk.journal) { files[$0] } }
        }
        #expect(recovery(disk.files) == nil)
        for path in ["tile/0/001.p/44", "tile/1/000.p/1", "tile/entries/001.p/44"] {
            var files = disk.files
            files[path]?[5] ^= 1
            #expect(recovery(files) == .inconsistentLedger, "\(path)")
            files[path] = nil
            #expect(recovery(files) == .inconsistentLedger, "\(path)")
            files[path] = []
            #expect(recovery(files) == .malformedTile, "\(path)")
        }
        // The published checkpoint may be missing or old: what the journal has is more.
        var files = disk.files
        files["checkpoint"] = nil
        #expect(recovery(files) == nil)
        files["checkpoint"] = Array("rubbish".utf8)
        #expect(recovery(files) == .malformedNote)
    }

    @Test("a batch is checked before it is written, and taken over once")
    func batches() throws {
        let signer = try Vectors.load().log()
        var ledger = try Ledger(signer)
        #expect(refusal { _ = try ledger.writer.prepare([]) } == .malformedLeaf)
        let long = [UInt8](repeating: 0, count: 65_536)
        #expect(refusal { _ = try ledger.writer.prepare([[1], long]) } == .tooLarge)
        #expect(ledger.writer.size == 0)
        var writer = ledger.writer
        let batch = try writer.prepare([[1]])
        let note = try SignedCheckpoint(batch.checkpoint, signer: signer).note
        let wrong = ledger.writer.committed
        #expect(refusal { _ = try batch.writes(signed: wrong) } == .malformedCheckpoint)
        try writer.commit(batch, signed: note)
        #expect(refusal { try writer.commit(batch, signed: note) } == .inconsistentLedger)
        #expect(writer.size == 1 && batch.firstIndex == 0)
        #expect(refusal { try writer.cosigned(wrong) } == .inconsistentLedger)
        try ledger.publish()
        #expect(ledger.writer.publication() == nil)
    }

    @Test("a journal's bytes may be anything")
    func hostileJournals() throws {
        let signer = try Vectors.load().log()
        let first = try LedgerWriter.firstCheckpoint(origin: signer.key.name.text)
        let note = try SignedCheckpoint(first, signer: signer).note
        let record = try JournalRecord(note: note, leaves: [[1, 2], []]).encode()
        #expect(
            try JournalRecord.parse(record).records == [
                JournalRecord(note: note, leaves: [[1, 2], []])
            ])
        #expect(try JournalRecord.parse([]).length == 0)
        let magic = Array("CLJ1".utf8)
        for length in [
            [0, 0, 0, 0], [0, 0, 0, 3], [0x7F, 0xFF, 0xFF, 0xFF], [0xFF, 0xFF, 0xFF, 0xFF],
        ] as [[UInt8]] {
            let bytes = magic + length + [UInt8](repeating: 0, count: 64)
            #expect(try JournalRecord.parse(bytes).records.isEmpty)
            #expect(refusal { _ = try JournalRecord.parse(bytes + record) } == .malformedJournal)
            #expect(try JournalRecord.parse(record + bytes).length == record.count)
        }
    }
}
