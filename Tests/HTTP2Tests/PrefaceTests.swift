import NIOCore
import Testing

@testable import HTTP2

@Suite struct PrefaceTests {
    @Test func ourSettingsComeFirstAndSayTheLimits() {
        var limits = HTTP2Limits()
        limits.maxConcurrentStreams = 7
        limits.streamWindow = 70_000
        limits.connectionWindow = 100_000
        limits.maxHeaderListBytes = 9_000
        var peer = Peer(limits, settings: nil)
        let payload: [UInt8] =
            [0, 1] + Client.word(0) + [0, 3] + Client.word(7) + [0, 4] + Client.word(70_000)
            + [0, 6] + Client.word(9_000)
        #expect(
            peer.sent() == [
                Frame(type: FrameType.settings, payload: payload), .window(0, 100_000 - 65_535),
            ])
        #expect(peer.connection.takeOutput() == nil)
    }

    @Test func theDefaultConnectionWindowNeedsNoWord() {
        var limits = HTTP2Limits()
        limits.connectionWindow = 65_535
        var peer = Peer(limits, settings: nil)
        #expect(peer.sent().map(\.type) == [FrameType.settings])
    }

    @Test func itIsEstablishedWithTheFirstSettings() {
        var peer = Peer(settings: nil)
        _ = peer.sent()
        #expect(peer.feed(Client.preface) == [])
        #expect(!peer.connection.isEstablished)
        #expect(peer.feed(Client.settings([])) == [])
        #expect(peer.connection.isEstablished)
        #expect(peer.sent() == [.settingsAck])
    }

    @Test(arguments: 0..<24)
    func eachByteOfThePrefaceMatters(_ index: Int) {
        var peer = Peer(settings: nil)
        _ = peer.sent()
        var preface = Client.preface
        preface[index] ^= 1
        #expect(peer.feed(preface) == [.failed(.protocolError)])
        #expect(peer.sent() == [.goAway(0, .protocolError)])
        #expect(!peer.connection.isEstablished)
        #expect(peer.connection.isFinished)
    }

    @Test func aWrongFirstByteIsEnough() {
        var peer = Peer(settings: nil)
        #expect(peer.feed(Array("G".utf8)) == [.failed(.protocolError)])
    }

    @Test(arguments: [
        Client.settingsAck, Client.ping([1, 2, 3, 4, 5, 6, 7, 8]), Client.request(1),
        Client.window(0, 1),
    ])
    func theFirstFrameMustBeSettings(_ frame: [UInt8]) {
        var peer = Peer(settings: nil)
        #expect(peer.feed(Client.preface, frame) == [.failed(.protocolError)])
    }

    @Test func nothingFollowsAFailure() {
        var peer = Peer()
        peer.open(1)
        #expect(
            peer.feed(Client.window(0, 0), Client.request(3), Client.data(1, "a"))
                == [.failed(.protocolError)])
        #expect(peer.sent() == [.goAway(1, .protocolError)])
        #expect(peer.feed(Client.request(5)) == [])
        peer.answer(1, "late")
        peer.end(1)
        peer.connection.reset(1, .cancel)
        peer.connection.consumed(40_000, on: 1)
        peer.connection.beginClosing()
        peer.connection.close()
        #expect(peer.sent() == [])
        #expect(peer.connection.streamCount == 0)
        #expect(peer.connection.isFinished)
    }

    @Test func theReasonGoesIntoTheGoodbyeAndIsCutOff() {
        var peer = Peer()
        peer.connection.fail(
            HTTP2ConnectionError(.internalError, String(repeating: "r", count: 999)))
        let goodbye = peer.connection.takeOutput()
        #expect(goodbye?.readableBytes == 9 + 8 + 256)
        #expect(HTTP2ConnectionError(.internalError, "why").description == "HTTP/2 error 2: why")
    }
}

@Suite struct SettingsTests {
    @Test(
        arguments: [
            (SettingID.enablePush, 2, HTTP2ErrorCode.protocolError),
            (SettingID.initialWindowSize, 0x8000_0000, .flowControlError),
            (SettingID.maxFrameSize, 16_383, .protocolError),
            (SettingID.maxFrameSize, 16_777_216, .protocolError),
        ] as [(UInt16, UInt32, HTTP2ErrorCode)])
    func valuesOutOfRange(_ id: UInt16, _ value: UInt32, _ code: HTTP2ErrorCode) {
        var peer = Peer()
        #expect(peer.feed(Client.settings(id, value)) == [.failed(code)])
        #expect(peer.sent() == [.goAway(0, code)])
    }

    @Test(
        arguments: [
            (SettingID.enablePush, 0), (SettingID.enablePush, 1),
            (SettingID.initialWindowSize, 0x7fff_ffff), (SettingID.initialWindowSize, 0),
            (SettingID.maxFrameSize, 16_384), (SettingID.maxFrameSize, 16_777_215),
            (SettingID.maxConcurrentStreams, 0), (SettingID.maxHeaderListSize, 0),
            (0x99, 0xffff_ffff),
        ] as [(UInt16, UInt32)])
    func valuesInRangeAreAcknowledged(_ id: UInt16, _ value: UInt32) {
        var peer = Peer()
        #expect(peer.feed(Client.settings(id, value)) == [])
        #expect(peer.sent() == [.settingsAck])
    }

    @Test(arguments: [
        (Client.frame(FrameType.settings, 0, 1), HTTP2ErrorCode.protocolError),
        (Client.frame(FrameType.settings, 0, 0, [0, 1, 0, 0, 0]), .frameSizeError),
        (Client.frame(FrameType.settings, FrameFlag.ack, 0, [0, 1, 0, 0, 0, 0]), .frameSizeError),
        (Client.frame(FrameType.settings, FrameFlag.ack, 3), .protocolError),
    ])
    func malformedFrames(_ frame: [UInt8], _ code: HTTP2ErrorCode) {
        var peer = Peer()
        #expect(peer.feed(frame) == [.failed(code)])
    }

    @Test func theLastValueOfAFrameWins() {
        var peer = Peer()
        _ = peer.feed(
            Client.settings([
                (SettingID.initialWindowSize, 3), (SettingID.initialWindowSize, 5),
            ]))
        peer.open(1)
        _ = peer.sent()
        peer.answer(1, "abcdefgh")
        #expect(peer.sent() == [.data(1, "abcde")])
    }
}

@Suite struct ControlFrameTests {
    private static let eight: [UInt8] = [1, 2, 3, 4, 5, 6, 7, 8]

    @Test func pingsAreAnsweredAndTheirAnswersAreNot() {
        var peer = Peer()
        #expect(peer.feed(Client.ping(Self.eight), Client.ping(Self.eight, ack: true)) == [])
        #expect(peer.sent() == [.ping(Self.eight)])
    }

    @Test(arguments: [
        (Client.frame(FrameType.ping, 0, 1, Self.eight), HTTP2ErrorCode.protocolError),
        (Client.frame(FrameType.ping, 0, 0, [1, 2, 3, 4, 5, 6, 7]), .frameSizeError),
        (Client.frame(FrameType.ping, 0, 0, Self.eight + [9]), .frameSizeError),
        (Client.frame(FrameType.goAway, 0, 1, Self.eight), .protocolError),
        (Client.frame(FrameType.goAway, 0, 0, [0, 0, 0, 0, 0, 0, 0]), .frameSizeError),
        (Client.frame(FrameType.priority, 0, 0, [0, 0, 0, 0, 0]), .protocolError),
        (Client.frame(FrameType.priority, 0, 1, [0, 0, 0, 0]), .frameSizeError),
        (Client.frame(FrameType.windowUpdate, 0, 0, [0, 0, 1]), .frameSizeError),
        (Client.frame(FrameType.windowUpdate, 0, 0, [0, 0, 0, 0, 1]), .frameSizeError),
        (Client.frame(FrameType.rstStream, 0, 1, [0, 0, 0]), .frameSizeError),
        (Client.frame(FrameType.rstStream, 0, 0, [0, 0, 0, 8]), .protocolError),
        (
            Client.frame(FrameType.pushPromise, FrameFlag.endHeaders, 1, [0, 0, 0, 2]),
            .protocolError
        ),
        (Client.frame(FrameType.continuation, FrameFlag.endHeaders, 1), .protocolError),
        (Client.window(0, 0), .protocolError),
        (Client.data(0, "a"), .protocolError),
        (Client.bulk(1, 16_385), .frameSizeError),
    ])
    func whatEndsTheConnection(_ frame: [UInt8], _ code: HTTP2ErrorCode) {
        var peer = Peer()
        peer.open(1)
        _ = peer.sent()
        #expect(peer.feed(frame) == [.failed(code)])
        #expect(peer.sent() == [.goAway(1, code)])
    }

    @Test(arguments: [5, 2, 4] as [UInt32])
    func framesOnIdleStreams(_ id: UInt32) {
        for frame in [Client.data(id, "a"), Client.reset(id), Client.window(id, 1)] {
            var peer = Peer()
            peer.open(3)
            _ = peer.sent()
            #expect(peer.feed(frame) == [.failed(.protocolError)])
            #expect(peer.sent() == [.goAway(3, .protocolError)])
        }
    }

    @Test func whatIsReadOver() {
        var peer = Peer()
        #expect(
            peer.feed(
                Client.frame(FrameType.priority, 0, 9, [0, 0, 0, 1, 16]),
                Client.frame(0x2a, 0xff, 5, [1, 2, 3]), Client.frame(0x10, 0, 0),
                Client.request(1)) == [.request(1, "/", isComplete: true)])
        #expect(peer.sent() == [])
    }

    @Test func theReservedBitOfAStreamNumberIsIgnored() {
        var peer = Peer()
        #expect(peer.feed(Client.request(0x8000_0001)) == [.request(1, "/", isComplete: true)])
        #expect(
            peer.feed(Client.frame(FrameType.windowUpdate, 0, 1, [0x80, 0, 0, 5])) == [])
    }

    @Test func aFrameOfTheLargestSizeIsTaken() {
        var peer = Peer()
        peer.open(1)
        #expect(
            peer.feed(Client.bulk(1, 16_384))
                == [.body(1, String(repeating: "x", count: 16_384), isComplete: false)])
    }

    @Test func aHeaderOfATooLargeFrameIsEnough() {
        var peer = Peer()
        #expect(peer.feed(Array(Client.bulk(1, 16_385).prefix(9))) == [.failed(.frameSizeError)])
    }
}
