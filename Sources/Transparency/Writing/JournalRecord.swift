import Crypto

/// A record of the journal: leaves, and the signed checkpoint of the log with them. What is in the journal is
/// acknowledged; tiles and the published checkpoint follow.
///
/// Four bytes `CLJ1`, four bytes of length (big-endian), 32 bytes of SHA-256 of the content, the content: four bytes
/// of length and the note, then each leaf as in ``EntryBundle``. The first record of a journal has no leaves: its
/// checkpoint is where the journal begins. Behind the last record there may be zeros, written ahead.
package struct JournalRecord: Hashable, Sendable {
    /// How long the content of a record may be.
    package static let maximumContent = 256 << 20
    private static let magic = Array("CLJ1".utf8)
    private static let headBytes = 40

    /// The note of the checkpoint after the leaves.
    package let note: SignedNote
    /// The leaves in their order.
    package let leaves: [[UInt8]]

    package init(note: SignedNote, leaves: [[UInt8]]) {
        self.note = note
        self.leaves = leaves
    }

    /// The record as bytes.
    ///
    /// - Throws: ``TransparencyError`` `tooLarge`.
    package func encode() throws(TransparencyError) -> [UInt8] {
        let note = self.note.bytes
        let count = self.leaves.reduce(4 + note.count) { $0 + 2 + $1.count }
        guard count <= Self.maximumContent else {
            throw TransparencyError(
                .tooLarge, "a record of \(count) bytes; at most \(Self.maximumContent)")
        }
        var record = Self.magic + Self.number(count)
        record.reserveCapacity(Self.headBytes + count)
        record.append(contentsOf: repeatElement(0, count: Self.headBytes - record.count))
        record.append(contentsOf: Self.number(note.count))
        record.append(contentsOf: note)
        for leaf in self.leaves { try EntryBundle.append(leaf, to: &record) }
        let digest = record[Self.headBytes...].withUnsafeBytes { content in
            var hasher = SHA256()
            hasher.update(bufferPointer: content)
            return hasher.finalize()
        }
        for (offset, byte) in digest.enumerated() { record[8 + offset] = byte }
        return record
    }

    /// Reads a journal.
    ///
    /// - Returns: The records, and how many bytes they have. What follows them was not written to its end, so it was
    ///   never acknowledged.
    /// - Throws: ``TransparencyError`` `malformedJournal` when a good record follows one that is damaged: that is no
    ///   write that was cut off.
    package static func parse(
        _ journal: [UInt8]
    ) throws(TransparencyError) -> (records: [JournalRecord], length: Int) {
        var records: [JournalRecord] = []
        var offset = 0
        while offset < journal.count {
            guard let (record, end) = self.record(journal, at: offset) else { break }
            records.append(record)
            offset = end
        }
        var rest = offset + 1
        while rest + self.headBytes <= journal.count {
            if journal[rest] == self.magic[0], self.record(journal, at: rest) != nil {
                throw TransparencyError(
                    .malformedJournal,
                    "the journal is damaged at byte \(offset), and goes on at byte \(rest); restore it from a "
                        + "copy")
            }
            rest += 1
        }
        return (records, offset)
    }

    /// The record that begins at `offset`, and where it ends; nil when there is none.
    private static func record(_ journal: [UInt8], at offset: Int) -> (JournalRecord, Int)? {
        guard journal.count - offset >= self.headBytes,
            journal[offset..<offset + 4].elementsEqual(self.magic)
        else { return nil }
        let length = self.number(journal[(offset + 4)..<(offset + 8)])
        let start = offset + self.headBytes
        guard length >= 4, length <= self.maximumContent, journal.count - start >= length else {
            return nil
        }
        let content = Array(journal[start..<start + length])
        guard SHA256.hash(data: content).elementsEqual(journal[(offset + 8)..<start]) else {
            return nil
        }
        let noteLength = self.number(content[..<4])
        guard noteLength <= content.count - 4,
            let note = try? SignedNote(parsing: Array(content[4..<(4 + noteLength)]))
        else { return nil }
        var leaves: [[UInt8]] = []
        var place = 4 + noteLength
        while place < content.count {
            guard content.count - place >= 2 else { return nil }
            let size = Int(content[place]) << 8 | Int(content[place + 1])
            place += 2
            guard content.count - place >= size else { return nil }
            leaves.append(Array(content[place..<place + size]))
            place += size
        }
        return (JournalRecord(note: note, leaves: leaves), start + length)
    }

    private static func number(_ value: Int) -> [UInt8] {
        (0..<4).map { UInt8(truncatingIfNeeded: value >> (24 - 8 * $0)) }
    }

    private static func number(_ bytes: ArraySlice<UInt8>) -> Int {
        bytes.reduce(0) { $0 << 8 | Int($1) }
    }
}
