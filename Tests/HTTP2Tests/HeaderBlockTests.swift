import NIOCore
import Testing

@testable import HTTP2

@Suite struct ContinuationTests {
    private static let block = Array(buffer: Client.block(Client.fields("/long")))

    private static func start(_ id: UInt32 = 1, ends: Bool = true) -> [UInt8] {
        Client.headers(id, block: Array(Self.block.prefix(3)), ends: ends, flags: 0)
    }

    private static let rest = Array(Self.block.dropFirst(3))

    @Test(arguments: [true, false])
    func aBlockInPieces(_ ends: Bool) {
        var peer = Peer()
        #expect(peer.feed(Self.start(ends: ends)) == [])
        #expect(peer.connection.streamCount == 0)
        #expect(
            peer.feed(
                Client.continuation(1, Array(Self.rest.prefix(1)), ends: false),
                Client.continuation(1, [], ends: false),
                Client.continuation(1, Array(Self.rest.dropFirst()), ends: true))
                == [.request(1, "/long", isComplete: ends)])
    }

    @Test func paddingAndPriorityAreOnlyInTheFirstPiece() {
        var peer = Peer()
        let first = [2] + [0, 0, 0, 0, 9] + Array(Self.block.prefix(3)) + [0, 0]
        #expect(
            peer.feed(
                Client.headers(
                    1, block: first, flags: FrameFlag.padded | FrameFlag.priority),
                Client.continuation(1, Self.rest, ends: true))
                == [.request(1, "/long", isComplete: true)])
    }

    @Test func trailersInPieces() {
        var peer = Peer()
        peer.open(1)
        let block = Array(buffer: Client.block([("a", "b")]))
        #expect(
            peer.feed(
                Client.headers(1, block: [], flags: 0), Client.continuation(1, block, ends: true))
                == [.body(1, "", isComplete: true)])
    }

    @Test(arguments: [
        Client.data(1, "a"), Client.request(1), Client.request(5), Client.settings([]),
        Client.ping([1, 2, 3, 4, 5, 6, 7, 8]), Client.reset(1), Client.window(0, 1),
        Client.goAway, Client.frame(0x2a), Client.frame(FrameType.priority, 0, 1, [0, 0, 0, 0, 0]),
        Client.continuation(5, [], ends: true),
    ])
    func nothingMayComeInBetween(_ frame: [UInt8]) {
        var peer = Peer()
        peer.open(1)
        #expect(peer.feed(Self.start(3), frame) == [.failed(.protocolError)])
    }

    @Test func afterTheBlockThereIsNoMoreOfIt() {
        var peer = Peer()
        #expect(
            peer.feed(
                Self.start(), Client.continuation(1, Self.rest, ends: true),
                Client.continuation(1, [], ends: true))
                == [.request(1, "/long", isComplete: true), .failed(.protocolError)])
    }

    @Test func sixteenPiecesAndNotOneMore() {
        var peer = Peer()
        _ = peer.feed(Self.start())
        for _ in 0..<15 { #expect(peer.feed(Client.continuation(1, [], ends: false)) == []) }
        #expect(
            peer.feed(Client.continuation(1, Self.rest, ends: true))
                == [.request(1, "/long", isComplete: true)])
        _ = peer.feed(Self.start(3))
        for _ in 0..<16 { #expect(peer.feed(Client.continuation(3, [], ends: false)) == []) }
        #expect(
            peer.feed(Client.continuation(3, Self.rest, ends: true)) == [.failed(.enhanceYourCalm)])
    }

    @Test func aBlockLargerThanTheListMayBe() {
        var limits = HTTP2Limits()
        limits.maxHeaderListBytes = 250
        var peer = Peer(limits)
        _ = peer.feed(Client.headers(1, block: [UInt8](repeating: 0x82, count: 500), flags: 0))
        #expect(
            peer.feed(Client.continuation(1, [UInt8](repeating: 0x82, count: 500), ends: false))
                == [])
        #expect(
            peer.feed(Client.continuation(1, [0x82], ends: false)) == [.failed(.enhanceYourCalm)])
        #expect(peer.connection.block == nil)
    }

    @Test func anUnfinishedBlockDoesNotKeepTheRead() {
        var peer = Peer()
        peer.open(1)
        _ = peer.feed(Client.bulk(1, 16_000), Self.start(3))
        #expect((peer.connection.block?.bytes.storageCapacity ?? 0) < 64)
    }
}

/// RFC 7541: our table has 4,096 bytes until the peer has heard that it has none.
@Suite struct HeaderTableTests {
    /// ":path: /t" as a literal that goes into the table.
    private static let literal: [UInt8] = [0x44, 2] + Array("/t".utf8)
    private static let added: [UInt8] = [0x83, 0x87] + Self.literal
    /// The newest entry of the dynamic table.
    private static let reference: [UInt8] = [0x83, 0x87, 0xbe]

    private static func greeted() -> Peer {
        var peer = Peer(settings: nil)
        _ = peer.feed(Client.preface, Client.settings([]))
        return peer
    }

    @Test func entriesAreUsableBeforeTheAcknowledgement() {
        var peer = Self.greeted()
        #expect(
            peer.feed(
                Client.headers(1, block: Self.added), Client.headers(3, block: Self.reference),
                Client.headers(5, block: [0x3f, 0xe1, 0x1f] + Self.reference))
                == [1, 3, 5].map { .request($0, "/t", isComplete: true) })
    }

    @Test func theTableIsKeptUpByRefusedAndBrokenRequests() {
        var limits = HTTP2Limits()
        limits.maxConcurrentStreams = 1
        var peer = Peer(limits, settings: nil)
        _ = peer.feed(Client.preface, Client.settings([]))
        _ = peer.sent()
        #expect(
            peer.feed(
                Client.request(1), Client.headers(3, block: Self.added),
                Client.headers(3, block: Self.added))
                == [.request(1, "/", isComplete: true)])
        #expect(peer.sent() == [.reset(3, .refusedStream)])
        peer.end(1)
        #expect(
            peer.feed(Client.headers(5, block: Self.reference))
                == [.request(5, "/t", isComplete: true)])
    }

    @Test func aTableLargerThanTheDefaultIsAMistake() {
        var peer = Self.greeted()
        #expect(
            peer.feed(Client.headers(1, block: [0x3f, 0xe2, 0x1f] + Self.added))
                == [.failed(.compressionError)])
    }

    @Test func entriesAreGoneAfterTheAcknowledgement() {
        var peer = Self.greeted()
        #expect(
            peer.feed(
                Client.headers(1, block: Self.added), Client.settingsAck,
                Client.headers(3, block: Self.reference))
                == [.request(1, "/t", isComplete: true), .failed(.compressionError)])
    }

    @Test func theUpdateToZeroIsTakenOnceThenAlways() {
        var peer = Self.greeted()
        #expect(
            peer.feed(
                Client.settingsAck, Client.headers(1, block: [0x20] + Self.added),
                Client.headers(3, block: Self.added), Client.headers(5, block: [0x20] + Self.added))
                == [1, 3, 5].map { .request($0, "/t", isComplete: true) })
    }

    @Test func nothingEntersATableOfZero() {
        var peer = Peer()
        #expect(
            peer.feed(
                Client.headers(1, block: Self.added), Client.headers(3, block: Self.reference))
                == [.request(1, "/t", isComplete: true), .failed(.compressionError)])
    }

    @Test func anUpdateAboveZeroAfterTheAcknowledgement() {
        var peer = Peer()
        #expect(
            peer.feed(Client.headers(1, block: [0x21] + Self.added)) == [.failed(.compressionError)]
        )
    }
}
