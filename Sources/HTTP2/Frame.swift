import NIOCore

/// The kinds of frames (RFC 9113 §6) by their number on the wire.
enum FrameType {
    static let data: UInt8 = 0x0
    static let headers: UInt8 = 0x1
    static let priority: UInt8 = 0x2
    static let rstStream: UInt8 = 0x3
    static let settings: UInt8 = 0x4
    static let pushPromise: UInt8 = 0x5
    static let ping: UInt8 = 0x6
    static let goAway: UInt8 = 0x7
    static let windowUpdate: UInt8 = 0x8
    static let continuation: UInt8 = 0x9
}

/// Bits of a frame's flags field.
enum FrameFlag {
    static let endStream: UInt8 = 0x1
    static let ack: UInt8 = 0x1
    static let endHeaders: UInt8 = 0x4
    static let padded: UInt8 = 0x8
    static let priority: UInt8 = 0x20
}

/// The nine bytes before every frame's payload (RFC 9113 §4.1).
struct FrameHeader {
    static let size = 9
    /// The largest stream number and the largest window: 31 bits.
    static let maximum31Bits: UInt32 = 0x7fff_ffff

    /// Payload bytes, 24 bits.
    var length: Int
    var type: UInt8
    var flags: UInt8
    var streamID: UInt32

    func has(_ flag: UInt8) -> Bool { self.flags & flag != 0 }

    /// Reads the header in front of `bytes` without taking it; nil when it is not there in full.
    init?(peeking bytes: ByteBuffer) {
        let at = bytes.readerIndex
        guard let first: UInt32 = bytes.getInteger(at: at),
            let flags: UInt8 = bytes.getInteger(at: at + 4),
            let stream: UInt32 = bytes.getInteger(at: at + 5)
        else { return nil }
        self.length = Int(first >> 8)
        self.type = UInt8(truncatingIfNeeded: first)
        self.flags = flags
        self.streamID = stream & Self.maximum31Bits
    }

    init(length: Int, type: UInt8, flags: UInt8 = 0, streamID: UInt32 = 0) {
        self.length = length
        self.type = type
        self.flags = flags
        self.streamID = streamID
    }
}

extension ByteBuffer {
    /// Lets go of memory of which less than a quarter is still to be read. What is left is copied,
    /// at the most a third of what was read.
    mutating func shrink() {
        if self.readableBytes == 0 {
            self = ByteBuffer()
        } else if self.readableBytes * 4 < self.storageCapacity {
            self = ByteBuffer(bytes: self.readableBytesView)
        }
    }

    mutating func write(_ header: FrameHeader) {
        self.writeInteger(UInt32(truncatingIfNeeded: header.length) << 8 | UInt32(header.type))
        self.writeInteger(header.flags)
        self.writeInteger(header.streamID)
    }

    mutating func writeReset(_ id: UInt32, _ code: HTTP2ErrorCode) {
        self.write(FrameHeader(length: 4, type: FrameType.rstStream, streamID: id))
        self.writeInteger(code.rawValue)
    }

    mutating func writeWindowUpdate(_ id: UInt32, _ increment: Int) {
        self.write(FrameHeader(length: 4, type: FrameType.windowUpdate, streamID: id))
        self.writeInteger(UInt32(truncatingIfNeeded: increment))
    }

    mutating func writeGoAway(lastStreamID: UInt32, _ code: HTTP2ErrorCode, _ reason: String) {
        let text = reason.utf8.prefix(256)
        self.write(FrameHeader(length: 8 + text.count, type: FrameType.goAway))
        self.writeInteger(lastStreamID)
        self.writeInteger(code.rawValue)
        self.writeBytes(text)
    }
}
