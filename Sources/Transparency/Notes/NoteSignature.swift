import SPIFFE

/// One signature line of a note: an em dash, the key's name, and base64 of the key's ID and the signature.
package struct NoteSignature: Hashable, Sendable {
    /// Who says to have signed.
    package let name: NoteKeyName
    /// With the name it says which key and algorithm.
    package let keyID: UInt32
    /// The signature without the key ID; not empty.
    package let signature: [UInt8]

    /// A signature that was made with the private half of `key`.
    package init(by key: VerifierKey, signature: [UInt8]) {
        self.name = key.name
        self.keyID = key.keyID
        self.signature = signature
    }

    /// Reads a line without its newline.
    ///
    /// - Throws: ``TransparencyError`` `malformedNote`.
    init(parsing line: ArraySlice<UInt8>) throws(TransparencyError) {
        let dash = Array("— ".utf8)
        guard line.starts(with: dash) else { throw Self.malformed(line) }
        let parts = line.dropFirst(dash.count).split(
            separator: UInt8(ascii: " "), maxSplits: 1, omittingEmptySubsequences: false)
        guard parts.count == 2, let text = String(validating: parts[0], as: UTF8.self),
            let name = try? NoteKeyName(text),
            let base64 = String(validating: parts[1], as: UTF8.self),
            let bytes = try? Base64.decode(base64), bytes.count > 4
        else { throw Self.malformed(line) }
        self.name = name
        self.keyID = bytes[..<4].reduce(0) { $0 << 8 | UInt32($1) }
        self.signature = Array(bytes[4...])
    }

    private static func malformed(_ line: ArraySlice<UInt8>) -> TransparencyError {
        TransparencyError(
            .malformedNote,
            "\(TransparencyError.quoted(line)) is no signature line; expected an em dash, a key name and "
                + "base64, with one space between them")
    }

    /// The line with its newline.
    package var line: String {
        let identifier = (0..<4).map { UInt8(truncatingIfNeeded: self.keyID >> (24 - 8 * $0)) }
        return "— \(self.name) \(Base64.encode(identifier + self.signature))\n"
    }
}
