package import Transparency

/// Takes the ledger's events of the changes, in the order in which they were committed.
///
/// The store calls it after the commit and before the write that caused the changes returns, one call at a time.
/// Implementations must not block and must not write to the store.
package protocol ChangeLeafConsumer: AnyObject, Sendable {
    /// - Parameter seq: Position of the feed after these changes.
    func committed(_ events: [LeafEvent], seq: UInt64)
}

/// A row of the change feed with what the ledger says of it.
package struct ChangeLeafRow: Sendable {
    package let seq: UInt64
    /// With the time of the change; nil where the ledger says nothing of it.
    package let leaf: Leaf?

    package init(seq: UInt64, leaf: Leaf?) {
        self.seq = seq
        self.leaf = leaf
    }
}

/// Keeps the leaves of changes until they are in the ledger.
package protocol ChangeLeafStore: Sendable {
    /// The rows after that position in their order.
    ///
    /// - Parameter limit: how many at most.
    func changeLeaves(after seq: UInt64, limit: Int) async throws -> [ChangeLeafRow]

    /// The position up to which all is known to be recorded. It may lag behind.
    func recordedPosition() async throws -> UInt64

    /// Moves that position; never back. Rows after it are never pruned.
    func setRecordedPosition(_ seq: UInt64) async throws
}
