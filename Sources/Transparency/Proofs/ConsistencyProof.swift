/// Shows that a tree begins with all leaves of an older one (RFC 6962 §2.1.2, RFC 9162 §2.1.4).
package struct ConsistencyProof: Hashable, Sendable {
    /// How many leaves the older tree has.
    package let oldSize: UInt64
    /// How many leaves the newer one has.
    package let newSize: UInt64
    /// The hashes in the order of the RFC.
    package let path: [MerkleHash]

    package init(oldSize: UInt64, newSize: UInt64, path: [MerkleHash]) {
        self.oldSize = oldSize
        self.newSize = newSize
        self.path = path
    }

    /// The leaves below each hash of the path, in its order; none when a tree is empty or both are one.
    ///
    /// - Throws: ``TransparencyError`` `outOfRange` when the older tree is larger, or one above 2⁶³ − 1.
    package static func ranges(
        oldSize: UInt64, newSize: UInt64
    ) throws(TransparencyError) -> [Range<UInt64>] {
        guard oldSize <= newSize, newSize <= Decimal.maximum else {
            throw TransparencyError(
                .outOfRange, "a tree of \(newSize) leaves cannot begin with \(oldSize) leaves")
        }
        guard oldSize > 0 else { return [] }
        var ranges: [Range<UInt64>] = []
        var start: UInt64 = 0
        var end = newSize
        // Whether the older tree is still one whose root the verifier knows.
        var isKnown = true
        while end != oldSize {
            let middle = start + MerkleNode.split(end - start)
            if oldSize <= middle {
                ranges.append(middle..<end)
                end = middle
            } else {
                ranges.append(start..<middle)
                start = middle
                isKnown = false
            }
        }
        if !isKnown { ranges.append(start..<end) }
        return ranges.reversed()
    }

    /// Checks the proof.
    ///
    /// - Throws: ``TransparencyError`` `wrongProof`.
    package func verify(oldRoot: MerkleHash, newRoot: MerkleHash) throws(TransparencyError) {
        guard self.holds(oldRoot, newRoot) else {
            throw TransparencyError(
                .wrongProof,
                "the proof does not show that the tree of \(self.newSize) leaves begins with those of the tree "
                    + "of \(self.oldSize)")
        }
    }

    private func holds(_ oldRoot: MerkleHash, _ newRoot: MerkleHash) -> Bool {
        guard self.oldSize <= self.newSize, self.newSize <= Decimal.maximum else { return false }
        if self.oldSize == self.newSize { return self.path.isEmpty && oldRoot == newRoot }
        if self.oldSize == 0 { return self.path.isEmpty && oldRoot == .emptyTree }
        var path = self.path[...]
        var place = self.oldSize - 1
        var last = self.newSize - 1
        while place & 1 == 1 {
            place >>= 1
            last >>= 1
        }
        // A perfect older tree is itself the first subtree, and the verifier has its root.
        let isPerfect = self.oldSize.nonzeroBitCount == 1
        guard let first = isPerfect ? oldRoot : path.popFirst() else { return false }
        var old = first
        var new = first
        for hash in path {
            guard last > 0 else { return false }
            if place & 1 == 1 || place == last {
                old = .node(hash, old)
                new = .node(hash, new)
                while place & 1 == 0, place > 0 {
                    place >>= 1
                    last >>= 1
                }
            } else {
                new = .node(new, hash)
            }
            place >>= 1
            last >>= 1
        }
        return last == 0 && old == oldRoot && new == newRoot
    }
}
