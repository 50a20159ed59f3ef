/// What must be kept of a Merkle tree to append to it and to know its root: the roots of the perfect subtrees
/// that it is made of, the largest first. One for each bit of the size that is set.
package struct MerkleFrontier: Sendable, Hashable {
    /// How many leaves were appended.
    package private(set) var size: UInt64
    /// The roots, the largest subtree first.
    package private(set) var subtrees: [MerkleHash]

    /// The empty tree.
    package init() {
        self.size = 0
        self.subtrees = []
        self.subtrees.reserveCapacity(64)
    }

    /// A tree of `size` leaves; nil unless there is one root for each bit that is set.
    package init?(size: UInt64, subtrees: [MerkleHash]) {
        guard size <= Decimal.maximum, subtrees.count == size.nonzeroBitCount else { return nil }
        self.size = size
        self.subtrees = subtrees
    }

    /// Appends the hash of a leaf.
    package mutating func append(_ leafHash: MerkleHash) {
        self.append(leafHash) { _, _ in }
    }

    /// Appends the hash of a leaf and calls `completed` for each perfect subtree that this leaf completes, with
    /// its height (1 and up) and root, in the order of height.
    package mutating func append(
        _ leafHash: MerkleHash, completed: (_ height: Int, _ root: MerkleHash) -> Void
    ) {
        var hash = leafHash
        var height = 0
        var bits = self.size
        while bits & 1 == 1, let left = self.subtrees.popLast() {
            hash = .node(left, hash)
            height += 1
            bits >>= 1
            completed(height, hash)
        }
        self.subtrees.append(hash)
        self.size &+= 1
    }

    /// The root of the tree (RFC 6962 §2.1).
    package var root: MerkleHash { .fold(self.subtrees) }
}
