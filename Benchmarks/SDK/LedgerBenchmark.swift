import Crypto
import Foundation
import SPIFFE
import ServerStore
import Transparency

/// A server's ledger: leaves made durable on the disk with the temporary folder, and proofs from a log of ten million leaves.
enum LedgerBenchmark {
    /// How many leaves the large log has; 0.5 GB on the disk for as long as it takes.
    private static let largeSize: UInt64 = 10_000_000
    /// Leaves are put into the large log in pieces of whole tiles.
    private static let piece = 1 << 16
    /// Of the large log's bundles every so many have leaves as long as those of SVIDs are; the others have short ones, or
    /// it would take 4 GB. Proofs are of the long ones.
    private static let longBundles: UInt64 = 100

    static func run() async throws -> [Figure] {
        let folder = FileManager.default.temporaryDirectory.appendingPathComponent(
            "cygnet-bench-\(UUID().uuidString)", isDirectory: true)
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: folder) }
        let appended = try await self.appending(in: folder.appendingPathComponent("ledger").path)
        return appended + [try await self.proving(in: folder.appendingPathComponent("large").path)]
    }

    // MARK: Appending

    /// What came of callers that each append one leaf after the other.
    private struct Load {
        var leaves: Int
        var seconds: Double
        /// CPU time of the process.
        var cpuSeconds: Double
        /// How long each caller waited for each leaf, in milliseconds, ordered.
        var waits: [Double]

        /// Microseconds.
        var cpuPerLeaf: Double { self.cpuSeconds / Double(self.leaves) * 1e6 }

        func percentile(_ share: Double) -> Double {
            self.waits[Int(share * Double(self.waits.count - 1))]
        }
    }

    private static func appending(in folder: String) async throws -> [Figure] {
        let ledger = try LedgerFile(folder: folder, signer: try self.signer())
        let events = try (0..<1024).map { try self.issued($0) }
        _ = try await self.load(ledger, events, callers: 16, leaves: 2_000)
        let few = try await self.load(ledger, events, callers: 16, leaves: 32_000)
        let many = try await self.load(ledger, events, callers: 64, leaves: 128_000)
        let batches = try await self.load(ledger, events, callers: 1, batch: 100, leaves: 64_000)
        try await ledger.publish()
        guard ledger.publishedSize == 226_000 else {
            throw BenchmarkError(description: "\(ledger.publishedSize) leaves are published")
        }
        let wait = few.percentile(0.99)
        return [
            Figure(
                benchmark: "ledger", label: "leaves made durable, 64 callers",
                value: Double(many.leaves) / many.seconds, unit: "/s", must: 12_000, isMore: true,
                note: "64 callers with one leaf each at a time wait "
                    + "\(hundredths(many.percentile(0.5))) ms, p99 \(hundredths(many.percentile(0.99))) ms, and "
                    + "take \(hundredths(many.cpuPerLeaf)) µs of CPU; tiles are published meanwhile"
            ),
            Figure(
                benchmark: "ledger", label: "wait for a leaf, 16 callers, p99", value: wait,
                unit: "ms", must: 6,
                note: "16 callers wait \(hundredths(few.percentile(0.5))) ms, "
                    + "\(Int(Double(few.leaves) / few.seconds)) leaves/s"),
            Figure(
                benchmark: "ledger", label: "CPU a leaf, 16 callers",
                value: few.cpuPerLeaf, unit: "µs",
                note: "CPU time of 16 callers with encoding, signing, writing and publishing"),
            Figure(
                benchmark: "ledger", label: "CPU a leaf, batches of 100",
                value: batches.cpuPerLeaf, unit: "µs",
                note: "and of one caller with batches of 100"),
        ]
    }

    private static func load(
        _ ledger: LedgerFile, _ events: [LeafEvent], callers: Int, batch: Int = 1, leaves: Int
    ) async throws -> Load {
        let cpu = self.cpuSeconds()
        let begun = ContinuousClock.now
        let waits = try await withThrowingTaskGroup(of: [Double].self) { group in
            for caller in 0..<callers {
                group.addTask {
                    var waits: [Double] = []
                    for number in 0..<leaves / callers / batch {
                        let first = (number * callers + caller) * batch
                        let some = (first..<first + batch).map { events[$0 % events.count] }
                        let asked = ContinuousClock.now
                        try await ledger.append(some)
                        waits.append(self.milliseconds(since: asked))
                    }
                    return waits
                }
            }
            var waits: [Double] = []
            for try await some in group { waits += some }
            return waits
        }
        return Load(
            leaves: waits.count * batch, seconds: self.milliseconds(since: begun) / 1e3,
            cpuSeconds: self.cpuSeconds() - cpu, waits: waits.sorted())
    }

    /// A leaf as long as those of workloads' SVIDs are.
    private static func issued(_ number: Int) throws -> LeafEvent {
        let digest = Array(SHA256.hash(data: Array("\(number)".utf8)))
        return .svidIssued(
            SVIDIssuedLeaf(
                svidType: .x509,
                spiffeID: try SPIFFEID("spiffe://example.org/ns/production/sa/orders-\(number)"),
                serial: String(repeating: "5a", count: 16), svidDigest: digest,
                keyThumbprint: digest, notAfter: LeafTime(seconds: 2_000_000_000),
                authorityID: String(repeating: "a1", count: 20),
                entryID: "7c9e6679-7425-40de-944b-e07fc1f90ae7", entryRevision: 3,
                node: try SPIFFEID("spiffe://example.org/spire/agent/join_token/1"),
                caller: "spiffe://example.org/spire/agent/join_token/1", selectorsDigest: digest))
    }

    // MARK: Proving

    private static func proving(in folder: String) async throws -> Figure {
        let begun = ContinuousClock.now
        let checkpoint = try self.writeLarge(in: folder)
        let seconds = self.milliseconds(since: begun) / 1e3
        let builder = ProofBuilder(FolderReader(folder: folder), checkpoint: checkpoint)
        let bundles = self.largeSize / 256 / self.longBundles
        var times: [Double] = []
        for number in 0..<UInt64(1_100) {
            let bundle = UInt64.random(in: 0..<bundles) * self.longBundles
            let index = bundle << 8 | UInt64.random(in: 0..<256)
            let asked = ContinuousClock.now
            let proof = try await builder.proof(ofLeaf: index)
            // The first ones warm up.
            if number >= 100 { times.append(self.milliseconds(since: asked)) }
            guard proof.extra?.count == self.leaf(index).count, proof.path.count >= 20 else {
                throw BenchmarkError(description: "leaf \(index) is not proved")
            }
        }
        times.sort()
        return Figure(
            benchmark: "ledger", label: "proof from 10 million leaves, p99",
            value: times[times.count * 99 / 100], unit: "ms", must: 10,
            note:
                "\(times.count) proofs at random places, p50 \(hundredths(times[times.count / 2])) ms: "
                + "tiles read from the page cache, the proof verified; the log was made in \(Int(seconds)) s"
        )
    }

    /// A log as `LedgerWriter` makes it, without its journal: nobody appends to it.
    private static func writeLarge(in folder: String) throws -> SignedCheckpoint {
        let signer = try self.signer()
        let first = try SignedCheckpoint(
            LedgerWriter.firstCheckpoint(origin: signer.key.name.text), signer: signer)
        var (writer, _) = try LedgerWriter.create(signed: first.note, key: signer.key)
        var folders: Set<String> = []
        while writer.size < self.largeSize {
            let start = writer.size
            let end = min(start + UInt64(self.piece), self.largeSize)
            let batch = try writer.prepare((start..<end).map(self.leaf))
            try writer.commit(
                batch, signed: try SignedCheckpoint(batch.checkpoint, signer: signer).note)
            guard let publication = writer.publication() else { break }
            for case .file(let path, let bytes) in publication.writes {
                // Those of the last piece are all that is needed of what is not full.
                if path.contains(".p/"), end < self.largeSize { continue }
                let place = URL(fileURLWithPath: folder + "/" + path)
                let parent = place.deletingLastPathComponent()
                if folders.insert(parent.path).inserted {
                    try FileManager.default.createDirectory(
                        at: parent, withIntermediateDirectories: true)
                }
                try Data(bytes).write(to: place)
            }
            writer.published(publication)
        }
        return try SignedCheckpoint(writer.committed, signedBy: signer.key)
    }

    /// A leaf of the large log.
    private static func leaf(_ index: UInt64) -> [UInt8] {
        var leaf = withUnsafeBytes(of: index.bigEndian) { [UInt8]($0) }
        if (index >> 8).isMultiple(of: self.longBundles) {
            leaf += [UInt8](repeating: 0x20, count: 600)
        }
        return leaf
    }

    private struct FolderReader: TileReader {
        let folder: String

        func read(_ path: String, limit: Int) async throws -> [UInt8]? {
            let place = URL(fileURLWithPath: self.folder + "/" + path)
            guard FileManager.default.fileExists(atPath: place.path) else { return nil }
            return Array(try Data(contentsOf: place))
        }
    }

    // MARK: Parts

    private static func signer() throws -> NoteSigner {
        try NoteSigner(
            name: try NoteKeyName("example.org/ledger"), algorithm: .ed25519,
            seed: [UInt8](repeating: 7, count: 32))
    }

    private static func milliseconds(since begun: ContinuousClock.Instant) -> Double {
        let (seconds, fraction) = (ContinuousClock.now - begun).components
        return Double(seconds) * 1e3 + Double(fraction) / 1e15
    }

    /// CPU time of the process; POSIX has a million of clock's units in a second.
    private static func cpuSeconds() -> Double { Double(clock()) / 1e6 }
}

/// With two digits.
private func hundredths(_ value: Double) -> String { "\((value * 100).rounded() / 100)" }
