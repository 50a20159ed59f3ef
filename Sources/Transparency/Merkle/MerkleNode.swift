/// The root of a perfect subtree: the one that covers the leaves from `index << height` to
/// `(index + 1) << height`, the last excluded.
package struct MerkleNode: Hashable, Sendable {
    /// 0 for a leaf.
    package let height: Int
    /// Counted from the left, from 0.
    package let index: UInt64

    package init(height: Int, index: UInt64) {
        self.height = height
        self.index = index
    }

    /// The perfect subtrees that a subtree of a Merkle tree is made of, from the left, the largest first.
    ///
    /// - Parameter range: Leaves, as they occur in proofs: the lower bound is a multiple of the smallest power of
    ///   two that is not below the count.
    package static func nodes(covering range: Range<UInt64>) -> [MerkleNode] {
        var nodes: [MerkleNode] = []
        var start = range.lowerBound
        while start < range.upperBound {
            let room = 63 - (range.upperBound - start).leadingZeroBitCount
            let height = min(room, start.trailingZeroBitCount)
            nodes.append(MerkleNode(height: height, index: start >> UInt64(height)))
            start += 1 << UInt64(height)
        }
        return nodes
    }

    /// The largest power of two below `count`, which must be above 1.
    static func split(_ count: UInt64) -> UInt64 {
        1 << UInt64(63 - (count - 1).leadingZeroBitCount)
    }
}
