import NIOCore
import Testing

@testable import HTTP2

/// How the bytes are cut into reads must not matter.
@Suite struct SplitInputTests {
    private static let conversation: [UInt8] = [
        Client.preface,
        Client.settings([(SettingID.initialWindowSize, 100), (SettingID.headerTableSize, 0)]),
        Client.settingsAck,
        Client.headers(1, block: Array(buffer: Client.block(Client.fields("/a"))), ends: false),
        Client.data(1, "hello"), Client.padded(1, "world", 3, ends: true),
        Client.ping([1, 2, 3, 4, 5, 6, 7, 8]),
        Client.headers(
            3, block: Array(Array(buffer: Client.block(Client.fields("/b"))).prefix(4)), flags: 0),
        Client.continuation(
            3, Array(Array(buffer: Client.block(Client.fields("/b"))).dropFirst(4)), ends: true),
        Client.window(3, 5), Client.reset(3), Client.window(0, 0),
    ].flatMap { $0 }

    private static let events: [Seen] = [
        .request(1, "/a", isComplete: false), .body(1, "hello", isComplete: false),
        .body(1, "world", isComplete: true), .request(3, "/b", isComplete: true), .reset(3),
        .failed(.protocolError),
    ]

    @Test func inOnePiece() {
        var peer = Peer(settings: nil)
        #expect(peer.feed(Self.conversation) == Self.events)
    }

    @Test func cutAtEveryByte() {
        var whole = Peer(settings: nil)
        _ = whole.feed(Self.conversation)
        let output = whole.sent()
        for index in 0...Self.conversation.count {
            var peer = Peer(settings: nil)
            var seen = peer.feed(Array(Self.conversation.prefix(index)))
            seen += peer.feed(Array(Self.conversation.dropFirst(index)))
            #expect(seen == Self.events, "cut at \(index)")
            #expect(peer.sent() == output, "cut at \(index)")
        }
    }

    @Test func byteByByte() {
        var peer = Peer(settings: nil)
        var seen: [Seen] = []
        for byte in Self.conversation { seen += peer.feed([byte]) }
        #expect(seen == Self.events)
    }

    @Test func severalReadsBeforeAnyoneLooks() {
        var peer = Peer(settings: nil)
        for byte in Self.conversation { peer.connection.receive(ByteBuffer(bytes: [byte])) }
        #expect(peer.events() == Self.events)
    }

    @Test func aLargeReadIsNotKept() {
        var peer = Peer()
        peer.open(1)
        _ = peer.feed(Client.bulk(1, 16_000), Client.bulk(1, 16_000), [0, 0, 5])
        #expect(peer.connection.input.readableBytes == 3)
        #expect(peer.connection.input.storageCapacity < 64)
        _ = peer.feed([0, 0, 0, 0, 0, 1], Array("abcde".utf8))
        #expect(peer.connection.input.storageCapacity == 0)
    }

    @Test func framesThatNeverEndWithAReadDoNotPileUp() {
        var peer = Peer()
        peer.open(1)
        let frame = Client.padded(1, "", 255)
        var bytes: [UInt8] = []
        for _ in 0..<900 { bytes += frame }
        var largest = 0
        for start in stride(from: 0, to: bytes.count, by: 300) {
            _ = peer.feed(Array(bytes[start..<min(start + 300, bytes.count)]))
            largest = max(largest, peer.connection.input.storageCapacity)
        }
        #expect(largest <= 2048)
    }
}
