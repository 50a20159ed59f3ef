/// A text with signatures below it (C2SP signed-note). Nothing in it may be believed before
/// ``verified(by:)`` has said who signed.
package struct SignedNote: Hashable, Sendable {
    /// How long a note may be, in bytes.
    package static let maximumBytes = 1 << 20
    /// How many signatures a note may have.
    package static let maximumSignatures = 100

    /// What is signed, with its last newline.
    package let text: [UInt8]
    /// In the order in which they stand; not empty.
    package private(set) var signatures: [NoteSignature]

    /// A note from a text and the signatures over it.
    ///
    /// - Throws: ``TransparencyError`` `malformedNote` when the text does not end with a newline or has a control
    ///   character, or without signatures; `tooLarge`.
    package init(text: [UInt8], signatures: [NoteSignature]) throws(TransparencyError) {
        try Self.check(text)
        guard text.last == UInt8(ascii: "\n") else {
            throw TransparencyError(.malformedNote, "the text of a note must end with a newline")
        }
        guard !signatures.isEmpty else {
            throw TransparencyError(.malformedNote, "a note must have a signature")
        }
        guard signatures.count <= Self.maximumSignatures else {
            throw TransparencyError(
                .tooLarge, "\(signatures.count) signatures; at most \(Self.maximumSignatures)")
        }
        self.text = text
        self.signatures = signatures
    }

    /// Reads a note. The text ends at the last empty line.
    ///
    /// - Throws: ``TransparencyError`` `malformedNote` or `tooLarge`.
    package init(parsing bytes: [UInt8]) throws(TransparencyError) {
        try Self.check(bytes)
        let newline = UInt8(ascii: "\n")
        var split: Int?
        var index = bytes.count - 2
        while index >= 0 {
            if bytes[index] == newline, bytes[index + 1] == newline {
                split = index
                break
            }
            index -= 1
        }
        guard let split, bytes.last == newline else {
            throw TransparencyError(
                .malformedNote,
                "a note needs an empty line before its signatures and a newline at its end")
        }
        let lines = bytes[(split + 2)...].dropLast()
            .split(separator: newline, omittingEmptySubsequences: false)
        guard lines.count <= Self.maximumSignatures else {
            throw TransparencyError(
                .tooLarge, "\(lines.count) signatures; at most \(Self.maximumSignatures)")
        }
        var signatures: [NoteSignature] = []
        for line in lines { signatures.append(try NoteSignature(parsing: line)) }
        try self.init(text: Array(bytes[...split]), signatures: signatures)
    }

    /// What holds for a note as a whole.
    private static func check(_ bytes: [UInt8]) throws(TransparencyError) {
        guard bytes.count <= self.maximumBytes else {
            throw TransparencyError(
                .tooLarge, "a note of \(bytes.count) bytes; at most \(self.maximumBytes)")
        }
        if let at = bytes.firstIndex(where: { $0 < 0x20 && $0 != UInt8(ascii: "\n") }) {
            throw TransparencyError(
                .malformedNote, "a note has the control character \(bytes[at]) at byte \(at)")
        }
        guard String(validating: bytes, as: UTF8.self) != nil else {
            throw TransparencyError(.malformedNote, "a note is not UTF-8")
        }
    }

    /// The note as bytes; ``init(parsing:)`` reads them.
    package var bytes: [UInt8] {
        var bytes = self.text
        bytes.append(UInt8(ascii: "\n"))
        for signature in self.signatures { bytes.append(contentsOf: signature.line.utf8) }
        return bytes
    }

    /// The same note with more signatures below it.
    ///
    /// - Throws: ``TransparencyError`` `tooLarge`.
    package func adding(_ signatures: [NoteSignature]) throws(TransparencyError) -> SignedNote {
        try SignedNote(text: self.text, signatures: self.signatures + signatures)
    }

    /// The signatures by the keys given; each key once. Signatures by other keys are ignored.
    ///
    /// - Throws: ``TransparencyError`` `wrongSignature` when a signature names one of the keys and is not by
    ///   it; `notSigned` when none is by them.
    package func verified(
        by keys: [VerifierKey]
    ) throws(TransparencyError) -> [(key: VerifierKey, signature: NoteSignature)] {
        var found: [(key: VerifierKey, signature: NoteSignature)] = []
        for signature in self.signatures {
            let named = keys.filter { $0.name == signature.name && $0.keyID == signature.keyID }
            guard !named.isEmpty else { continue }
            // Two keys with one name and one ID are an accident; the signature may be by either.
            guard
                let key = named.first(where: { $0.verifies(signature.signature, over: self.text) })
            else {
                throw TransparencyError(
                    .wrongSignature,
                    "the signature of \(TransparencyError.quoted(signature.name.string.utf8)) "
                        + "does not verify: the note was changed, or another key signed it")
            }
            if !found.contains(where: { $0.key == key }) { found.append((key, signature)) }
        }
        guard !found.isEmpty else {
            let names = keys.prefix(4).map(\.description).joined(separator: ", ")
            throw TransparencyError(.notSigned, "the note has no signature by \(names)")
        }
        return found
    }
}
