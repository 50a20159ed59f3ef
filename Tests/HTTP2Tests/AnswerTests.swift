import NIOCore
import Testing

@testable import HTTP2

@Suite struct AnswerTests {
    private static let status = [(":status", "200")]

    @Test func headBodyAndEnd() {
        var peer = Peer()
        _ = peer.feed(Client.request(1))
        peer.connection.send(block: Client.block(Self.status), on: 1, endsStream: false)
        peer.answer(1, "body")
        peer.end(1)
        #expect(
            peer.sent() == [
                .headers(1, Self.status, ends: false), .data(1, "body"), .headers(1),
            ])
        #expect(peer.connection.streamCount == 0)
        peer.end(1)
        #expect(peer.sent() == [])
    }

    @Test func aPeerThatStillSendsIsToldToStop() {
        var peer = Peer()
        peer.open(1)
        peer.end(1, Self.status)
        #expect(peer.sent() == [.headers(1, Self.status), .reset(1, .noError)])
        #expect(peer.feed(Client.data(1, "more", ends: true)) == [])
        #expect(peer.sent() == [])
    }

    @Test func streamsWeDoNotKnow() {
        var peer = Peer()
        peer.answer(9, "x")
        peer.end(9)
        #expect(!peer.connection.isBlocked(9))
        #expect(peer.sent() == [])
    }

    @Test func anEmptyBlock() {
        var peer = Peer()
        peer.open(1)
        peer.connection.send(block: ByteBuffer(), on: 1, endsStream: false)
        #expect(
            peer.sent() == [Frame(type: FrameType.headers, flags: FrameFlag.endHeaders, id: 1)])
    }

    @Test(arguments: [16_384, 16_385, 40_000])
    func blocksLargerThanAFrame(_ count: Int) {
        var peer = Peer()
        _ = peer.feed(Client.request(1))
        let block = (0..<count).map { UInt8(truncatingIfNeeded: $0) }
        peer.connection.send(block: ByteBuffer(bytes: block), on: 1, endsStream: true)
        let sent = peer.sent()
        #expect(sent.flatMap(\.payload) == block)
        #expect(sent.first?.type == FrameType.headers)
        #expect(sent.first?.endsStream == true)
        #expect(sent.dropFirst().allSatisfy { $0.type == FrameType.continuation })
        #expect(sent.dropFirst().allSatisfy { !$0.endsStream })
        #expect(sent.count == (count + 16_383) / 16_384)
        #expect(sent.allSatisfy { $0.payload.count <= 16_384 && $0.id == 1 })
        #expect(sent.map(\.endsHeaders) == sent.indices.map { $0 == sent.count - 1 })
    }

    @Test func aSmallTableOfThePeersIsAcknowledgedOnce() {
        var peer = Peer()
        peer.open(1, 3)
        peer.connection.send(block: Client.block(Self.status), on: 1, endsStream: false)
        #expect(peer.sent() == [.headers(1, Self.status, ends: false)])
        _ = peer.feed(Client.settings(SettingID.headerTableSize, 4_095))
        peer.connection.send(block: Client.block(Self.status), on: 3, endsStream: false)
        peer.end(3)
        #expect(
            peer.sent() == [
                .settingsAck, .headers(3, Self.status, ends: false, before: [0x20]),
                .headers(3), .reset(3, .noError),
            ])
        // Again when it is said again.
        _ = peer.feed(Client.settings(SettingID.headerTableSize, 0))
        peer.end(1)
        #expect(
            peer.sent() == [.settingsAck, .headers(1, before: [0x20]), .reset(1, .noError)])
    }

    @Test func aTableOfTheDefaultSizeNeedsNoWord() {
        var peer = Peer()
        _ = peer.feed(Client.settings(SettingID.headerTableSize, 4_096), Client.request(1))
        peer.end(1)
        #expect(peer.sent() == [.settingsAck, .headers(1)])
    }

    @Test func theAcknowledgementOfATableGoesInFrontOfBlockedTrailers() {
        var peer = Peer(settings: [(SettingID.initialWindowSize, 1)])
        _ = peer.feed(Client.request(1), Client.settings(SettingID.headerTableSize, 0))
        peer.answer(1, "ab")
        peer.end(1)
        _ = peer.sent()
        #expect(peer.feed(Client.window(1, 1)) == [])
        #expect(peer.sent() == [.data(1, "b"), .headers(1, before: [0x20])])
    }

    @Test func nothingFollowsTheEnd() {
        var peer = Peer(settings: [(SettingID.initialWindowSize, 1)])
        _ = peer.feed(Client.request(1))
        peer.answer(1, "ab")
        peer.end(1)
        peer.answer(1, "cd")
        peer.connection.send(block: Client.block(Self.status), on: 1, endsStream: false)
        peer.end(1, Self.status)
        #expect(peer.feed(Client.window(1, 9)) == [])
        #expect(peer.sent() == [.data(1, "a"), .data(1, "b"), .headers(1)])
        #expect(peer.connection.pendingBytes == 0)
    }

    @Test func outputIsTakenOnce() {
        var peer = Peer()
        _ = peer.feed(Client.ping([1, 2, 3, 4, 5, 6, 7, 8]))
        #expect(peer.connection.takeOutput()?.readableBytes == 17)
        #expect(peer.connection.takeOutput() == nil)
    }
}
