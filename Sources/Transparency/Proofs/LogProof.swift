import SPIFFE

/// A proof that can be checked offline, as a file (C2SP tlog-proof): the way from a leaf to the root of a signed
/// checkpoint, and perhaps cosignatures of witnesses.
package struct LogProof: Hashable, Sendable {
    /// How long such a file may be, in bytes.
    package static let maximumBytes = 4 << 20
    private static let header = "c2sp.org/tlog-proof@v1"

    /// What the application adds. Ours puts the leaf itself there, so that the file is all one needs. Not
    /// covered by any signature; the leaf is, because its hash must lead to the root.
    package let extra: [UInt8]?
    /// The leaf's index in the log.
    package let index: UInt64
    /// The hashes beside the way from the leaf to the root.
    package let path: [MerkleHash]
    /// The checkpoint with its signatures; nothing verified.
    package let note: SignedNote

    package init(extra: [UInt8]?, index: UInt64, path: [MerkleHash], note: SignedNote) {
        self.extra = extra
        self.index = index
        self.path = path
        self.note = note
    }

    /// Reads such a file.
    ///
    /// - Throws: ``TransparencyError`` `malformedProof`, `tooLarge`, or what ``SignedNote/init(parsing:)`` throws.
    package init(parsing bytes: [UInt8]) throws(TransparencyError) {
        guard bytes.count <= Self.maximumBytes else {
            throw TransparencyError(
                .tooLarge, "a proof of \(bytes.count) bytes; at most \(Self.maximumBytes)")
        }
        var rest = bytes[...]
        func line() throws(TransparencyError) -> ArraySlice<UInt8> {
            guard let end = rest.firstIndex(of: UInt8(ascii: "\n")) else {
                throw TransparencyError(.malformedProof, "a proof ends before its checkpoint")
            }
            defer { rest = rest[(end + 1)...] }
            return rest[..<end]
        }
        guard try line().elementsEqual(Self.header.utf8) else {
            throw TransparencyError(.malformedProof, "a proof must begin with \"\(Self.header)\"")
        }
        var next = try line()
        if next.starts(with: "extra ".utf8) {
            guard let text = String(validating: next.dropFirst(6), as: UTF8.self),
                let bytes = try? Base64.decode(text)
            else {
                throw TransparencyError(.malformedProof, "the extra data of a proof are not base64")
            }
            self.extra = bytes
            next = try line()
        } else {
            self.extra = nil
        }
        guard next.starts(with: "index ".utf8), let index = Decimal.parse(next.dropFirst(6)) else {
            throw TransparencyError(
                .malformedProof,
                "\(TransparencyError.quoted(next)) where a proof must have \"index\" and a number")
        }
        self.index = index
        var path: [MerkleHash] = []
        next = try line()
        while !next.isEmpty {
            guard path.count < 63, let hash = MerkleHash(base64: next) else {
                throw TransparencyError(
                    .malformedProof,
                    "\(TransparencyError.quoted(next)) in a proof: expected at most 63 lines with base64 of "
                        + "32 bytes and an empty one")
            }
            path.append(hash)
            next = try line()
        }
        self.path = path
        self.note = try SignedNote(parsing: Array(rest))
    }

    /// The file; ``init(parsing:)`` reads it.
    package var bytes: [UInt8] {
        var text = Self.header + "\n"
        if let extra { text += "extra \(Base64.encode(extra))\n" }
        text += "index \(self.index)\n"
        for hash in self.path { text += hash.base64 + "\n" }
        return Array(text.utf8) + [UInt8(ascii: "\n")] + self.note.bytes
    }
}
