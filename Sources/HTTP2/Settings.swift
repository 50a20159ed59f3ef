import NIOCore

/// The numbers of the settings we know (RFC 9113 §6.5.2).
enum SettingID {
    static let headerTableSize: UInt16 = 0x1
    static let enablePush: UInt16 = 0x2
    static let maxConcurrentStreams: UInt16 = 0x3
    static let initialWindowSize: UInt16 = 0x4
    static let maxFrameSize: UInt16 = 0x5
    static let maxHeaderListSize: UInt16 = 0x6
}

/// What one connection may cost. All of it is told to the peer where HTTP/2 has a word for it.
package struct HTTP2Limits: Sendable {
    /// Streams the peer may have open; more are refused one by one, and the others stay.
    package var maxConcurrentStreams = 1_000
    /// Size of a request's header list as RFC 9113 §6.5.2 counts it, in bytes.
    package var maxHeaderListBytes = 16 * 1024
    /// Bytes of one stream that may be under way to us and not yet consumed; at least 65,535.
    package var streamWindow = 65_535
    /// Bytes of all streams together that may be under way to us; at least 65,535.
    package var connectionWindow = 1 << 20
    /// Bytes of answers that may wait, in all streams together, for the peer to open its windows.
    package var maxPendingBytes = 64 * 1024 * 1024
    /// How many requests the peer may withdraw before they were answered, over and above those that
    /// were answered. A request that it makes us reset counts as well.
    package var resetAllowance = 1_000

    package init() {}

    /// Largest frame we take: the protocol's default, which every peer may rely on.
    static let maxFrameBytes = 16_384
    /// How many times larger than allowed a header list may be and cost its stream only. Beyond that it is not
    /// even decoded, and without that the connection cannot go on.
    static let headerListTolerance = 4
    /// CONTINUATION frames after one HEADERS frame.
    static let maxContinuations = 16
    /// Frames in a row that carry nothing.
    static let maxEmptyFrames = 1_000
    /// SETTINGS frames over and above the requests that were answered. Each may change the windows
    /// of all streams; good peers send a handful in a connection's life.
    static let maxSettings = 100

    var settingsFrame: ByteBuffer {
        let settings: [(UInt16, Int)] = [
            // No table on our side: the decoder of all connections is one and the same, and a
            // connection costs nothing for it.
            (SettingID.headerTableSize, 0),
            (SettingID.maxConcurrentStreams, self.maxConcurrentStreams),
            (SettingID.initialWindowSize, self.streamWindow),
            (SettingID.maxHeaderListSize, self.maxHeaderListBytes),
        ]
        var frame = ByteBuffer()
        frame.write(FrameHeader(length: settings.count * 6, type: FrameType.settings))
        for (id, value) in settings {
            frame.writeInteger(id)
            frame.writeInteger(UInt32(truncatingIfNeeded: value))
        }
        if self.connectionWindow > PeerSettings.defaultWindow {
            frame.writeWindowUpdate(0, self.connectionWindow - PeerSettings.defaultWindow)
        }
        return frame
    }
}

/// What the peer allows us.
struct PeerSettings {
    static let defaultWindow = 65_535
    private static let defaultTable: UInt32 = 4096

    var initialWindow = PeerSettings.defaultWindow
    var maxFrameBytes = 16_384
    /// The peer made its header table smaller than the protocol's default: our next header block must
    /// begin by saying that we use none (RFC 7541 §4.2).
    var owesTableUpdate = false

    /// Takes one setting (RFC 9113 §6.5.2); unknown ones are ignored.
    mutating func apply(_ id: UInt16, _ value: UInt32) throws(HTTP2ConnectionError) {
        switch id {
        case SettingID.headerTableSize:
            if value < Self.defaultTable { self.owesTableUpdate = true }
        case SettingID.enablePush:
            if value > 1 { throw HTTP2ConnectionError(.protocolError, "ENABLE_PUSH is not 0 or 1") }
        case SettingID.initialWindowSize:
            guard value <= FrameHeader.maximum31Bits else {
                throw HTTP2ConnectionError(.flowControlError, "INITIAL_WINDOW_SIZE above 2^31-1")
            }
            self.initialWindow = Int(value)
        case SettingID.maxFrameSize:
            guard (16_384...16_777_215).contains(value) else {
                throw HTTP2ConnectionError(.protocolError, "MAX_FRAME_SIZE out of range")
            }
            self.maxFrameBytes = Int(value)
        default: break
        }
    }
}
