import NIOCore
import Testing

@testable import HTTP2

@Suite struct ResetTests {
    @Test func byThePeer() {
        var peer = Peer()
        peer.open(1, 3)
        #expect(
            peer.feed(Client.reset(1), Client.data(3, "a"))
                == [.reset(1), .body(3, "a", isComplete: false)])
        #expect(peer.sent() == [])
        #expect(peer.connection.streamCount == 1)
        peer.answer(1, "late")
        peer.end(1)
        #expect(peer.sent() == [])
        #expect(peer.feed(Client.reset(1)) == [])
    }

    @Test func byUs() {
        var peer = Peer()
        peer.open(1)
        peer.connection.reset(1, .internalError)
        peer.connection.reset(1, .cancel)
        peer.connection.reset(7, .cancel)
        #expect(peer.sent() == [.reset(1, .internalError)])
        #expect(
            peer.feed(
                Client.data(1, "late"), Client.data(1, ends: true), Client.window(1, 1),
                Client.headers(1, [("a", "b")]), Client.reset(1)) == [])
        #expect(peer.sent() == [])
    }

    @Test func dataAfterTheEnd() {
        var peer = Peer()
        peer.open(3)
        _ = peer.feed(Client.request(5))
        #expect(
            peer.feed(Client.data(5, "a"), Client.data(3, "b"))
                == [.reset(5), .body(3, "b", isComplete: false)])
        #expect(peer.sent() == [.reset(5, .streamClosed)])
    }

    @Test func dataOnAStreamThatIsAnswered() {
        var peer = Peer()
        _ = peer.feed(Client.request(1))
        peer.end(1)
        _ = peer.sent()
        #expect(peer.feed(Client.data(1, "a"), Client.data(1, "b")) == [])
        #expect(peer.sent() == [.reset(1, .streamClosed)])
    }

    @Test func streamsOverTheLimitAreRefusedAndTheirFramesDropped() {
        var limits = HTTP2Limits()
        limits.maxConcurrentStreams = 2
        var peer = Peer(limits)
        peer.open(1, 3)
        #expect(
            peer.feed(
                Client.request(5, ends: false), Client.data(5, "a"), Client.window(5, 9),
                Client.data(5, ends: true), Client.reset(5), Client.data(1, "b"))
                == [.body(1, "b", isComplete: false)])
        #expect(peer.sent() == [.reset(5, .refusedStream)])
        #expect(peer.connection.streamCount == 2)
        peer.end(1)
        #expect(peer.feed(Client.request(7)) == [.request(7, "/", isComplete: true)])
    }

    @Test func onlyTheLastSixtyFourAreRemembered() {
        var peer = Peer()
        for index in 0..<70 {
            let id = UInt32(index * 2 + 1)
            peer.open(id)
            peer.connection.reset(id, .cancel)
        }
        _ = peer.sent()
        // The first six are forgotten: their frames are answered, once.
        #expect(peer.feed(Client.data(13, "a")) == [])
        #expect(peer.sent() == [])
        #expect(peer.feed(Client.data(11, "a"), Client.data(11, "a")) == [])
        #expect(peer.sent() == [.reset(11, .streamClosed)])
        // Which made the oldest of the others be forgotten.
        #expect(peer.feed(Client.headers(13, [("a", "b")])) == [.failed(.streamClosed)])
    }
}

@Suite struct FloodTests {
    @Test func withdrawnRequests() {
        var limits = HTTP2Limits()
        limits.resetAllowance = 3
        var peer = Peer(limits)
        for id: UInt32 in [1, 3, 5] {
            #expect(peer.feed(Client.request(id), Client.reset(id)).last == .reset(id))
        }
        // An answer is worth one more.
        _ = peer.feed(Client.request(7))
        peer.end(7)
        _ = peer.sent()
        #expect(peer.feed(Client.request(9), Client.reset(9)).last == .reset(9))
        #expect(
            peer.feed(Client.request(11), Client.reset(11))
                == [.request(11, "/", isComplete: true), .failed(.enhanceYourCalm)])
        #expect(peer.sent() == [.goAway(11, .enhanceYourCalm)])
    }

    @Test func answersAreNotSavedUp() {
        var limits = HTTP2Limits()
        limits.resetAllowance = 0
        var peer = Peer(limits)
        _ = peer.feed(Client.request(1))
        peer.end(1)
        #expect(peer.feed(Client.request(3), Client.reset(3)).last == .failed(.enhanceYourCalm))
    }

    @Test func aRequestWhoseAnswerHasBegunIsNotWithdrawn() {
        var limits = HTTP2Limits()
        limits.resetAllowance = 0
        var peer = Peer(limits)
        _ = peer.feed(Client.request(1), Client.request(3))
        peer.connection.send(
            block: Client.block([(":status", "200")]), on: 1, endsStream: false)
        peer.answer(3, "a")
        #expect(peer.feed(Client.reset(1), Client.reset(3)) == [.reset(1), .reset(3)])
    }

    /// A mistake made on purpose must not be cheaper than RST_STREAM.
    @Test(arguments: [
        [Client.window(1, 0)], [Client.window(1, 0x7fff_ffff)], [Client.data(1, "too much")],
        [Client.headers(1, [("a", "b")], ends: false)],
        [Client.data(1, ends: true), Client.data(1, "late")],
        [Client.headers(1, [("A", "b")])],
    ])
    func requestsTheyMakeUsReset(_ frames: [[UInt8]]) {
        var limits = HTTP2Limits()
        limits.resetAllowance = 0
        var peer = Peer(limits)
        _ = peer.feed(Client.request(1, "/", [("content-length", "0")], ends: false))
        #expect(peer.feed(frames.flatMap { $0 }).last == .failed(.enhanceYourCalm))
        #expect(peer.sent().last == .goAway(1, .enhanceYourCalm))
    }

    @Test func requestsWeNeverAcceptedAreNotWithdrawn() {
        var limits = HTTP2Limits()
        limits.resetAllowance = 0
        limits.maxConcurrentStreams = 1
        var peer = Peer(limits)
        peer.open(1)
        for id in [3, 5, 7] as [UInt32] {
            #expect(peer.feed(Client.request(id), Client.reset(id)) == [])
        }
        peer.end(1)
        #expect(peer.feed(Client.headers(9, [])) == [])
    }

    /// DATA in between does not make them cheaper: each may touch all streams.
    @Test func settingsOverAndOver() {
        var peer = Peer()
        peer.open(1, 3)
        for index in 0..<99 {
            let frame = Client.settings(SettingID.initialWindowSize, UInt32(index % 2))
            #expect(peer.feed(frame, Client.data(1, "a")).count == 1)
        }
        peer.end(3)
        #expect(peer.feed(Client.settings([])) == [])
        #expect(peer.feed(Client.settings([])) == [.failed(.enhanceYourCalm)])
    }

    @Test(arguments: [Client.data(1, "a"), Client.data(1, ends: true)])
    func framesOnDeadStreamsForgiveNothing(_ frame: [UInt8]) {
        var peer = Self.peer()
        for _ in 0..<1_000 { _ = peer.feed(Client.frame(0x2a)) }
        #expect(peer.feed(frame) == [])
        #expect(peer.feed(Client.frame(0x2a)) == [.failed(.enhanceYourCalm)])
    }

    /// Frames that carry nothing, each on its own or mixed.
    private static let empty: [[UInt8]] = [
        Client.data(3), Client.padded(3, "", 5),
        Client.frame(FrameType.priority, 0, 3, [0, 0, 0, 0, 0]), Client.frame(0x2a),
        Client.reset(1), Client.settingsAck,
    ]

    private static func peer() -> Peer {
        var peer = Peer()
        peer.open(1, 3)
        peer.connection.reset(1, .cancel)
        // The acknowledgement in the greeting is one.
        peer.connection.emptyFrames = 0
        return peer
    }

    @Test(arguments: empty)
    func framesThatCarryNothing(_ frame: [UInt8]) {
        var peer = Self.peer()
        for _ in 0..<1_000 { #expect(peer.feed(frame) == []) }
        #expect(peer.feed(frame) == [.failed(.enhanceYourCalm)])
    }

    @Test func allKindsCountTogether() {
        var peer = Self.peer()
        for index in 0..<1_000 { _ = peer.feed(Self.empty[index % Self.empty.count]) }
        #expect(peer.feed(Client.frame(0x2a)) == [.failed(.enhanceYourCalm)])
    }

    @Test(arguments: [Client.data(3, "a"), Client.data(3, ends: true), Client.request(5)])
    func whatCarriesSomethingForgivesThem(_ frame: [UInt8]) {
        var peer = Self.peer()
        for _ in 0..<1_000 { _ = peer.feed(Client.frame(0x2a)) }
        #expect(peer.feed(frame).count == 1)
        for _ in 0..<1_000 { #expect(peer.feed(Client.frame(0x2a)) == []) }
        #expect(peer.feed(Client.frame(0x2a)) == [.failed(.enhanceYourCalm)])
    }
}
