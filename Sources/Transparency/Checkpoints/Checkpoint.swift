/// What a log says about itself: who it is, how many leaves it has, and their root (C2SP tlog-checkpoint).
package struct Checkpoint: Hashable, Sendable {
    /// Which log; compared by bytes.
    package let origin: ExactText
    /// How many leaves.
    package let size: UInt64
    /// The root of the Merkle tree over them (RFC 6962 §2.1).
    package let root: MerkleHash
    /// Lines whose meaning is the log's own affair.
    package let extensions: [String]

    /// - Throws: ``TransparencyError`` `malformedCheckpoint` for an empty origin or extension line, one with a
    ///   newline or control character, and a size above 2⁶³ − 1.
    package init(
        origin: ExactText, size: UInt64, root: MerkleHash, extensions: [String] = []
    ) throws(TransparencyError) {
        for line in [origin.string] + extensions {
            guard !line.isEmpty, line.utf8.allSatisfy({ $0 >= 0x20 }) else {
                throw TransparencyError(
                    .malformedCheckpoint,
                    "\(TransparencyError.quoted(line.utf8)) is no line of a checkpoint")
            }
        }
        guard size <= Decimal.maximum else {
            throw TransparencyError(
                .malformedCheckpoint, "checkpoint of size \(size); at most 2^63-1")
        }
        self.origin = origin
        self.size = size
        self.root = root
        self.extensions = extensions
    }

    /// Reads the text of a note.
    ///
    /// - Throws: ``TransparencyError`` `malformedCheckpoint`: fewer than three lines, an empty line, a size with
    ///   superfluous zeros or above 2⁶³ − 1, a root that is not base64 of 32 bytes.
    package init(parsing text: [UInt8]) throws(TransparencyError) {
        guard text.last == UInt8(ascii: "\n") else {
            throw TransparencyError(.malformedCheckpoint, "checkpoint without a newline at its end")
        }
        let lines = text.dropLast().split(
            separator: UInt8(ascii: "\n"), maxSplits: 1000, omittingEmptySubsequences: false)
        guard lines.count >= 3, lines.count <= 1000 else {
            throw TransparencyError(
                .malformedCheckpoint, "checkpoint of \(lines.count) lines; expected 3 to 1000")
        }
        guard let size = Decimal.parse(lines[1]) else {
            throw TransparencyError(
                .malformedCheckpoint,
                "checkpoint has the size \(TransparencyError.quoted(lines[1])); expected digits "
                    + "without superfluous zeros, at most 2^63-1")
        }
        guard let root = MerkleHash(base64: lines[2]) else {
            throw TransparencyError(
                .malformedCheckpoint,
                "checkpoint has the root \(TransparencyError.quoted(lines[2])); expected base64 of 32 bytes"
            )
        }
        var texts: [String] = []
        for line in [lines[0]] + lines[3...] {
            guard let text = String(validating: line, as: UTF8.self) else {
                throw TransparencyError(.malformedCheckpoint, "checkpoint is not UTF-8")
            }
            texts.append(text)
        }
        try self.init(
            origin: ExactText(texts[0]), size: size, root: root, extensions: Array(texts[1...]))
    }

    /// The text to sign; ``init(parsing:)`` reads it.
    package var text: [UInt8] {
        var text = "\(self.origin)\n\(self.size)\n\(self.root.base64)\n"
        for line in self.extensions { text += line + "\n" }
        return Array(text.utf8)
    }
}
