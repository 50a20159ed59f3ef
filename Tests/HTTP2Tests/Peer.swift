import NIOCore

@testable import HTTP2

/// What the connection said, in a form that can be compared.
enum Seen: Hashable {
    case request(UInt32, String, isComplete: Bool)
    case body(UInt32, String, isComplete: Bool)
    case reset(UInt32)
    case drained(UInt32)
    case failed(HTTP2ErrorCode)

    init(_ event: HTTP2ServerConnection.Event) {
        switch event {
        case .request(let id, let head, let isComplete):
            self = .request(id, head.path, isComplete: isComplete)
        case .body(let id, let bytes, let isComplete):
            self = .body(id, String(buffer: bytes), isComplete: isComplete)
        case .reset(let id): self = .reset(id)
        case .drained(let id): self = .drained(id)
        case .failed(let error): self = .failed(error.code)
        }
    }
}

/// A client that builds its frames by hand and reads ours.
struct Peer {
    var connection: HTTP2ServerConnection

    /// - Parameter settings: What the client's first SETTINGS frame says; nil: it has said nothing.
    init(_ limits: HTTP2Limits = HTTP2Limits(), settings: [(UInt16, UInt32)]? = []) {
        self.connection = HTTP2ServerConnection(.init(limits: limits))
        guard let settings else { return }
        _ = self.feed(Client.preface, Client.settings(settings), Client.settingsAck)
        _ = self.sent()
    }

    /// Hands over bytes in one piece and collects what they mean.
    mutating func feed(_ frames: [UInt8]...) -> [Seen] {
        self.connection.receive(ByteBuffer(bytes: frames.joined()))
        return self.events()
    }

    mutating func events() -> [Seen] {
        var seen: [Seen] = []
        while let event = self.connection.next() { seen.append(Seen(event)) }
        return seen
    }

    /// What the connection wrote since the last call.
    mutating func sent() -> [Frame] {
        Frame.all(in: self.connection.takeOutput() ?? ByteBuffer())
    }

    /// Opens streams with requests whose bodies go on.
    mutating func open(_ ids: UInt32...) {
        for id in ids { _ = self.feed(Client.request(id, ends: false)) }
    }

    mutating func answer(_ id: UInt32, _ text: String) {
        self.connection.send(ByteBuffer(string: text), on: id)
    }

    mutating func end(_ id: UInt32, _ fields: [(String, String)] = [("grpc-status", "0")]) {
        self.connection.send(block: Client.block(fields), on: id, endsStream: true)
    }
}

/// One frame of ours.
struct Frame: Hashable {
    var type: UInt8
    var flags: UInt8 = 0
    var id: UInt32 = 0
    var payload: [UInt8] = []

    var text: String { String(decoding: self.payload, as: UTF8.self) }
    var endsHeaders: Bool { self.flags & FrameFlag.endHeaders != 0 }
    var endsStream: Bool { self.flags & FrameFlag.endStream != 0 }

    static func data(_ id: UInt32, _ text: String) -> Frame {
        Frame(type: FrameType.data, id: id, payload: Array(text.utf8))
    }

    static func reset(_ id: UInt32, _ code: HTTP2ErrorCode) -> Frame {
        Frame(type: FrameType.rstStream, id: id, payload: Client.word(code.rawValue))
    }

    static func window(_ id: UInt32, _ increment: UInt32) -> Frame {
        Frame(type: FrameType.windowUpdate, id: id, payload: Client.word(increment))
    }

    static func headers(
        _ id: UInt32, _ fields: [(String, String)] = [("grpc-status", "0")], ends: Bool = true,
        before: [UInt8] = []
    ) -> Frame {
        Frame(
            type: FrameType.headers,
            flags: FrameFlag.endHeaders | (ends ? FrameFlag.endStream : 0), id: id,
            payload: before + Array(buffer: Client.block(fields)))
    }

    /// Without the debug data, which is for people.
    static func goAway(_ last: UInt32, _ code: HTTP2ErrorCode) -> Frame {
        Frame(type: FrameType.goAway, payload: Client.word(last) + Client.word(code.rawValue))
    }

    static func ping(_ content: [UInt8], ack: Bool = true) -> Frame {
        Frame(type: FrameType.ping, flags: ack ? FrameFlag.ack : 0, payload: content)
    }

    static let settingsAck = Frame(type: FrameType.settings, flags: FrameFlag.ack)

    /// Bytes that are not whole frames come out as a frame of type 255.
    static func all(in bytes: ByteBuffer) -> [Frame] {
        var bytes = bytes
        var frames: [Frame] = []
        while bytes.readableBytes > 0 {
            guard let header = FrameHeader(peeking: bytes),
                bytes.readSlice(length: FrameHeader.size) != nil,
                var payload = bytes.readBytes(length: header.length)
            else { return frames + [Frame(type: 255, payload: Array(buffer: bytes))] }
            if header.type == FrameType.goAway { payload = Array(payload.prefix(8)) }
            frames.append(
                Frame(
                    type: header.type, flags: header.flags, id: header.streamID, payload: payload))
        }
        return frames
    }
}

extension [UInt8] {
    init(buffer: ByteBuffer) { self = Array(buffer.readableBytesView) }
}
