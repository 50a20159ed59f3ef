import SwiftProtobuf

/// Room for CRLs in messages of the Workload API: stock gRPC clients take 4 MiB, and one that is longer would cost them
/// their identity.
enum ListRoom {
    /// The longest message that has CRLs, in bytes.
    static let longestMessage = 4 * 1024 * 1024
    /// Tag and length of a field, at most.
    private static let overhead = 6

    /// The lists for which there is room beside the rest of a message, in their order.
    static func fitting(_ lists: [[UInt8]], beside message: some Message) -> [[UInt8]] {
        if lists.isEmpty { return [] }
        let rest: [UInt8] = (try? message.serializedBytes()) ?? []
        var left = self.longestMessage - rest.count
        return lists.filter { list in
            guard list.count + self.overhead <= left else { return false }
            left -= list.count + self.overhead
            return true
        }
    }
}
