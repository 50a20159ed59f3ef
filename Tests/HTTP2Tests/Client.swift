import NIOCore

@testable import HTTP2

/// The bytes a client sends.
enum Client {
    static let preface = Array("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".utf8)
    static let settingsAck = Client.frame(FrameType.settings, FrameFlag.ack)

    static func frame(
        _ type: UInt8, _ flags: UInt8 = 0, _ id: UInt32 = 0, _ payload: [UInt8] = []
    ) -> [UInt8] {
        var bytes = ByteBuffer()
        bytes.write(FrameHeader(length: payload.count, type: type, flags: flags, streamID: id))
        return Array(buffer: bytes) + payload
    }

    static func word(_ value: UInt32) -> [UInt8] {
        [24, 16, 8, 0].map { UInt8(truncatingIfNeeded: value >> $0) }
    }

    // MARK: The connection

    static func settings(_ settings: [(UInt16, UInt32)]) -> [UInt8] {
        let payload = settings.flatMap { id, value in
            [UInt8(truncatingIfNeeded: id >> 8), UInt8(truncatingIfNeeded: id)] + self.word(value)
        }
        return self.frame(FrameType.settings, 0, 0, payload)
    }

    static func settings(_ id: UInt16, _ value: UInt32) -> [UInt8] { self.settings([(id, value)]) }

    static func ping(_ content: [UInt8], ack: Bool = false) -> [UInt8] {
        self.frame(FrameType.ping, ack ? FrameFlag.ack : 0, 0, content)
    }

    static let goAway = Client.frame(FrameType.goAway, 0, 0, [UInt8](repeating: 0, count: 8))

    static func window(_ id: UInt32, _ increment: UInt32) -> [UInt8] {
        self.frame(FrameType.windowUpdate, 0, id, self.word(increment))
    }

    // MARK: Header blocks

    /// A header block of plain literals that touch no table. Written by hand, since an encoder
    /// refuses what a peer must not send.
    static func block(_ fields: [(String, String)]) -> ByteBuffer {
        var block = ByteBuffer()
        for (name, value) in fields {
            block.writeInteger(UInt8(0))
            for text in [name, value] {
                // RFC 7541 §5.1: what does not fit into seven bits follows in groups of seven.
                var rest = text.utf8.count - 127
                block.writeInteger(UInt8(min(text.utf8.count, 127)))
                while rest >= 128 {
                    block.writeInteger(UInt8(rest & 127 | 128))
                    rest >>= 7
                }
                if rest >= 0 { block.writeInteger(UInt8(rest)) }
                block.writeString(text)
            }
        }
        return block
    }

    static func headers(
        _ id: UInt32, _ fields: [(String, String)], ends: Bool = true
    ) -> [UInt8] {
        self.headers(id, block: Array(buffer: self.block(fields)), ends: ends)
    }

    /// - Parameter flags: More than END_HEADERS and END_STREAM.
    static func headers(
        _ id: UInt32, block: [UInt8], ends: Bool = true, flags: UInt8 = FrameFlag.endHeaders
    ) -> [UInt8] {
        self.frame(FrameType.headers, flags | (ends ? FrameFlag.endStream : 0), id, block)
    }

    static func continuation(_ id: UInt32, _ block: [UInt8], ends: Bool) -> [UInt8] {
        self.frame(FrameType.continuation, ends ? FrameFlag.endHeaders : 0, id, block)
    }

    static func fields(_ path: String = "/", _ more: [(String, String)] = []) -> [(String, String)]
    {
        [(":method", "POST"), (":scheme", "https"), (":path", path)] + more
    }

    static func request(
        _ id: UInt32, _ path: String = "/", _ more: [(String, String)] = [], ends: Bool = true
    ) -> [UInt8] {
        self.headers(id, self.fields(path, more), ends: ends)
    }

    // MARK: Streams

    static func data(_ id: UInt32, _ text: String = "", ends: Bool = false) -> [UInt8] {
        self.frame(FrameType.data, ends ? FrameFlag.endStream : 0, id, Array(text.utf8))
    }

    /// DATA of `count` letters.
    static func bulk(_ id: UInt32, _ count: Int) -> [UInt8] {
        self.data(id, String(repeating: "x", count: count))
    }

    static func padded(
        _ id: UInt32, _ text: String, _ padding: UInt8, ends: Bool = false
    ) -> [UInt8] {
        self.frame(
            FrameType.data, FrameFlag.padded | (ends ? FrameFlag.endStream : 0), id,
            [padding] + Array(text.utf8) + [UInt8](repeating: 0, count: Int(padding)))
    }

    static func reset(_ id: UInt32, _ code: HTTP2ErrorCode = .cancel) -> [UInt8] {
        self.frame(FrameType.rstStream, 0, id, self.word(code.rawValue))
    }
}
