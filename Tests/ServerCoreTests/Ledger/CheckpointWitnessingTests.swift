import Logging
import NIOConcurrencyHelpers
import Testing
import Transparency

@testable import ServerCore

@Suite("A ledger and its witnesses")
struct CheckpointWitnessingTests {
    private static let silent = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }

    private static func signer(
        _ name: String, _ algorithm: VerifierKey.Algorithm, _ byte: UInt8
    ) throws -> NoteSigner {
        try NoteSigner(
            name: NoteKeyName(name), algorithm: algorithm,
            seed: [UInt8](repeating: byte, count: 32))
    }

    /// A log in memory; its files are those that the writer makes.
    private final class Log: WitnessedLog {
        private struct State {
            var writer: LedgerWriter
            var files: [String: [UInt8]] = [:]
        }
        private let signer: NoteSigner
        private let state: NIOLockedValueBox<State>
        private let (stream, continuation) = AsyncStream.makeStream(
            of: Void.self, bufferingPolicy: .bufferingNewest(1))

        init(_ signer: NoteSigner) throws {
            let first = try LedgerWriter.firstCheckpoint(origin: signer.key.name.text)
            let note = try SignedCheckpoint(first, signer: signer).note
            let writer = try LedgerWriter.create(signed: note, key: signer.key).0
            self.signer = signer
            self.state = NIOLockedValueBox(State(writer: writer))
        }

        var key: VerifierKey { self.signer.key }

        func append(_ leaves: [String]) throws {
            try self.state.withLockedValue { state in
                let batch = try state.writer.prepare(leaves.map { Array($0.utf8) })
                let note = try SignedCheckpoint(batch.checkpoint, signer: self.signer).note
                try state.writer.commit(batch, signed: note)
                guard let publication = state.writer.publication() else { return }
                for case .file(let path, let bytes) in publication.writes {
                    state.files[path] = bytes
                }
                state.writer.published(publication)
            }
            self.continuation.yield()
        }

        func end() { self.continuation.finish() }

        var published: SignedNote {
            get throws {
                try SignedNote(
                    parsing: #require(self.state.withLockedValue { $0.files["checkpoint"] }))
            }
        }

        func read(_ path: String, limit: Int) async throws -> [UInt8]? {
            self.state.withLockedValue { $0.files[path] }
        }

        func publications() -> AsyncStream<Void> { self.stream }

        func add(_ cosignatures: [NoteSignature], to checkpoint: SignedNote) async throws -> Bool {
            try self.state.withLockedValue { state in
                let note = try SignedNote(parsing: #require(state.files["checkpoint"]))
                guard note.text == checkpoint.text else { return false }
                state.files["checkpoint"] = try note.adding(cosignatures).bytes
                return true
            }
        }
    }

    /// A witness without HTTP, by the rules of the real one.
    private final class Witness: WitnessClient {
        private let signer: NoteSigner
        private let state: NIOLockedValueBox<WitnessState>
        private let script = NIOLockedValueBox<[WitnessResponse]>([])
        private let asked = NIOLockedValueBox<[UInt64]>([])

        init(_ signer: NoteSigner, of log: VerifierKey) {
            self.signer = signer
            self.state = NIOLockedValueBox(WitnessState(keys: [log]))
        }

        var key: VerifierKey { self.signer.key }
        /// The old sizes of the requests that came.
        var oldSizes: [UInt64] { self.asked.withLockedValue { $0 } }
        /// Answers the next request so.
        func answer(_ status: Int, _ body: String, _ type: String? = "text/plain") {
            let answer = WitnessResponse(
                status: status, contentType: type, body: Array(body.utf8))
            self.script.withLockedValue { $0.append(answer) }
        }

        func addCheckpoint(_ body: [UInt8]) async throws -> WitnessResponse {
            let request = try AddCheckpointRequest(parsing: body)
            self.asked.withLockedValue { $0.append(request.oldSize) }
            let scripted = self.script.withLockedValue { $0.isEmpty ? nil : $0.removeFirst() }
            if let scripted { return scripted }
            let answer = try self.state.withLockedValue { state in
                switch state.judge(body) {
                case .refused(let answer, _): return answer
                case .accepted(let acceptance):
                    let signature = try self.signer.sign(acceptance.signed.note.text, at: 9)
                    return try state.record(acceptance, signature: signature)
                }
            }
            return WitnessResponse(
                status: answer.status, contentType: answer.contentType, body: answer.body)
        }
    }

    private struct World {
        let log: Log
        let witnesses: [Witness]

        init(count: Int = 2) throws {
            let signer = try CheckpointWitnessingTests.signer("example.org/ledger", .ed25519, 1)
            self.log = try Log(signer)
            self.witnesses = try (0..<count).map {
                Witness(
                    try CheckpointWitnessingTests.signer(
                        "w\($0).test", .cosignature, UInt8(10 + $0)),
                    of: signer.key)
            }
        }

        func witnessing(
            quorum: Int = 2,
            sleep: @escaping @Sendable (Duration) async throws -> Void = { _ in }
        ) -> CheckpointWitnessing {
            CheckpointWitnessing(
                log: self.log,
                witnesses: self.witnesses.enumerated().map {
                    LedgerWitness(name: "w\($0)", key: $1.key, client: $1)
                },
                quorum: quorum, logger: CheckpointWitnessingTests.silent, sleep: sleep)
        }
    }

    @Test(
        "both witnesses cosign each checkpoint that is asked for, with a proof from the one before")
    func cosigns() async throws {
        let world = try World()
        let witnessing = world.witnessing()
        var expected: [UInt64] = []
        var size: UInt64 = 0
        for count in [1, 3, 300] {
            try world.log.append((0..<count).map { "leaf \(size) \($0)" })
            for index in 0..<2 { try await witnessing.ask(index) }
            expected.append(size)
            size += UInt64(count)
            let note = try world.log.published
            let keys = [world.log.key] + world.witnesses.map(\.key)
            #expect(try note.verified(by: keys).count == 3)
            #expect(witnessing.cosignedSize == size)
        }
        // What is cosigned is not asked for again.
        try await witnessing.ask(0)
        #expect(world.witnesses[0].oldSizes == expected)
    }

    @Test("after a restart the witness says where it stands")
    func restart() async throws {
        let world = try World()
        try world.log.append(["a", "b", "c"])
        try await world.witnessing().ask(0)
        try world.log.append(["d"])
        let restarted = world.witnessing()
        try await restarted.ask(0)
        #expect(world.witnesses[0].oldSizes == [0, 0, 3])
        #expect(restarted.cosignedSize == nil)
        try await restarted.ask(1)
        #expect(restarted.cosignedSize == 4)
    }

    @Test("a witness that knows more, or another history, contradicts")
    func contradicted() async throws {
        let world = try World()
        try world.log.append(["a", "b", "c"])
        try await world.witnessing().ask(0)
        // The ledger was made anew with the same key.
        let signer = try Self.signer("example.org/ledger", .ed25519, 1)
        for (leaves, word) in [(["x"], "older copy"), (["x", "y", "z", "w"], "another history")] {
            let other = try Log(signer)
            try other.append(leaves)
            let witnessing = CheckpointWitnessing(
                log: other,
                witnesses: [
                    LedgerWitness(
                        name: "w", key: world.witnesses[0].key, client: world.witnesses[0])
                ],
                quorum: 1, logger: Self.silent)
            let error = await #expect(throws: WitnessingError.self) { try await witnessing.ask(0) }
            #expect(error?.code == .contradicted)
            #expect(error?.message.contains(word) == true)
            #expect(try other.published.signatures.count == 1)
        }
    }

    @Test(
        "answers that are none are errors",
        arguments: [
            (200, "", "text/plain"), (200, "hello\n", "text/plain"),
            (200, "\u{2014} other.test AAAAAAAAAAAAAAAA\n", "text/plain"),
            (409, "3", "text/x.tlog.size"), (409, "03\n", "text/x.tlog.size"),
            (409, "-1\n", "text/x.tlog.size"), (409, "3\n", "text/plain"), (500, "", ""),
            (301, "", ""),
        ])
    func hostileAnswers(_ status: Int, _ body: String, _ type: String) async throws {
        let world = try World()
        try world.log.append(["a"])
        world.witnesses[0].answer(status, body, type)
        let error = await #expect(throws: WitnessingError.self) {
            try await world.witnessing().ask(0)
        }
        #expect(error?.code == .failed)
        #expect(try world.log.published.signatures.count == 1)
    }

    @Test("a witness that quarrels about its size is not asked for ever")
    func quarrel() async throws {
        let world = try World()
        try world.log.append(["a", "b"])
        for _ in 0..<5 { world.witnesses[0].answer(409, "1\n", "text/x.tlog.size") }
        await #expect(throws: WitnessingError.self) { try await world.witnessing().ask(0) }
        #expect(world.witnesses[0].oldSizes == [0, 1])
    }

    @Test("one witness's failures do not keep the other from cosigning, and it is asked again")
    func retries() async throws {
        let world = try World()
        world.witnesses[0].answer(503, "full\n")
        world.witnesses[0].answer(503, "full\n")
        world.witnesses[0].answer(404, "unknown\n")
        let pauses = NIOLockedValueBox<[Duration]>([])
        let witnessing = CheckpointWitnessing(
            log: world.log,
            witnesses: [
                LedgerWitness(name: "w", key: world.witnesses[0].key, client: world.witnesses[0])
            ],
            quorum: 1, logger: Self.silent
        ) { pause in pauses.withLockedValue { $0.append(pause) } }
        try world.log.append(["a"])
        world.log.end()
        await witnessing.run()
        #expect(pauses.withLockedValue { $0 } == [.seconds(1), .seconds(2), .seconds(60)])
        #expect(witnessing.cosignedSize == 1)
        #expect(try world.log.published.verified(by: [world.witnesses[0].key]).count == 1)
    }

    @Test("pauses grow to a minute")
    func pauses() {
        let error = WitnessingError(.failed, "")
        #expect(
            (1...9).map { CheckpointWitnessing.pause(after: $0, error) }
                == [1, 2, 4, 8, 16, 32, 60, 60, 60].map { .seconds($0) })
        #expect(
            CheckpointWitnessing.pause(after: 1, WitnessingError(.contradicted, ""))
                == .seconds(60))
    }
}
