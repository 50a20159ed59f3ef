import Testing
import Transparency

@Suite("Signed notes")
struct SignedNoteTests {
    @Test("examples of the specification and of Go's library verify, and read back as they were")
    func published() throws {
        let vectors = try Vectors.load()
        #expect(vectors.notes.count == 2)
        for vector in vectors.notes {
            let key = try VerifierKey(parsing: vector.key)
            #expect(key.description == vector.key)
            let note = try SignedNote(parsing: Array(vector.note.utf8))
            #expect(note.bytes == Array(vector.note.utf8))
            #expect(try note.verified(by: [key]).map(\.key) == [key])
        }
    }

    @Test("Ed25519 gives the signatures that Python's library gives")
    func signing() throws {
        let vectors = try Vectors.load()
        let signer = try vectors.log()
        #expect(signer.key.description == vectors.logKey)
        let note = try SignedNote(parsing: Array(vectors.checkpoint.utf8))
        #expect(try SignedNote(text: note.text, signatures: [signer.sign(note.text)]) == note)
    }

    @Test("a changed byte of the text or the signature is noticed")
    func tampering() throws {
        let vectors = try Vectors.load()
        let key = try VerifierKey(parsing: vectors.logKey)
        let bytes = Array(vectors.checkpoint.utf8)
        let text = try SignedNote(parsing: bytes).text.count
        for index in bytes.indices {
            var changed = bytes
            changed[index] ^= 0x01
            let code = refusal { _ = try SignedNote(parsing: changed).verified(by: [key]) }
            #expect(code != nil, "byte \(index)")
            if index < text - 1, bytes[index] != 0x0A, bytes[index] ^ 1 >= 0x20 {
                #expect(code == .wrongSignature, "byte \(index)")
            }
        }
    }

    @Test("unknown signatures are ignored, a wrong one of a known key is not")
    func unknown() throws {
        let vectors = try Vectors.load()
        let key = try VerifierKey(parsing: vectors.logKey)
        let other = try VerifierKey(parsing: vectors.otherKey)
        let note = try SignedNote(parsing: Array(vectors.checkpoint.utf8))
        // The same name and another key; the same ID and another name.
        let more = try note.adding([
            NoteSignature(by: other, signature: [1, 2, 3]),
            try vectors.witness(1).sign(note.text, at: 5),
        ])
        #expect(try more.verified(by: [key]).count == 1)
        #expect(refusal { _ = try note.verified(by: [other]) } == .notSigned)
        #expect(refusal { _ = try note.verified(by: []) } == .notSigned)
        let wrong = try note.adding([NoteSignature(by: key, signature: [1])])
        #expect(refusal { _ = try wrong.verified(by: [key]) } == .wrongSignature)
        let twice = try note.adding(note.signatures)
        #expect(try twice.verified(by: [key]).count == 1)
    }

    @Test("the text ends at the last empty line")
    func emptyLines() throws {
        let signer = try Vectors.load().log()
        let text = Array("one\n\n\n— not a signature\n\ntwo\n".utf8)
        let note = try SignedNote(text: text, signatures: [signer.sign(text)])
        let again = try SignedNote(parsing: note.bytes)
        #expect(again.text == text)
        #expect(try again.verified(by: [signer.key]).count == 1)
    }

    @Test(
        "what is no note is refused",
        arguments: [
            "", "\n", "\n\n", "text", "text\n", "text\n\n", "text\n\nno dash AAAAAAAA\n",
            "text\n\n— name AAAAAAA=\n\n", "text\n\n— name AAAAAAAA", "text\n\n— name AAAAAA==\n",
            "text\n\n— name AAAAAAA\n", "text\n\n— name  AAAAAAAA\n", "text\n\n—  AAAAAAAA\n",
            "text\n\n— name AAAAAAAA \n", "text\n\n— na+me AAAAAAAA\n",
            "text\n\n— na\u{00A0}me AAAAAAAA\n",
            "text\n\n— name AAAA-AAA\n", "text\n\n- name AAAAAAAA\n", "te\txt\n\n— name AAAAAAAA\n",
            "text\r\n\r\n— name AAAAAAAA\r\n", "te\u{0}xt\n\n— name AAAAAAAA\n",
            "text\n— name AAAAAAAA\n", "text\n\n— name AAAAAAAA\n— name\n",
            "text\n\n— name AAAAAAAB\nx\n",
        ])
    func malformed(text: String) {
        #expect(refusal { _ = try SignedNote(parsing: Array(text.utf8)) } == .malformedNote)
    }

    @Test("bytes that are not UTF-8, and too much of anything, are refused")
    func limits() throws {
        let line = "— name AAAAAAAA\n"
        let head = Array("text\n\n".utf8)
        #expect(
            refusal { _ = try SignedNote(parsing: [0xFF] + head + Array(line.utf8)) }
                == .malformedNote)
        let many = { (count: Int) in head + Array(String(repeating: line, count: count).utf8) }
        #expect(try SignedNote(parsing: many(100)).signatures.count == 100)
        #expect(refusal { _ = try SignedNote(parsing: many(101)) } == .tooLarge)
        #expect(refusal { _ = try SignedNote(parsing: many(100_000)) } == .tooLarge)
        let long = [UInt8](repeating: 0x0A, count: SignedNote.maximumBytes)
        #expect(refusal { _ = try SignedNote(parsing: long) } == .malformedNote)
        #expect(refusal { _ = try SignedNote(parsing: long + [0x0A]) } == .tooLarge)
        #expect(
            refusal { _ = try SignedNote(text: Array("x".utf8), signatures: []) } == .malformedNote)
    }

    @Test(
        "what is no verifier key is refused",
        arguments: [
            "", "name", "name+", "name++", "name+00000000+",
            "+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k",
            "example.com/foo+530d903b+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k",
            "example.com/foo+530D903A+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k",
            "example.com/fooo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k",
            "example.com/foo+530d903a+BekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k",
            "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3Q==",
            "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k\n",
            "exam ple+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k",
            String(repeating: "+", count: 100_000),
        ])
    func malformedKey(text: String) {
        #expect(refusal { _ = try VerifierKey(parsing: text) } == .malformedKey)
    }

    @Test("names are compared by bytes, not by what Unicode calls the same")
    func names() throws {
        #expect(try NoteKeyName("\u{E9}") != NoteKeyName("e\u{301}"))
        #expect(ExactText("\u{E9}") != ExactText("e\u{301}"))
        #expect(
            refusal { _ = try NoteKeyName(String(repeating: "a", count: 256)) } == .malformedKey)
    }
}
