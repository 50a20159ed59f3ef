import SPIFFE
import Transparency

/// Files and requests that a log's disk, a log or a witness may send.
enum Files {
    private static func text(_ bytes: [UInt8]) -> String? {
        String(validating: bytes, as: UTF8.self)
    }

    static func note(_ bytes: [UInt8]) {
        guard let note = try? SignedNote(parsing: bytes) else { return }
        demand(note.bytes == bytes, "a note is what was read")
        demand(note.text.last == 0x0A && !note.signatures.isEmpty)
    }

    static func checkpoint(_ bytes: [UInt8]) {
        guard let checkpoint = try? Checkpoint(parsing: bytes) else { return }
        demand(checkpoint.text == bytes, "a checkpoint is what was read")
        demand(checkpoint.size <= Decimal.maximum)
    }

    static func key(_ bytes: [UInt8]) {
        guard let text = self.text(bytes), let key = try? VerifierKey(parsing: text) else { return }
        demand(key.description.utf8.elementsEqual(bytes), "a key is what was read")
        demand(!key.verifies([], over: []))
    }

    static func path(_ bytes: [UInt8]) {
        guard let text = self.text(bytes), let tile = try? Tile(path: text) else { return }
        demand(tile.path.utf8.elementsEqual(bytes), "a path is what was read")
        demand((1...256).contains(tile.width))
        demand(tile.leaves.upperBound <= Decimal.maximum)
    }

    static func entries(_ bytes: [UInt8]) {
        guard let count = bytes.first.map({ Int($0) + 1 }) else { return }
        let bundle = Array(bytes.dropFirst())
        guard let entries = try? EntryBundle.parse(bundle, count: count) else { return }
        demand(entries.count == count)
        var again: [UInt8] = []
        for entry in entries {
            guard (try? EntryBundle.append(Array(entry), to: &again)) != nil else {
                demand(false, "an entry that was read is too long")
                return
            }
        }
        demand(again == bundle, "a bundle is what was read")
    }

    static func proof(_ bytes: [UInt8]) {
        guard let proof = try? LogProof(parsing: bytes) else { return }
        demand(proof.bytes == bytes, "a proof is what was read")
        guard let checkpoint = try? Checkpoint(parsing: proof.note.text) else { return }
        let inclusion = InclusionProof(
            index: proof.index, size: checkpoint.size, path: proof.path)
        guard inclusion.root(from: .leaf(proof.extra ?? [])) != nil else { return }
        // The path has the length that its place in the tree asks for.
        let ranges = try? InclusionProof.ranges(index: proof.index, size: checkpoint.size)
        demand(ranges?.count == proof.path.count)
    }

    static func json(_ bytes: [UInt8]) {
        guard let value = try? JSONValue(parsing: bytes),
            let canonical = try? CanonicalJSON.encode(value)
        else { return }
        demand(CanonicalJSON.isCanonical(canonical), "canonical once is canonical for ever")
    }

    static func leaf(_ bytes: [UInt8]) {
        guard let leaf = try? Leaf(parsing: bytes) else { return }
        _ = LeafFilter().matches(leaf)
        guard let again = try? leaf.encode() else { return }
        demand(CanonicalJSON.isCanonical(again))
        demand((try? Leaf(parsing: again)) != nil, "a leaf that we write can be read")
    }

    static func request(_ bytes: [UInt8]) {
        guard let request = try? AddCheckpointRequest(parsing: bytes) else { return }
        demand(request.bytes == bytes, "a request is what was read")
        guard case .refused(let answer, _) = WitnessState(keys: []).judge(bytes) else {
            demand(false, "a witness of no log accepts nothing")
            return
        }
        demand(answer.status == 400 || answer.status == 404)
    }

    static func journal(_ bytes: [UInt8]) {
        guard let (records, length) = try? JournalRecord.parse(bytes) else { return }
        demand(length <= bytes.count)
        var again: [UInt8] = []
        for record in records { again += (try? record.encode()) ?? [] }
        demand(again == Array(bytes.prefix(length)), "a journal is what was read")
    }

    static func time(_ bytes: [UInt8]) {
        guard let text = self.text(bytes), let time = LeafTime(parsing: text) else { return }
        demand(LeafTime(parsing: time.description) == time)
    }
}
