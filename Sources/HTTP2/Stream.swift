import NIOCore

/// One stream that is open in at least one direction.
struct Stream {
    /// What waits for the peer to open its window.
    struct Pending {
        var bytes: ByteBuffer
        /// The header block that ends the stream once `bytes` are gone.
        var trailers: ByteBuffer?
        /// How many of `bytes` were in memory of their own when they began to wait.
        var own = 0
        /// Whether the stream stands in ``HTTP2ServerConnection/blocked``.
        var isQueued = false
    }

    /// Bytes we may still send; negative after the peer made its windows smaller.
    var sendWindow: Int
    /// Bytes the peer may still send.
    var receiveWindow: Int
    /// Bytes consumed and not yet given back to the peer's window.
    var owed = 0
    /// Body bytes that `content-length` still promises.
    var promised: Int?
    /// Whether the peer may still send.
    var isOpenForPeer: Bool
    /// Whether we have sent anything: a peer that then resets has had its answer.
    var isAnswered = false
    var pending: Pending?
}

/// The streams we reset a moment ago. What the peer had already sent on them is dropped without a word.
struct RecentResets {
    private static let capacity = 64
    private var ids: [UInt32] = []
    private var next = 0

    mutating func add(_ id: UInt32) {
        if self.ids.count < Self.capacity {
            self.ids.append(id)
        } else {
            self.ids[self.next] = id
            self.next = (self.next + 1) % Self.capacity
        }
    }

    func contains(_ id: UInt32) -> Bool { self.ids.contains(id) }
}
