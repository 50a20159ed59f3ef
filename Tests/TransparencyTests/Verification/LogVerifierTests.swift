import Testing
import Transparency

@Suite("Checking a whole log")
struct LogVerifierTests {
    /// A log of 600 numbered leaves, and the checkpoints at 100 and 400.
    private static func log() throws -> (Ledger, [Checkpoint]) {
        var ledger = try Ledger(Vectors.load().log())
        var old: [Checkpoint] = []
        for count in [100, 300, 200] as [UInt64] {
            try ledger.append(numbered: count)
            try ledger.publish()
            old.append(
                try SignedCheckpoint(ledger.writer.committed, signedBy: ledger.signer.key)
                    .checkpoint)
        }
        return (ledger, Array(old.dropLast()))
    }

    private static func fault(
        _ disk: Disk, against old: [Checkpoint] = [], key: VerifierKey? = nil
    ) async throws -> LogFault.Place? {
        let verifier = try ProofVerifier(key: key ?? Vectors.load().log().key)
        do {
            _ = try await LogVerifier(disk, verifier: verifier, against: old).verify()
            return nil
        } catch let fault as LogFault {
            return fault.place
        }
    }

    @Test("a log that holds is read to its end, and begins with its older checkpoints")
    func holds() async throws {
        let (ledger, old) = try Self.log()
        var next: UInt64 = 0
        let verifier = try ProofVerifier(key: ledger.signer.key)
        let report = try await LogVerifier(ledger.disk, verifier: verifier, against: old).verify {
            index, leaf in
            #expect(index == next && Array(leaf) == numberedLeaf(index))
            next += 1
        }
        #expect(next == 600 && report.signed.checkpoint.size == 600)
        #expect(report.oldSizes == [100, 400])
    }

    // MARK: What was added

    private static func frontier(_ count: UInt64) -> MerkleFrontier {
        var frontier = MerkleFrontier()
        for index in 0..<count { frontier.append(.leaf(numberedLeaf(index))) }
        return frontier
    }

    @Test(
        "of a log that was checked before only the rest is read",
        arguments: [0, 1, 255, 256, 257, 512, 599, 600] as [UInt64])
    func behind(count: UInt64) async throws {
        var (ledger, _) = try Self.log()
        let verifier = try ProofVerifier(key: ledger.signer.key)
        // What lies before is not even there.
        for index in 0..<count >> 8 {
            let tile = try #require(Tile(.entries, index: index, size: 600))
            ledger.disk.files[tile.path] = nil
        }
        var next = count
        let (report, frontier) = try await LogVerifier(ledger.disk, verifier: verifier).verify(
            behind: Self.frontier(count)
        ) { index, leaf in
            #expect(index == next && Array(leaf) == numberedLeaf(index))
            next += 1
        }
        #expect(next == 600 && report.signed.checkpoint.size == 600)
        #expect(frontier == Self.frontier(600))
    }

    @Test("what was checked before must be what the log begins with, and the rest what was signed")
    func notBehind() async throws {
        let (ledger, _) = try Self.log()
        let verifier = try ProofVerifier(key: ledger.signer.key)
        func place(_ disk: Disk, _ known: MerkleFrontier) async throws -> LogFault.Place? {
            do {
                _ = try await LogVerifier(disk, verifier: verifier).verify(behind: known)
                return nil
            } catch let fault as LogFault {
                return fault.place
            }
        }
        var other = MerkleFrontier()
        for index in 0..<400 as Range<UInt64> { other.append(.leaf(numberedLeaf(index + 1))) }
        #expect(try await place(ledger.disk, other) == .leaves(400..<600))
        #expect(try await place(ledger.disk, Self.frontier(601)) == .leaves(600..<601))
        var edited = ledger.disk
        let tile = try #require(Tile(.entries, index: 2, size: 600))
        let last = try #require(edited.files[tile.path]?.indices.last)
        edited.files[tile.path]?[last] ^= 1
        #expect(try await place(edited, Self.frontier(400)) == .leaves(400..<600))
        edited.files[tile.path] = nil
        #expect(try await place(edited, Self.frontier(400)) == .tile(tile.path))
        #expect(try await place(edited, Self.frontier(600)) == nil)
    }

    @Test(
        "an edited entry is named by its index",
        arguments: [0, 1, 255, 256, 511, 512, 599] as [UInt64])
    func entry(index: UInt64) async throws {
        var (ledger, old) = try Self.log()
        let tile = try #require(Tile(.entries, index: index >> 8, size: 600))
        let bundle = try #require(ledger.disk.files[tile.path])
        let entries = try EntryBundle.parse(bundle, count: tile.width)
        let place = entries[Int(index & 255)].startIndex
        // Each byte of the entry; its length is a matter of the whole bundle.
        for offset in 0..<6 {
            ledger.disk.files[tile.path] = bundle
            ledger.disk.files[tile.path]?[place + offset] ^= 0x80
            #expect(try await Self.fault(ledger.disk, against: old) == .leaf(index))
        }
        ledger.disk.files[tile.path] = bundle
        ledger.disk.files[tile.path]?[place - 1] ^= 0x01
        #expect(try await Self.fault(ledger.disk, against: old) == .tile(tile.path))
    }

    @Test("an edited tile is named by its path")
    func tile() async throws {
        let (ledger, old) = try Self.log()
        for path in ["tile/0/000", "tile/0/001", "tile/0/002.p/88", "tile/1/000.p/2"] {
            let bytes = try #require(ledger.disk.files[path])
            for place in [0, 31, 32, bytes.count - 1] {
                var disk = ledger.disk
                disk.files[path]?[place] ^= 1
                #expect(try await Self.fault(disk, against: old) == .tile(path), "\(path) \(place)")
            }
            for changed in [nil, [], Array(bytes.dropLast()), bytes + [0], bytes + bytes]
                as [[UInt8]?]
            {
                var disk = ledger.disk
                disk.files[path] = changed
                #expect(try await Self.fault(disk, against: old) == .tile(path), "\(path)")
            }
        }
        for path in ["tile/entries/000", "tile/entries/002.p/88"] {
            let bytes = try #require(ledger.disk.files[path])
            for changed in [nil, [], Array(bytes.dropLast()), bytes + [0], bytes + bytes]
                as [[UInt8]?]
            {
                var disk = ledger.disk
                disk.files[path] = changed
                #expect(try await Self.fault(disk, against: old) == .tile(path), "\(path)")
            }
        }
    }

    @Test(
        "entries exchanged, dropped or edited together with their tile are narrowed down to that tile"
    )
    func together() async throws {
        let (ledger, old) = try Self.log()
        for index in [0, 1] as [UInt64] {
            let entries = Tile(.entries, index: index)
            let hashes = Tile(.hashes(level: 0), index: index)
            let bundle = try #require(ledger.disk.files[entries.path])
            var leaves = try EntryBundle.parse(bundle, count: 256).map(Array.init)
            leaves.swapAt(3, 4)
            var disk = ledger.disk
            var changed: [UInt8] = []
            for leaf in leaves { try EntryBundle.append(leaf, to: &changed) }
            disk.files[entries.path] = changed
            disk.files[hashes.path] = leaves.flatMap { MerkleHash.leaf($0).bytes }
            let place = LogFault.Place.leaves(index * 256..<(index + 1) * 256)
            #expect(try await Self.fault(disk) == place)
            // The older checkpoint of 100 is closer to the first of them.
            #expect(
                try await Self.fault(disk, against: old)
                    == (index == 0 ? .leaves(0..<100) : .leaves(100..<400)))
        }
    }

    @Test("a log made anew with its own key is caught by an older checkpoint")
    func rewritten() async throws {
        let (ledger, old) = try Self.log()
        for index in [0, 99, 100, 399, 400, 599] as [UInt64] {
            var forged = try Ledger(ledger.signer)
            var leaves = (UInt64(0)..<600).map(numberedLeaf)
            leaves[Int(index)] = Array("forged".utf8)
            try forged.append(leaves)
            try forged.publish()
            #expect(try await Self.fault(forged.disk) == nil)
            let expected: LogFault.Place? =
                index < 100 ? .leaves(0..<100) : index < 400 ? .leaves(100..<400) : nil
            #expect(try await Self.fault(forged.disk, against: old) == expected, "\(index)")
        }
    }

    @Test("a tail that was cut off is named from its first leaf")
    func cut() async throws {
        let (_, old) = try Self.log()
        for size in [0, 1, 99, 256, 399] as [UInt64] {
            var short = try Ledger(Vectors.load().log())
            if size > 0 { try short.append(numbered: size) }
            try short.publish()
            #expect(try await Self.fault(short.disk) == nil)
            #expect(try await Self.fault(short.disk, against: old) == .leaves(size..<400))
        }
    }

    @Test("files made anew without the key do not lead to the checkpoint")
    func unsigned() async throws {
        let (ledger, old) = try Self.log()
        var forged = try Ledger(ledger.signer)
        var leaves = (UInt64(0)..<600).map(numberedLeaf)
        leaves[450] = Array("forged".utf8)
        try forged.append(leaves)
        try forged.publish()
        var disk = forged.disk
        disk.files["checkpoint"] = ledger.disk.files["checkpoint"]
        #expect(try await Self.fault(disk) == .leaves(0..<600))
        #expect(try await Self.fault(disk, against: old) == .leaves(400..<600))
    }

    @Test("every byte of the checkpoint counts; so do its absence and another key")
    func checkpoint() async throws {
        let (ledger, _) = try Self.log()
        let bytes = try #require(ledger.disk.files["checkpoint"])
        for index in bytes.indices {
            var disk = ledger.disk
            disk.files["checkpoint"]?[index] ^= 1
            #expect(try await Self.fault(disk) == .checkpoint, "byte \(index)")
        }
        var disk = ledger.disk
        disk.files["checkpoint"] = nil
        #expect(try await Self.fault(disk) == .checkpoint)
        let other = try VerifierKey(parsing: Vectors.load().otherKey)
        #expect(try await Self.fault(ledger.disk, key: other) == .checkpoint)
    }

    @Test("a claim of 2^63-1 leaves costs no more than the first file that is missing")
    func huge() async throws {
        let signer = try Vectors.load().log()
        let claim = try Checkpoint(
            origin: signer.key.name.text, size: Decimal.maximum, root: .emptyTree)
        var disk = Disk()
        disk.files["checkpoint"] = try SignedCheckpoint(claim, signer: signer).note.bytes
        #expect(try await Self.fault(disk) == .tile("tile/entries/000"))
    }

    @Test("where only the full tile is left, it serves for the partial one")
    func fullForPartial() async throws {
        let vectors = try Vectors.load()
        var ledger = try Ledger(vectors.log())
        try ledger.append(numbered: 300)
        try ledger.publish()
        let early = try #require(ledger.disk.files["checkpoint"])
        try ledger.append(numbered: 300)
        try ledger.publish()
        #expect(ledger.disk.files["tile/0/001.p/44"] == nil)
        // Level 1 had one hash at 300 leaves; that partial tile is still there.
        var disk = ledger.disk
        disk.files["checkpoint"] = early
        #expect(try await Self.fault(disk) == nil)
    }
}

@Suite("Building proofs from tiles")
struct ProofBuilderTests {
    @Test("proofs of leaves in logs of several sizes hold, and are those of the RFC's definition")
    func inclusion() async throws {
        let vectors = try Vectors.load()
        for size in [1, 2, 255, 256, 257, 513, 70_000] as [UInt64] {
            var ledger = try Ledger(vectors.log())
            try ledger.append(numbered: size)
            try ledger.publish()
            let signed = try SignedCheckpoint(ledger.writer.committed, signedBy: ledger.signer.key)
            let builder = ProofBuilder(ledger.disk, checkpoint: signed)
            let verifier = try ProofVerifier(key: ledger.signer.key)
            for index in Set([0, 1, size / 2, size - 1, min(size - 1, 255), min(size - 1, 65_535)])
            where index < size {
                let proof = try await builder.proof(ofLeaf: index)
                #expect(proof.extra == numberedLeaf(index))
                let again = try LogProof(parsing: proof.bytes)
                _ = try verifier.verify(again, leafHash: .leaf(numberedLeaf(index)))
                if let vector = vectors.inclusion.first(where: {
                    $0.size == size && $0.index == index
                }) {
                    #expect(proof.path.map(\.description) == vector.path)
                }
            }
            await #expect(throws: TransparencyError.self) { try await builder.proof(ofLeaf: size) }
            await #expect(throws: TransparencyError.self) { try await builder.proof(ofLeaf: .max) }
        }
    }

    @Test("consistency proofs hold, and a log that is not consistent gives none")
    func consistency() async throws {
        let vectors = try Vectors.load()
        var ledger = try Ledger(vectors.log())
        try ledger.append(numbered: 700)
        try ledger.publish()
        let signed = try SignedCheckpoint(ledger.writer.committed, signedBy: ledger.signer.key)
        let builder = ProofBuilder(ledger.disk, checkpoint: signed)
        var frontier = MerkleFrontier()
        for size in UInt64(0)...700 {
            if size % 50 == 0 || size < 4 {
                let old = try Checkpoint(origin: "log", size: size, root: frontier.root)
                let proof = try await builder.consistency(from: old)
                try proof.verify(oldRoot: old.root, newRoot: signed.checkpoint.root)
            }
            frontier.append(.leaf(numberedLeaf(size)))
        }
        let wrong = try Checkpoint(origin: "log", size: 300, root: .leaf([]))
        await #expect(throws: LogFault.self) { try await builder.consistency(from: wrong) }
        let later = try Checkpoint(origin: "log", size: 701, root: .leaf([]))
        await #expect(throws: TransparencyError.self) { try await builder.consistency(from: later) }
    }

    @Test("a damaged tile gives an error that names the leaf or the tile, never a proof")
    func damaged() async throws {
        let vectors = try Vectors.load()
        var ledger = try Ledger(vectors.log())
        try ledger.append(numbered: 600)
        try ledger.publish()
        let signed = try SignedCheckpoint(ledger.writer.committed, signedBy: ledger.signer.key)
        for path in ["tile/0/000", "tile/0/002.p/88", "tile/1/000.p/2", "tile/entries/000"] {
            var changed = try #require(ledger.disk.files[path])
            changed[0] ^= 1
            changed[changed.count - 1] ^= 1
            for bytes in [nil, [], changed] as [[UInt8]?] {
                var disk = ledger.disk
                disk.files[path] = bytes
                let builder = ProofBuilder(disk, checkpoint: signed)
                await #expect(throws: LogFault.self) { try await builder.proof(ofLeaf: 3) }
            }
        }
    }
}
