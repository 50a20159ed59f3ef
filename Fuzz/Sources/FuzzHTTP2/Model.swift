import HTTP2

/// What the client knows about the windows, kept apart from the connection's own books.
struct Model {
    struct Stream {
        /// What the server may send, and the client.
        var sendWindow: Int
        var receiveWindow: Int
        var isOpenForPeer: Bool
        /// Bytes of the answer that the owner handed over, and those that arrived.
        var queued = 0
        var arrived = 0
        /// Whether the owner has sent the end.
        var isEnded = false
        /// Bytes of the request that the owner was told of and did not use up.
        var unconsumed = 0
        /// Bytes used up, padding included, that the client may not send again yet.
        var owed = 0
    }

    static let maximum = 0x7fff_ffff

    var streams: [UInt32: Stream] = [:]
    var sendWindow = 65_535
    var receiveWindow: Int
    var initialWindow = 65_535
    var maxFrameBytes = 16_384
    /// Streams whose answer was too much, which the owner has not been told yet.
    var dropped: Set<UInt32> = []
    /// The highest stream the client named in HEADERS.
    var highestNamed: UInt32 = 0
    var highestRequest: UInt32 = 0
    /// The frame under way may rightly be answered with FLOW_CONTROL_ERROR.
    var mayOverrun = false
    /// The stream whose window the frame under way overran.
    var overrun: UInt32?

    init(_ setting: Setting) { self.receiveWindow = max(setting.limits.connectionWindow, 65_535) }

    /// The client sends a whole frame.
    mutating func sends(type: UInt8, flags: UInt8, id: UInt32, payload: ArraySlice<UInt8>) {
        self.mayOverrun = false
        self.overrun = nil
        let words = payload.count == 4 ? payload.reduce(0) { $0 << 8 | Int($1) } : nil
        switch type {
        case 0:
            self.receiveWindow -= payload.count
            if self.receiveWindow < 0 { self.mayOverrun = true }
            guard let stream = self.streams[id], stream.isOpenForPeer else { return }
            self.streams[id]?.receiveWindow -= payload.count
            if stream.receiveWindow < payload.count {
                self.mayOverrun = true
                self.overrun = id
            } else if flags & 8 != 0, let padding = payload.first {
                // What is too short for its padding ends the connection.
                self.streams[id]?.owed += Int(padding) + 1
            }
        case 1: self.highestNamed = max(self.highestNamed, id)
        case 4 where flags & 1 == 0 && payload.count % 6 == 0: self.settings(Array(payload))
        case 8:
            guard let words else { return }
            let increment = words & Self.maximum
            if id == 0 {
                self.sendWindow += increment
                if self.sendWindow > Self.maximum { self.mayOverrun = true }
            } else if let stream = self.streams[id] {
                self.streams[id]?.sendWindow += increment
                if stream.sendWindow + increment > Self.maximum {
                    self.mayOverrun = true
                    self.overrun = id
                }
            }
        default: break
        }
    }

    private mutating func settings(_ payload: [UInt8]) {
        var window = self.initialWindow
        for at in stride(from: 0, to: payload.count, by: 6) {
            let value = payload[(at + 2)..<(at + 6)].reduce(0) { $0 << 8 | Int($1) }
            switch (payload[at], payload[at + 1]) {
            case (0, 4): window = value
            case (0, 5) where value >= 16_384: self.maxFrameBytes = value
            default: break
            }
            if window > Self.maximum { self.mayOverrun = true }
        }
        for id in self.streams.keys {
            self.streams[id]?.sendWindow += window - self.initialWindow
            if self.streams[id]?.sendWindow ?? 0 > Self.maximum { self.mayOverrun = true }
        }
        self.initialWindow = window
    }
}
