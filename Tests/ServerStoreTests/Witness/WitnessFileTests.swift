import Foundation
import Logging
import ServerCore
import ServerTestSupport
import Testing
import Transparency

@testable import ServerStore

@Suite("A witness in a folder")
struct WitnessFileTests {
    private static let silent = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }

    private static func witness(
        _ storage: any LedgerStorage, name: String = "witness.test", at time: Int64 = 1_000
    ) throws -> WitnessFile {
        try WitnessFile(
            folder: "witness", storage: storage, lock: nil, name: NoteKeyName(name),
            logs: [LedgerFixture.signer().key], logger: self.silent, now: TestClock(time).now)
    }

    /// A log of numbered leaves that can be forked.
    private struct Log {
        let leaves: [MerkleHash]

        init(_ count: Int, fork: UInt8 = 0) {
            self.leaves = (0..<count).map { .leaf([UInt8($0), $0 < 2 ? 0 : fork]) }
        }

        func note(_ size: Int) throws -> SignedNote {
            try SignedCheckpoint(
                Checkpoint(
                    origin: LedgerFixture.signer().key.name.text, size: UInt64(size),
                    root: .root(self.leaves.prefix(size))),
                signer: LedgerFixture.signer()
            ).note
        }

        func request(from old: Int, to size: Int) throws -> [UInt8] {
            let path = try ConsistencyProof.ranges(oldSize: UInt64(old), newSize: UInt64(size)).map
            {
                MerkleHash.root(self.leaves[Int($0.lowerBound)..<Int($0.upperBound)])
            }
            return AddCheckpointRequest(oldSize: UInt64(old), path: path, note: try self.note(size))
                .bytes
        }
    }

    @Test("it cosigns what continues, with its clock's time, and keeps its key and memory")
    func cosigns() throws {
        let storage = FaultyStorage()
        let witness = try Self.witness(storage)
        let log = Log(9)
        let first = witness.answer(try log.request(from: 0, to: 4))
        #expect(first.status == 200)
        let signatures = try WitnessAnswer.signatures(
            first.body, over: log.note(4), by: [witness.key])
        let signature = try #require(signatures.first)
        #expect(Cosignature(parsing: signature.signature)?.time == 1_000)

        let again = try Self.witness(storage, at: 2_000)
        #expect(again.key == witness.key)
        let stale = again.answer(try log.request(from: 0, to: 9))
        #expect(stale.status == 409 && WitnessAnswer.size(stale.body) == 4)
        #expect(again.answer(try log.request(from: 4, to: 9)).status == 200)
        let digest = WitnessFile.digest(try LedgerFixture.signer().key.name.text)
        let latest = try #require(again.latest(originDigest: digest))
        #expect(try latest.text == log.note(9).text)
        #expect(try latest.verified(by: [LedgerFixture.signer().key, again.key]).count == 2)
        #expect(again.latest(originDigest: String(repeating: "0", count: 64)) == nil)
    }

    @Test("a fork gets no cosignature after a restart either, and is kept as evidence")
    func fork() throws {
        let storage = FaultyStorage()
        _ = try Self.witness(storage).answer(try Log(6).request(from: 0, to: 6))
        let witness = try Self.witness(storage)
        let fork = Log(9, fork: 1)
        #expect(witness.answer(try fork.request(from: 6, to: 9)).status == 422)
        #expect(witness.answer(try fork.request(from: 0, to: 9)).status == 409)
        #expect(!storage.files.keys.contains { $0.hasPrefix("evidence/") })
        #expect(witness.answer(try fork.request(from: 6, to: 6)).status == 422)
        let shown = try #require(storage.files.first { $0.key.hasSuffix(".shown") })
        #expect(try shown.value == fork.note(6).bytes)
        let cosigned = try #require(storage.files.first { $0.key.hasSuffix(".cosigned") })
        #expect(try SignedNote(parsing: cosigned.value).text == Log(6).note(6).text)
        let count = storage.files.count
        #expect(witness.answer(try fork.request(from: 6, to: 6)).status == 422)
        #expect(storage.files.count == count)
        #expect(witness.answer(try Log(9).request(from: 6, to: 9)).status == 200)
    }

    @Test("nothing leaves before it is durable", arguments: [FaultyStorage.Fault.failed, .stored])
    func faults(_ fault: FaultyStorage.Fault) throws {
        let storage = FaultyStorage()
        let witness = try Self.witness(storage)
        let log = Log(9)
        #expect(witness.answer(try log.request(from: 0, to: 4)).status == 200)
        storage.fail(in: 1, fault)
        let refused = witness.answer(try log.request(from: 4, to: 6))
        #expect(refused.status == 503)
        #expect(!String(decoding: refused.body, as: UTF8.self).contains("\u{2014}"))
        // The witness goes on from what it answered for …
        #expect(witness.answer(try log.request(from: 4, to: 8)).status == 200)
        // … and after a crash from what is on disk.
        let restarted = try Self.witness(storage)
        #expect(restarted.answer(try log.request(from: 8, to: 9)).status == 200)
    }

    @Test("killed between memory and answer: the log asks again and gets its cosignature")
    func killed() throws {
        let storage = FaultyStorage()
        let witness = try Self.witness(storage)
        let log = Log(9)
        // Stored, and the process ends before the answer.
        storage.fail(in: 1, .stored)
        #expect(witness.answer(try log.request(from: 0, to: 5)).status == 503)
        let restarted = try Self.witness(storage)
        let conflict = restarted.answer(try log.request(from: 0, to: 5))
        #expect(conflict.status == 409 && WitnessAnswer.size(conflict.body) == 5)
        let answer = restarted.answer(try log.request(from: 5, to: 5))
        #expect(answer.status == 200)
        #expect(
            try WitnessAnswer.signatures(answer.body, over: log.note(5), by: [restarted.key]).count
                == 1)
        #expect(restarted.answer(try Log(9, fork: 1).request(from: 5, to: 9)).status == 422)
    }

    @Test("a disk that is full makes it refuse, and it recovers")
    func full() throws {
        let storage = FaultyStorage()
        let witness = try Self.witness(storage)
        storage.setFull(true)
        #expect(witness.answer(try Log(3).request(from: 0, to: 3)).status == 503)
        storage.setFull(false)
        #expect(witness.answer(try Log(3).request(from: 0, to: 3)).status == 200)
    }

    @Test("a clock before 1970 signs nothing")
    func clock() throws {
        let witness = try Self.witness(FaultyStorage(), at: -5)
        #expect(witness.answer(try Log(3).request(from: 0, to: 3)).status == 503)
    }

    @Test("what is remembered cannot be exchanged, cut or taken from another witness")
    func damagedMemory() throws {
        let storage = FaultyStorage()
        _ = try Self.witness(storage).answer(try Log(6).request(from: 0, to: 6))
        let path = try #require(storage.files.keys.first { $0.hasPrefix("logs/") })
        let good = try #require(storage.files[path])
        // The log's checkpoint without the witness's word for it: an older one put in its place.
        let older = try Log(6).note(2).bytes
        for bad in [older, Array(good.dropLast(20)), []] {
            storage.change(path) { $0 = bad }
            #expect(throws: ServerError.self) { try Self.witness(storage) }
        }
        storage.change(path) { $0 = good }
        _ = try Self.witness(storage)
        #expect(throws: ServerError.self) { try Self.witness(storage, name: "other.test") }
        storage.change("key") { $0 = nil }
        let error = #expect(throws: ServerError.self) { try Self.witness(storage) }
        #expect(error?.message.contains("restore") == true)
    }

    @Test("a damaged key is refused and never shown")
    func damagedKey() throws {
        let storage = FaultyStorage()
        _ = try Self.witness(storage)
        let good = try #require(storage.files["key"])
        #expect(String(decoding: good, as: UTF8.self).hasPrefix("PRIVATE+KEY+witness.test+"))
        let secret = String(decoding: good.suffix(30), as: UTF8.self)
        let bads: [[UInt8]] = [
            [], Array(good.dropLast()), Array(good.dropLast(9)) + [10],
            Array(good.prefix(12)) + Array("x".utf8) + Array(good.dropFirst(13)),
            Array("PRIVATE+KEY+witness.test+00000000+BA==\n".utf8),
        ]
        for bad in bads {
            storage.change("key") { $0 = bad }
            let error = #expect(throws: ServerError.self) { try Self.witness(storage) }
            #expect(error?.message.contains(secret) == false)
        }
    }

    @Test("the key's file is its owner's alone, and a folder has one witness")
    func folder() async throws {
        try await TemporaryFolder.with { folder in
            let place = folder.file("witness")
            let name = try NoteKeyName("witness.test")
            let keys = [try LedgerFixture.signer().key]
            let witness = try WitnessFile(
                folder: place, name: name, logs: keys, logger: Self.silent)
            let attributes = try FileManager.default.attributesOfItem(atPath: place + "/key")
            #expect((attributes[.posixPermissions] as? NSNumber)?.intValue == 0o600)
            #expect(try WitnessKey.read(folder: place)?.key == witness.key)
            #expect(throws: ServerError.self) {
                try WitnessFile(folder: place, name: name, logs: keys, logger: Self.silent)
            }
            #expect(witness.answer(try Log(3).request(from: 0, to: 3)).status == 200)
        }
    }
}

extension MerkleHash {
    /// The root over leaf hashes, by the recursion of RFC 6962 §2.1.
    fileprivate static func root(_ leaves: some Collection<MerkleHash>) -> MerkleHash {
        let leaves = Array(leaves)
        guard let first = leaves.first else { return .emptyTree }
        guard leaves.count > 1 else { return first }
        var middle = 1
        while middle * 2 < leaves.count { middle *= 2 }
        return .node(self.root(leaves[..<middle]), self.root(leaves[middle...]))
    }
}
