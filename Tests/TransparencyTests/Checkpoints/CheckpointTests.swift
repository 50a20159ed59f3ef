import Testing
import Transparency

@Suite("Checkpoints")
struct CheckpointTests {
    @Test("a checkpoint made elsewhere is read, and written as it was")
    func roundTrip() throws {
        let vectors = try Vectors.load()
        let key = try VerifierKey(parsing: vectors.logKey)
        let signed = try SignedCheckpoint(parsing: Array(vectors.checkpoint.utf8), signedBy: key)
        #expect(signed.checkpoint.origin == "ledger.example/log")
        #expect(signed.checkpoint.size == 300)
        #expect(signed.checkpoint.root.description == vectors.roots["300"])
        #expect(signed.note.bytes == Array(vectors.checkpoint.utf8))
        #expect(try SignedCheckpoint(signed.checkpoint, signer: vectors.log()) == signed)

        let extended = try SignedCheckpoint(parsing: Array(vectors.extended.utf8), signedBy: key)
        #expect(extended.checkpoint.extensions == ["timestamp 12", "émile"])
        #expect(extended.checkpoint.text == extended.note.text)
    }

    @Test("another log's checkpoint is refused although the signature is good")
    func origin() throws {
        let vectors = try Vectors.load()
        let signer = try vectors.log()
        let checkpoint = try Checkpoint(origin: "somebody.else", size: 0, root: .emptyTree)
        let note = try SignedCheckpoint(checkpoint, signer: signer).note
        #expect(refusal { _ = try SignedCheckpoint(note, signedBy: signer.key) } == .wrongOrigin)
        #expect(
            try SignedCheckpoint(note, signedBy: signer.key, origin: "somebody.else").checkpoint
                == checkpoint)
    }

    @Test(
        "what is no checkpoint is refused",
        arguments: [
            "", "\n", "log\n", "log\n1\n", "log\n1\nROOT", "\n1\nROOT\n", "log\n01\nROOT\n",
            "log\n-1\nROOT\n",
            "log\n1 \nROOT\n", "log\n9223372036854775808\nROOT\n", "log\n\nROOT\n",
            "log\n18446744073709551617\nROOT\n", "log\n1\nAAAA\n", "log\n1\nROOT \n",
            "log\n1\nROOT\n\n",
            "log\n1\nROOT\n\nextension\n", "log\n1\n\nROOT\n",
        ])
    func malformed(text: String) {
        let root = MerkleHash.leaf([]).base64
        let bytes = Array(text.replacing("ROOT", with: root).utf8)
        #expect(refusal { _ = try Checkpoint(parsing: bytes) } == .malformedCheckpoint)
    }

    @Test("an extension line cannot smuggle in lines, and too many are refused")
    func extensions() {
        let root = MerkleHash.leaf([])
        for line in ["", "a\nb", "a\u{0}"] {
            #expect(
                refusal {
                    _ = try Checkpoint(origin: "log", size: 1, root: root, extensions: [line])
                } == .malformedCheckpoint)
            #expect(
                refusal {
                    _ = try Checkpoint(origin: ExactText(line), size: 1, root: root)
                } == .malformedCheckpoint)
        }
        let many = "log\n1\n\(root.base64)\n" + String(repeating: "x\n", count: 100_000)
        #expect(refusal { _ = try Checkpoint(parsing: Array(many.utf8)) } == .malformedCheckpoint)
    }

    @Test("cosignatures are those that Python's library makes")
    func cosignatures() throws {
        let vectors = try Vectors.load()
        let note = try SignedNote(parsing: Array(vectors.cosigned.utf8))
        let keys = try vectors.witnessKeys.map { try VerifierKey(parsing: $0) }
        let found = try note.verified(by: keys)
        #expect(found.map(\.key) == keys)
        let times = found.compactMap { Cosignature(parsing: $0.signature.signature)?.time }
        #expect(times == [1_700_000_000, 1_700_000_001])
        #expect(try vectors.witness(2).sign(note.text, at: 1_700_000_001) == note.signatures[2])
        // Another time is another message.
        var bytes = note.signatures[1].signature
        bytes[7] ^= 1
        #expect(!keys[0].verifies(bytes, over: note.text))
        bytes[7] ^= 1
        bytes[0] = 0x80
        #expect(Cosignature(parsing: bytes) == nil)
        #expect(!keys[0].verifies([], over: note.text))
    }

    @Test("a log's key does not pass for a witness's, nor the other way round")
    func confusion() throws {
        let vectors = try Vectors.load()
        let log = try VerifierKey(parsing: vectors.logKey)
        let asWitness = try VerifierKey(
            name: log.name, algorithm: .cosignature, publicKey: log.publicKey)
        #expect(asWitness.keyID != log.keyID)
        #expect(refusal { _ = try ProofVerifier(key: asWitness) } == .malformedKey)
        #expect(refusal { _ = try ProofVerifier(key: log, witnesses: [log]) } == .malformedKey)
        let twin = try VerifierKey(
            name: NoteKeyName("twin"), algorithm: .cosignature, publicKey: log.publicKey)
        #expect(
            refusal { _ = try ProofVerifier(key: log, witnesses: [asWitness, twin]) }
                == .malformedKey)
        #expect(refusal { _ = try ProofVerifier(key: log, quorum: 1) } == .malformedKey)
        #expect(refusal { _ = try ProofVerifier(key: log, quorum: -1) } == .malformedKey)
    }
}
