/// A checkpoint whose signature by the log was verified, with the note it came in.
package struct SignedCheckpoint: Hashable, Sendable {
    /// What the log said.
    package let checkpoint: Checkpoint
    /// The note, with all signatures.
    package let note: SignedNote

    /// Reads a note and verifies that the log signed it.
    ///
    /// - Parameters:
    ///   - bytes: The note.
    ///   - key: The log's key.
    ///   - origin: What the first line must be; the key's name where the log follows the recommendation, as ours do.
    /// - Throws: ``TransparencyError`` with the code of the first rule broken.
    package init(
        parsing bytes: [UInt8], signedBy key: VerifierKey, origin: ExactText? = nil
    ) throws(TransparencyError) {
        try self.init(SignedNote(parsing: bytes), signedBy: key, origin: origin)
    }

    /// The same for a note that was read.
    package init(
        _ note: SignedNote, signedBy key: VerifierKey, origin: ExactText? = nil
    ) throws(TransparencyError) {
        _ = try note.verified(by: [key])
        let checkpoint = try Checkpoint(parsing: note.text)
        let expected = origin ?? key.name.text
        guard checkpoint.origin == expected else {
            throw TransparencyError(
                .wrongOrigin,
                "checkpoint of the log \(TransparencyError.quoted(checkpoint.origin.string.utf8)); "
                    + "expected \(TransparencyError.quoted(expected.string.utf8))")
        }
        self.checkpoint = checkpoint
        self.note = note
    }

    /// Signs a checkpoint with the log's key.
    ///
    /// - Throws: ``TransparencyError`` when the key cannot sign.
    package init(_ checkpoint: Checkpoint, signer: NoteSigner) throws(TransparencyError) {
        let text = checkpoint.text
        self.note = try SignedNote(text: text, signatures: [signer.sign(text)])
        self.checkpoint = checkpoint
    }
}
