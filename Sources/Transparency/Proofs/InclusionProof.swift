/// Shows that a leaf is at an index of a tree (RFC 6962 §2.1.1, RFC 9162 §2.1.3).
package struct InclusionProof: Hashable, Sendable {
    /// The leaf's index, from 0.
    package let index: UInt64
    /// How many leaves the tree has.
    package let size: UInt64
    /// The hashes beside the way from the leaf to the root, the leaf's neighbour first.
    package let path: [MerkleHash]

    package init(index: UInt64, size: UInt64, path: [MerkleHash]) {
        self.index = index
        self.size = size
        self.path = path
    }

    /// The leaves below each hash of the path, in its order.
    ///
    /// - Throws: ``TransparencyError`` `outOfRange` unless the index is below the size, and that at most 2⁶³ − 1.
    package static func ranges(
        index: UInt64, size: UInt64
    ) throws(TransparencyError) -> [Range<UInt64>] {
        guard index < size, size <= Decimal.maximum else {
            throw TransparencyError(
                .outOfRange, "there is no leaf \(index) in a tree of \(size) leaves")
        }
        var ranges: [Range<UInt64>] = []
        var start: UInt64 = 0
        var end = size
        while end - start > 1 {
            let middle = start + MerkleNode.split(end - start)
            if index < middle {
                ranges.append(middle..<end)
                end = middle
            } else {
                ranges.append(start..<middle)
                start = middle
            }
        }
        return ranges.reversed()
    }

    /// The root that follows from the leaf's hash and the path; nil when the path has another length than it must
    /// have.
    package func root(from leafHash: MerkleHash) -> MerkleHash? {
        guard self.index < self.size, self.size <= Decimal.maximum else { return nil }
        var place = self.index
        var last = self.size - 1
        var root = leafHash
        for hash in self.path {
            guard last > 0 else { return nil }
            if place & 1 == 1 || place == last {
                root = .node(hash, root)
                while place & 1 == 0, place > 0 {
                    place >>= 1
                    last >>= 1
                }
            } else {
                root = .node(root, hash)
            }
            place >>= 1
            last >>= 1
        }
        return last == 0 ? root : nil
    }

    /// Checks the proof.
    ///
    /// - Throws: ``TransparencyError`` `wrongProof`.
    package func verify(leafHash: MerkleHash, root: MerkleHash) throws(TransparencyError) {
        guard self.root(from: leafHash) == root else {
            throw TransparencyError(
                .wrongProof,
                "the proof does not show that leaf \(self.index) is in the tree of \(self.size) leaves"
            )
        }
    }
}
