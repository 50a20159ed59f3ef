/// What a log sends to a witness: a checkpoint, and the proof that it continues the one that the witness knows
/// (C2SP tlog-witness, "add-checkpoint").
package struct AddCheckpointRequest: Hashable, Sendable {
    /// How long a request may be, in bytes.
    package static let maximumBytes = SignedNote.maximumBytes + 4096

    /// The size of the last checkpoint that the witness cosigned; 0 when there is none.
    package let oldSize: UInt64
    /// The consistency proof from there.
    package let path: [MerkleHash]
    /// The new checkpoint; nothing verified.
    package let note: SignedNote

    package init(oldSize: UInt64, path: [MerkleHash], note: SignedNote) {
        self.oldSize = oldSize
        self.path = path
        self.note = note
    }

    /// Reads a request's body.
    ///
    /// - Throws: ``TransparencyError`` `malformedRequest`, `tooLarge`, or what ``SignedNote/init(parsing:)`` throws.
    package init(parsing body: [UInt8]) throws(TransparencyError) {
        guard body.count <= Self.maximumBytes else {
            throw TransparencyError(
                .tooLarge, "a request of \(body.count) bytes; at most \(Self.maximumBytes)")
        }
        var rest = body[...]
        func line() throws(TransparencyError) -> ArraySlice<UInt8> {
            guard let end = rest.firstIndex(of: UInt8(ascii: "\n")) else {
                throw TransparencyError(.malformedRequest, "the request ends before its checkpoint")
            }
            defer { rest = rest[(end + 1)...] }
            return rest[..<end]
        }
        let first = try line()
        guard first.starts(with: "old ".utf8), let size = Decimal.parse(first.dropFirst(4)) else {
            throw TransparencyError(
                .malformedRequest,
                "\(TransparencyError.quoted(first)) where a request must have \"old\" and a size")
        }
        var path: [MerkleHash] = []
        var next = try line()
        while !next.isEmpty {
            guard path.count < 63, let hash = MerkleHash(base64: next) else {
                throw TransparencyError(
                    .malformedRequest,
                    "\(TransparencyError.quoted(next)) in a request: expected at most 63 lines with base64 of "
                        + "32 bytes and an empty one")
            }
            path.append(hash)
            next = try line()
        }
        self.init(oldSize: size, path: path, note: try SignedNote(parsing: Array(rest)))
    }

    /// The body; ``init(parsing:)`` reads it.
    package var bytes: [UInt8] {
        var text = "old \(self.oldSize)\n"
        for hash in self.path { text += hash.base64 + "\n" }
        return Array(text.utf8) + [UInt8(ascii: "\n")] + self.note.bytes
    }
}
