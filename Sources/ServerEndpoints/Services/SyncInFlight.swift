import NIOConcurrencyHelpers
import ServerCore

/// Bounds how many requests of one agent are being worked on.
struct SyncInFlight {
    /// A counter shared with the tasks that give their place back.
    final class Slot: Sendable {
        fileprivate let count = NIOLockedValueBox(0)

        func release() { self.count.withLockedValue { $0 -= 1 } }
    }

    private static let limit = 256
    let slot = Slot()

    /// Takes a place.
    ///
    /// - Throws: ``ServerError`` `resourceExhausted` when the agent has too many requests open.
    mutating func admit() throws(ServerError) {
        let admitted = self.slot.count.withLockedValue { count in
            guard count < Self.limit else { return false }
            count += 1
            return true
        }
        guard admitted else {
            throw ServerError(
                .resourceExhausted,
                "more than \(Self.limit) requests are open on this stream; wait for results")
        }
    }
}
