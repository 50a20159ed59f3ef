import Testing
import Transparency

@Suite("Proof files")
struct LogProofTests {
    private func verifier(witnesses: Int = 0, quorum: Int = 0) throws -> ProofVerifier {
        let vectors = try Vectors.load()
        return try ProofVerifier(
            key: VerifierKey(parsing: vectors.logKey),
            witnesses: vectors.witnessKeys.prefix(witnesses).map { try VerifierKey(parsing: $0) },
            quorum: quorum)
    }

    @Test("a proof made elsewhere is read, holds, and is written as it was")
    func foreign() throws {
        let vectors = try Vectors.load()
        let proof = try LogProof(parsing: Array(vectors.proof.utf8))
        #expect(proof.bytes == Array(vectors.proof.utf8))
        #expect(proof.extra == Array("leaf 17".utf8) && proof.index == 17)
        let verdict = try self.verifier(witnesses: 2, quorum: 2)
            .verify(proof, leafHash: .leaf(numberedLeaf(17)))
        #expect(verdict.checkpoint.size == 300)
        #expect(verdict.cosignatures.map(\.time) == [1_700_000_000, 1_700_000_001])

        let bare = try LogProof(parsing: Array(vectors.proofWithoutExtra.utf8))
        #expect(bare.extra == nil && bare.bytes == Array(vectors.proofWithoutExtra.utf8))
        _ = try self.verifier().verify(bare, leafHash: .leaf(numberedLeaf(299)))
    }

    @Test("it proves that leaf and no other, and only with the witnesses asked for")
    func wrong() throws {
        let vectors = try Vectors.load()
        let proof = try LogProof(parsing: Array(vectors.proof.utf8))
        let bare = try LogProof(parsing: Array(vectors.proofWithoutExtra.utf8))
        #expect(
            refusal {
                _ = try self.verifier().verify(proof, leafHash: .leaf(numberedLeaf(18)))
            } == .wrongProof)
        #expect(
            refusal {
                _ = try self.verifier(witnesses: 2, quorum: 1)
                    .verify(bare, leafHash: .leaf(numberedLeaf(299)))
            } == .noQuorum)
        let other = try ProofVerifier(key: VerifierKey(parsing: vectors.otherKey))
        #expect(
            refusal { _ = try other.verify(proof, leafHash: .leaf(numberedLeaf(17))) } == .notSigned
        )
        for index in [0, 16, 18, 299, 300, Decimal.maximum] {
            let moved = LogProof(extra: nil, index: index, path: proof.path, note: proof.note)
            #expect(
                refusal {
                    _ = try self.verifier().verify(moved, leafHash: .leaf(numberedLeaf(17)))
                } == .wrongProof)
        }
    }

    @Test("the same witness twice is one witness")
    func sameWitness() throws {
        let vectors = try Vectors.load()
        let proof = try LogProof(parsing: Array(vectors.proof.utf8))
        let signatures = proof.note.signatures
        let note = try SignedNote(
            text: proof.note.text, signatures: [signatures[0], signatures[1], signatures[1]])
        let again = LogProof(extra: nil, index: 17, path: proof.path, note: note)
        #expect(
            refusal {
                _ = try self.verifier(witnesses: 2, quorum: 2)
                    .verify(again, leafHash: .leaf(numberedLeaf(17)))
            } == .noQuorum)
    }

    @Test("every changed byte of the file is noticed, except in the signatures of strangers")
    func tampering() throws {
        let vectors = try Vectors.load()
        let bytes = Array(vectors.proofWithoutExtra.utf8)
        for index in bytes.indices {
            var changed = bytes
            changed[index] ^= 0x01
            let code = refusal {
                _ = try self.verifier()
                    .verify(LogProof(parsing: changed), leafHash: .leaf(numberedLeaf(299)))
            }
            #expect(code != nil, "byte \(index)")
        }
        for count in 0..<bytes.count {
            #expect(refusal { _ = try LogProof(parsing: Array(bytes.prefix(count))) } != nil)
        }
    }

    @Test("what is no proof is refused")
    func malformed() throws {
        let vectors = try Vectors.load()
        let note = vectors.checkpoint
        let hash = MerkleHash.leaf([]).base64
        let head = "c2sp.org/tlog-proof@v1\n"
        for text in [
            "", "\n", head, "c2sp.org/tlog-proof@v2\nindex 0\n\n" + note, head + "\n" + note,
            head + "index 00\n\n" + note, head + "index -1\n\n" + note, head + "index\n\n" + note,
            head + "index 9223372036854775808\n\n" + note, head + "index 0\nextra AAAA\n\n" + note,
            head + "extra AAA\nindex 0\n\n" + note,
            head + "extra AAAA\nextra AAAA\nindex 0\n\n" + note,
            head + "index 0\nAAAA\n\n" + note, head + "index 0\n" + note,
            head + "index 0\n" + String(repeating: hash + "\n", count: 64) + "\n" + note,
            head + "index 0\n" + String(repeating: hash + "\n", count: 50_000) + "\n" + note,
        ] {
            #expect(
                refusal { _ = try LogProof(parsing: Array(text.utf8)) } == .malformedProof,
                "\(text.prefix(60))")
        }
        let huge = [UInt8](repeating: 0x41, count: LogProof.maximumBytes + 1)
        #expect(refusal { _ = try LogProof(parsing: huge) } == .tooLarge)
    }
}
