import Testing
import Transparency

@Suite("A witness")
struct WitnessStateTests {
    private let vectors: Vectors
    private let log: NoteSigner
    private let witness: NoteSigner

    init() throws {
        self.vectors = try Vectors.load()
        self.log = try self.vectors.log()
        self.witness = try self.vectors.witness(1)
    }

    /// Runs a request through all steps.
    private func answer(_ state: inout WitnessState, _ body: [UInt8]) throws -> WitnessAnswer {
        switch state.judge(body) {
        case .refused(let answer, _): return answer
        case .accepted(let acceptance):
            let signature = try self.witness.sign(acceptance.signed.note.text, at: 1000)
            return try state.record(acceptance, signature: signature)
        }
    }

    private func body(_ name: String) throws -> [UInt8] { try self.vectors.request(name) }

    @Test("requests made elsewhere are cosigned, one after the other")
    func cosigns() throws {
        var state = WitnessState(keys: [self.log.key])
        #expect(state.latest(of: "ledger.example/log") == nil)
        for name in ["0-100", "100-300"] {
            let answer = try self.answer(&state, self.body(name))
            #expect(answer.status == 200)
            let request = try AddCheckpointRequest(parsing: self.body(name))
            #expect(try request.bytes == self.body(name))
            let signatures = try WitnessAnswer.signatures(
                answer.body, over: request.note, by: [self.witness.key])
            #expect(signatures.count == 1)
            let stored = try #require(state.latest(of: "ledger.example/log"))
            #expect(stored.text == request.note.text)
            #expect(try stored.verified(by: [self.log.key, self.witness.key]).count == 2)
        }
        // The same again, from the size that it has: fine.
        let again = try AddCheckpointRequest(parsing: self.body("100-300"))
        let same = AddCheckpointRequest(oldSize: 300, path: [], note: again.note)
        #expect(try self.answer(&state, same.bytes).status == 200)
    }

    @Test("a wrong old size is answered with the one that the witness has")
    func conflict() throws {
        var state = WitnessState(keys: [self.log.key])
        let first = try self.answer(&state, self.body("100-300"))
        #expect(first.status == 409 && first.body == Array("0\n".utf8))
        _ = try self.answer(&state, self.body("0-100"))
        let answer = try self.answer(&state, self.body("conflict"))
        #expect(answer.status == 409 && answer.body == Array("100\n".utf8))
        #expect(answer.contentType == "text/x.tlog.size")
    }

    @Test("what is not proved is not cosigned")
    func unproved() throws {
        var state = WitnessState(keys: [self.log.key])
        let begun = AddCheckpointRequest(
            oldSize: 0, path: [.emptyTree],
            note: try AddCheckpointRequest(parsing: self.body("0-100")).note)
        #expect(try self.answer(&state, begun.bytes).status == 422)
        _ = try self.answer(&state, self.body("0-100"))
        #expect(try self.answer(&state, self.body("wrong-proof")).status == 422)
        #expect(try self.answer(&state, self.body("100-300")).status == 200)
    }

    @Test("a log that shows two histories gets one cosigned, and leaves evidence")
    func equivocation() throws {
        var state = WitnessState(keys: [self.log.key])
        _ = try self.answer(&state, self.body("0-100"))
        _ = try self.answer(&state, self.body("100-300"))
        let root = MerkleHash.leaf([1])
        let fork = try SignedCheckpoint(
            Checkpoint(origin: self.log.key.name.text, size: 300, root: root), signer: self.log)
        for (old, status) in [(300, 422), (100, 409), (0, 409)] as [(UInt64, Int)] {
            let request = AddCheckpointRequest(oldSize: old, path: [], note: fork.note)
            guard case .refused(let answer, let evidence) = state.judge(request.bytes) else {
                Issue.record("a fork was accepted")
                return
            }
            #expect(answer.status == status)
            #expect(evidence == fork.note)
        }
        let back = try AddCheckpointRequest(parsing: self.body("0-100"))
        let rollback = AddCheckpointRequest(oldSize: 300, path: [], note: back.note)
        #expect(try self.answer(&state, rollback.bytes).status == 400)
    }

    @Test("two witnesses of one log: a split view gets no quorum")
    func splitView() async throws {
        func run(_ leaf: UInt8, _ signer: NoteSigner) throws -> (LogProof, [UInt8]) {
            var ledger = try Ledger(self.log)
            try ledger.append([[leaf]])
            let note = ledger.writer.committed
            let state = WitnessState(keys: [self.log.key])
            let request = AddCheckpointRequest(oldSize: 0, path: [], note: note)
            guard case .accepted(let acceptance) = state.judge(request.bytes) else {
                throw Disk.Broken()
            }
            let line = try signer.sign(acceptance.signed.note.text, at: 7)
            let cosigned = try note.adding([line])
            return (LogProof(extra: nil, index: 0, path: [], note: cosigned), [leaf])
        }
        let second = try self.vectors.witness(2)
        let verifier = try ProofVerifier(
            key: self.log.key, witnesses: [self.witness.key, second.key], quorum: 2)
        for (proof, leaf) in [try run(1, self.witness), try run(2, second)] {
            #expect(refusal { _ = try verifier.verify(proof, leafHash: .leaf(leaf)) } == .noQuorum)
        }
    }

    @Test("of two requests at once only one is recorded")
    func race() throws {
        var state = WitnessState(keys: [self.log.key])
        guard case .accepted(let first) = state.judge(try self.body("0-100")),
            case .accepted(let second) = state.judge(try self.body("0-100"))
        else {
            Issue.record("refused")
            return
        }
        let signature = try self.witness.sign(first.signed.note.text, at: 1)
        #expect(try state.record(first, signature: signature).status == 200)
        let late = try state.record(second, signature: signature)
        #expect(late.status == 409 && late.body == Array("100\n".utf8))
    }

    @Test("unknown logs are 404, unsigned checkpoints 403, and everything else 400")
    func statuses() throws {
        let other = try NoteSigner(
            name: NoteKeyName("other.example"), algorithm: .ed25519,
            seed: Array(repeating: 9, count: 32))
        var state = WitnessState(keys: [other.key])
        #expect(try self.answer(&state, self.body("0-100")).status == 404)
        let forger = try NoteSigner(
            name: self.log.key.name, algorithm: .ed25519, seed: Array(repeating: 9, count: 32))
        state = WitnessState(keys: [self.log.key])
        let checkpoint = try Checkpoint(
            origin: self.log.key.name.text, size: 1, root: MerkleHash.leaf([]))
        let forged = try SignedCheckpoint(checkpoint, signer: forger).note
        func request(_ note: SignedNote, old: UInt64 = 0) -> [UInt8] {
            AddCheckpointRequest(oldSize: old, path: [], note: note).bytes
        }
        #expect(try self.answer(&state, request(forged)).status == 403)
        let broken = try SignedNote(
            text: checkpoint.text,
            signatures: [NoteSignature(by: self.log.key, signature: Array(repeating: 1, count: 64))]
        )
        #expect(try self.answer(&state, request(broken)).status == 403)
        // The log's key under another origin.
        let elsewhere = try Checkpoint(origin: "other", size: 1, root: MerkleHash.leaf([]))
        #expect(
            try self.answer(&state, request(SignedCheckpoint(elsewhere, signer: self.log).note))
                .status == 404)
        let empty = try Checkpoint(
            origin: self.log.key.name.text, size: 0, root: MerkleHash.leaf([]))
        #expect(
            try self.answer(&state, request(SignedCheckpoint(empty, signer: self.log).note)).status
                == 422)
        let good = try SignedCheckpoint(checkpoint, signer: self.log).note
        #expect(try self.answer(&state, request(good, old: 2)).status == 400)

        let note = String(decoding: good.bytes, as: UTF8.self)
        let hash = MerkleHash.leaf([]).base64 + "\n"
        for text in [
            "", "\n", "old 0\n", "old 0\n\n", "old 0\n" + note, "old 00\n\n" + note,
            "old -1\n\n" + note,
            "old  0\n\n" + note, "old 9223372036854775808\n\n" + note, "new 0\n\n" + note,
            "old 0\nAAAA\n\n" + note,
            "old 0\n" + String(repeating: hash, count: 64) + "\n" + note, "old 0\n\nnot a note\n",
            "old 0\n" + String(repeating: hash, count: 20_000) + "\n" + note, note,
        ] {
            #expect(try self.answer(&state, Array(text.utf8)).status == 400, "\(text.prefix(40))")
        }
        let huge = [UInt8](repeating: 0x6F, count: AddCheckpointRequest.maximumBytes + 1)
        #expect(try self.answer(&state, huge).status == 400)
        let noCheckpoint = Array("x\n".utf8)
        let plain = try SignedNote(text: noCheckpoint, signatures: [self.log.sign(noCheckpoint)])
        #expect(try self.answer(&state, request(plain)).status == 400)
    }

    @Test("what was stored is taken up again after a start")
    func restore() throws {
        var state = WitnessState(keys: [self.log.key])
        _ = try self.answer(&state, self.body("0-100"))
        let stored = try #require(state.latest(of: "ledger.example/log"))
        var again = WitnessState(keys: [self.log.key])
        try again.restore(SignedNote(parsing: stored.bytes))
        #expect(try self.answer(&again, self.body("0-100")).status == 409)
        #expect(try self.answer(&again, self.body("100-300")).status == 200)
        var other = WitnessState(keys: [])
        #expect(refusal { try other.restore(stored) } == .wrongOrigin)
    }

    @Test("an answer with anything but signature lines is refused by the log")
    func answers() throws {
        let note = try AddCheckpointRequest(parsing: self.body("0-100")).note
        let line = Array(try self.witness.sign(note.text, at: 1).line.utf8)
        func read(_ body: [UInt8]) -> TransparencyError.Code? {
            refusal { _ = try WitnessAnswer.signatures(body, over: note, by: [self.witness.key]) }
        }
        #expect(read(line) == nil)
        #expect(read([]) == .malformedNote)
        #expect(read(Array("ok\n".utf8)) == .malformedNote)
        #expect(read([0x0A] + line) == .malformedNote)
        #expect(read(Array("x\n\n".utf8) + line) == .malformedNote)
        let foreign = try self.vectors.witness(2).sign(note.text, at: 1)
        #expect(read(Array(foreign.line.utf8)) == .notSigned)
        var wrong = try self.witness.sign(note.text, at: 1).signature
        wrong[20] ^= 1
        let changed = NoteSignature(by: self.witness.key, signature: wrong)
        #expect(read(Array(changed.line.utf8)) == .wrongSignature)
    }
}
