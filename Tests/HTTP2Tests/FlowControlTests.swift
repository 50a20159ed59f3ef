import NIOCore
import Testing

@testable import HTTP2

/// What the peer sends, and what it is given back.
@Suite struct ReceiveWindowTests {
    private static func limits() -> HTTP2Limits {
        var limits = HTTP2Limits()
        limits.connectionWindow = 200_000
        return limits
    }

    @Test func aStreamIsGivenBackHalfAWindowAtATime() {
        var peer = Peer()
        peer.open(1)
        _ = peer.feed(Client.bulk(1, 16_384), Client.bulk(1, 16_384))
        #expect(peer.sent() == [])
        peer.connection.consumed(16_384, on: 1)
        peer.connection.consumed(16_383, on: 1)
        #expect(peer.sent() == [])
        peer.connection.consumed(1, on: 1)
        #expect(peer.sent() == [.window(1, 32_768)])
        peer.connection.consumed(1, on: 1)
        #expect(peer.sent() == [])
    }

    @Test func moreThanTheStreamsWindow() {
        var peer = Peer()
        peer.open(1, 3)
        for _ in 0..<3 { _ = peer.feed(Client.bulk(1, 16_384)) }
        #expect(peer.feed(Client.bulk(1, 16_383)).count == 1)
        #expect(
            peer.feed(Client.data(1, "x"), Client.data(3, "y"))
                == [.reset(1), .body(3, "y", isComplete: false)])
        #expect(peer.sent() == [.reset(1, .flowControlError)])
    }

    @Test func whatWasGivenBackMayBeUsed() {
        var peer = Peer()
        peer.open(1)
        for _ in 0..<20 {
            #expect(peer.feed(Client.bulk(1, 16_384), Client.bulk(1, 16_384)).count == 2)
            peer.connection.consumed(32_768, on: 1)
        }
        let sent = peer.sent()
        #expect(sent.filter { $0 == .window(1, 32_768) }.count == 20)
        #expect(sent.allSatisfy { $0.type == FrameType.windowUpdate })
    }

    @Test func theConnectionIsGivenBackWithoutBeingAsked() {
        var peer = Peer(Self.limits())
        peer.open(1, 3)
        for _ in 0..<3 { _ = peer.feed(Client.bulk(1, 16_384), Client.bulk(3, 16_384)) }
        #expect(peer.sent() == [])
        _ = peer.feed(Client.bulk(3, 16_383))
        #expect(peer.sent() == [.window(0, 7 * 16_384 - 1)])
    }

    @Test func moreThanTheConnectionsWindow() {
        var peer = Peer(Self.limits())
        peer.open(1)
        // Only a window that is smaller than the largest frame can be overrun: it is opened again
        // as soon as half of it is used.
        peer.connection.receiveWindow = 10
        #expect(peer.feed(Client.bulk(1, 11)) == [.failed(.flowControlError)])
        #expect(peer.sent() == [.goAway(1, .flowControlError)])
    }

    @Test func paddingCountsAndIsGivenBack() {
        var peer = Peer()
        peer.open(1)
        var used = 0
        while used < 32_768 {
            #expect(peer.feed(Client.padded(1, "ab", 255)) == [.body(1, "ab", isComplete: false)])
            #expect(peer.sent() == [])
            used += 258
            let credit = used / 258 * 256
            if credit + 256 >= 32_768 { break }
        }
        _ = peer.feed(Client.padded(1, "ab", 255))
        #expect(peer.sent() == [.window(1, 32_768)])
    }

    @Test func aFrameOfPaddingAloneCarriesNothing() {
        var peer = Peer()
        peer.open(1)
        #expect(peer.feed(Client.padded(1, "", 3)) == [])
        #expect(peer.feed(Client.padded(1, "", 0)) == [])
        #expect(peer.feed(Client.padded(1, "", 3, ends: true)) == [.body(1, "", isComplete: true)])
    }

    @Test(arguments: [[], [1], [5, 0, 0, 0, 0]] as [[UInt8]])
    func paddingLongerThanTheFrame(_ payload: [UInt8]) {
        var peer = Peer()
        peer.open(1)
        #expect(
            peer.feed(Client.frame(FrameType.data, FrameFlag.padded, 1, payload))
                == [.failed(.protocolError)])
    }

    @Test func deadStreamsAreGivenBackToTheConnection() {
        var peer = Peer(Self.limits())
        peer.open(1)
        peer.connection.reset(1, .cancel)
        #expect(peer.sent() == [.reset(1, .cancel)])
        for _ in 0..<7 { #expect(peer.feed(Client.bulk(1, 16_384)) == []) }
        #expect(peer.sent() == [.window(0, 7 * 16_384)])
    }

    @Test func nothingIsGivenBackToAStreamThatHasEnded() {
        var peer = Peer()
        peer.open(1)
        _ = peer.feed(Client.bulk(1, 16_384), Client.bulk(1, 16_384), Client.data(1, ends: true))
        peer.connection.consumed(32_768, on: 1)
        peer.connection.consumed(32_768, on: 99)
        #expect(peer.sent() == [])
    }
}

/// What we send, and what waits.
@Suite struct SendWindowTests {
    /// A peer whose streams begin with a window of this size.
    private static func peer(_ window: UInt32, _ limits: HTTP2Limits = HTTP2Limits()) -> Peer {
        Peer(limits, settings: [(SettingID.initialWindowSize, window)])
    }

    @Test func withinTheWindow() {
        var peer = Self.peer(10)
        peer.open(1)
        peer.answer(1, "abc")
        #expect(!peer.connection.isBlocked(1))
        peer.answer(1, "")
        peer.end(1)
        #expect(peer.sent() == [.data(1, "abc"), .headers(1), .reset(1, .noError)])
        #expect(peer.events() == [])
    }

    @Test(
        "bytes of one stream alone are counted until the last of them has left, or the stream is gone"
    )
    func ownBytes() {
        var peer = Self.peer(4)
        peer.open(1, 3, 5)
        #expect(peer.connection.hasRoom(for: 4, on: 1) && !peer.connection.hasRoom(for: 5, on: 1))
        peer.connection.send(ByteBuffer(string: "abcd"), on: 1, isOwn: true)
        #expect(peer.connection.ownPendingBytes == 0)
        peer.connection.send(ByteBuffer(string: "ef"), on: 1, isOwn: true)
        peer.connection.send(ByteBuffer(string: "gh"), on: 1, isOwn: true)
        #expect(!peer.connection.hasRoom(for: 0, on: 1))
        peer.connection.send(ByteBuffer(string: "ijklmn"), on: 3, isOwn: true)
        peer.connection.send(ByteBuffer(string: "shared"), on: 5)
        #expect(peer.connection.ownPendingBytes == 6 && peer.connection.pendingBytes == 8)
        #expect(peer.feed(Client.window(1, 3)) == [])
        #expect(peer.connection.ownPendingBytes == 6)
        #expect(peer.feed(Client.window(1, 1)) == [.drained(1)])
        #expect(peer.connection.ownPendingBytes == 2)
        #expect(peer.feed(Client.reset(3), Client.window(5, 9)) == [.reset(3), .drained(5)])
        #expect(peer.connection.ownPendingBytes == 0 && peer.connection.pendingBytes == 0)
    }

    @Test func tenBytesThenTheRest() {
        var peer = Self.peer(10)
        peer.open(1)
        peer.answer(1, "0123456789abcdef")
        #expect(peer.sent() == [.data(1, "0123456789")])
        #expect(peer.connection.isBlocked(1))
        #expect(peer.connection.pendingBytes == 6)
        #expect(peer.feed(Client.window(1, 2)) == [])
        #expect(peer.sent() == [.data(1, "ab")])
        peer.answer(1, "gh")
        #expect(peer.sent() == [])
        #expect(peer.feed(Client.window(1, 100)) == [.drained(1)])
        #expect(peer.sent() == [.data(1, "cdefgh")])
        #expect(!peer.connection.isBlocked(1))
        #expect(peer.connection.pendingBytes == 0)
        #expect(peer.feed(Client.window(1, 1)) == [])
    }

    @Test func trailersWaitForTheBody() {
        var peer = Self.peer(2)
        peer.open(1)
        peer.answer(1, "abcd")
        peer.end(1)
        #expect(peer.sent() == [.data(1, "ab")])
        #expect(peer.connection.streamCount == 1)
        #expect(peer.feed(Client.window(1, 1)) == [])
        #expect(peer.sent() == [.data(1, "c")])
        #expect(peer.feed(Client.window(1, 1)) == [])
        #expect(peer.sent() == [.data(1, "d"), .headers(1), .reset(1, .noError)])
        #expect(peer.connection.streamCount == 0)
    }

    @Test func aSmallerInitialWindowMakesWindowsNegative() {
        var peer = Self.peer(10)
        peer.open(1)
        peer.answer(1, "0123456789ab")
        #expect(peer.sent() == [.data(1, "0123456789")])
        #expect(peer.feed(Client.settings(SettingID.initialWindowSize, 4)) == [])
        #expect(peer.connection.streams[1]?.sendWindow == -6)
        #expect(peer.feed(Client.window(1, 6)) == [])
        #expect(peer.sent() == [.settingsAck])
        #expect(peer.feed(Client.window(1, 1)) == [])
        #expect(peer.sent() == [.data(1, "a")])
        #expect(
            peer.feed(Client.settings(SettingID.initialWindowSize, 5)) == [.drained(1)])
        #expect(peer.sent() == [.settingsAck, .data(1, "b")])
    }

    @Test func aNegativeWindowHoldsBackWhatIsNew() {
        var peer = Self.peer(10)
        peer.open(1)
        peer.answer(1, "0123456789")
        _ = peer.feed(Client.settings(SettingID.initialWindowSize, 0))
        _ = peer.sent()
        peer.answer(1, "x")
        #expect(peer.sent() == [])
        #expect(peer.connection.isBlocked(1))
    }

    @Test func aNewInitialWindowFreesAllStreams() {
        var peer = Self.peer(1)
        peer.open(1, 3)
        peer.answer(1, "ab")
        peer.answer(3, "cd")
        _ = peer.sent()
        #expect(
            peer.feed(Client.settings(SettingID.initialWindowSize, 2)) == [
                .drained(1), .drained(3),
            ])
        #expect(peer.sent() == [.settingsAck, .data(1, "b"), .data(3, "d")])
    }

    @Test func theSameInitialWindowAgainChangesNothing() {
        var peer = Self.peer(1)
        peer.open(1)
        peer.answer(1, "ab")
        _ = peer.sent()
        #expect(peer.feed(Client.settings(SettingID.initialWindowSize, 1)) == [])
        #expect(peer.sent() == [.settingsAck])
    }

    @Test func theConnectionsWindowIsShared() {
        var peer = Self.peer(1_000_000)
        peer.open(1, 3, 5)
        peer.answer(1, String(repeating: "x", count: 65_534))
        peer.answer(3, "abc")
        peer.answer(5, "def")
        peer.end(5)
        let sent = peer.sent()
        #expect(sent.map(\.payload.count) == [16_384, 16_384, 16_384, 16_382, 1])
        #expect(sent.last == .data(3, "a"))
        #expect(peer.connection.isBlocked(3))
        #expect(peer.connection.isBlocked(5))
        #expect(peer.connection.pendingBytes == 5)
        #expect(peer.feed(Client.window(0, 1)) == [])
        #expect(peer.sent() == [.data(3, "b")])
        #expect(peer.feed(Client.window(0, 2)) == [.drained(3)])
        #expect(peer.sent() == [.data(3, "c"), .data(5, "d")])
        peer.answer(3, "gh")
        #expect(peer.sent() == [])
        // In the order in which they came to wait.
        #expect(peer.feed(Client.window(0, 100)) == [.drained(3)])
        #expect(
            peer.sent() == [
                .data(5, "ef"), .headers(5), .reset(5, .noError), .data(3, "gh"),
            ])
    }

    @Test func aStreamsWindowOpensWhileTheConnectionIsShut() {
        var peer = Self.peer(65_535)
        peer.open(1, 3)
        peer.answer(1, String(repeating: "x", count: 65_535))
        peer.answer(3, "abc")
        _ = peer.sent()
        #expect(peer.feed(Client.window(1, 10), Client.window(3, 10)) == [])
        #expect(peer.sent() == [])
        #expect(peer.feed(Client.window(0, 3)) == [.drained(3)])
        #expect(peer.sent() == [.data(3, "abc")])
    }

    @Test func aStreamWithoutAWindowDoesNotStopTheOthers() {
        var peer = Self.peer(2)
        peer.open(1, 3)
        peer.connection.sendWindow = 3
        peer.answer(1, "abc")
        peer.answer(3, "de")
        #expect(peer.sent() == [.data(1, "ab"), .data(3, "d")])
        #expect(peer.feed(Client.window(0, 10)) == [.drained(3)])
        #expect(peer.sent() == [.data(3, "e")])
        #expect(peer.feed(Client.window(1, 1)) == [.drained(1)])
        #expect(peer.sent() == [.data(1, "c")])
    }

    /// Only those that the connection's window can help are looked at when it opens.
    @Test func whoWaitsForTheConnection() {
        var peer = Self.peer(2)
        peer.open(1, 3, 5)
        peer.connection.sendWindow = 3
        for id: UInt32 in [1, 3, 5] { peer.answer(id, "abcd") }
        _ = peer.sent()
        #expect(peer.connection.blocked == [3, 5])
        #expect(peer.feed(Client.window(1, 1)) == [])
        #expect(peer.connection.blocked == [3, 5, 1])
        #expect(peer.feed(Client.settings(SettingID.initialWindowSize, 1)) == [])
        #expect(peer.connection.blocked == [5])
        #expect(peer.feed(Client.settings(SettingID.initialWindowSize, 2)) == [])
        #expect(peer.connection.blocked == [5, 1, 3])
        #expect(peer.feed(Client.window(0, 2)) == [])
        #expect(peer.connection.blocked == [1, 3])
        #expect(peer.feed(Client.window(0, 9)) == [])
        #expect(peer.connection.blocked == [])
        #expect(
            peer.sent() == [
                .settingsAck, .settingsAck, .data(5, "ab"), .data(1, "c"), .data(3, "b"),
            ])
        for id: UInt32 in [1, 3, 5] {
            #expect(peer.feed(Client.window(id, 9)) == [.drained(id)])
        }
        #expect(peer.sent() == [.data(1, "d"), .data(3, "cd"), .data(5, "cd")])
    }

    /// Several streams are drained at once, and the owner acts on the first of the events.
    @Test func eventsThatAreNoLongerTrueAreNotSaid() {
        var peer = Self.peer(1)
        peer.open(1, 3, 5, 7)
        for id: UInt32 in [1, 3, 5, 7] { peer.answer(id, "ab") }
        peer.connection.receive(
            ByteBuffer(bytes: Client.settings(SettingID.initialWindowSize, 2)))
        #expect(peer.connection.next().map(Seen.init) == .drained(1))
        peer.connection.reset(3, .cancel)
        peer.answer(5, "c")
        #expect(peer.events() == [.drained(7)])
        #expect(peer.feed(Client.window(5, 1)) == [.drained(5)])
    }

    @Test func aStreamThatIsResetNoLongerWaits() {
        var peer = Self.peer(1)
        peer.open(1, 3)
        peer.answer(1, "abc")
        peer.answer(3, "abcd")
        #expect(peer.connection.pendingBytes == 5)
        #expect(peer.feed(Client.reset(1)) == [.reset(1)])
        #expect(peer.connection.pendingBytes == 3)
        peer.connection.reset(3, .cancel)
        #expect(peer.connection.pendingBytes == 0)
        #expect(peer.connection.blocked == [])
        _ = peer.sent()
        #expect(peer.feed(Client.window(0, 1), Client.window(1, 9), Client.window(3, 9)) == [])
        #expect(peer.sent() == [])
    }

    @Test func framesAsLargeAsThePeerLikes() {
        var peer = Peer(settings: [
            (SettingID.maxFrameSize, 20_000), (SettingID.initialWindowSize, 50_000),
        ])
        peer.open(1)
        peer.answer(1, String(repeating: "x", count: 45_000))
        #expect(peer.sent().map(\.payload.count) == [20_000, 20_000, 5_000])
    }

    @Test func moreThanMayWait() {
        var limits = HTTP2Limits()
        limits.maxPendingBytes = 8
        var peer = Self.peer(1, limits)
        peer.open(1, 3, 5)
        peer.answer(1, "12345")
        peer.answer(3, "12345")
        #expect(peer.connection.isBlocked(3))
        _ = peer.sent()
        peer.answer(3, "x")
        #expect(peer.sent() == [.reset(3, .enhanceYourCalm)])
        #expect(peer.connection.pendingBytes == 4)
        peer.answer(5, "123456")
        #expect(peer.sent() == [.data(5, "1"), .reset(5, .enhanceYourCalm)])
        #expect(peer.connection.streamCount == 1)
        #expect(peer.events() == [.reset(3), .reset(5)])
        #expect(peer.feed(Client.window(1, 9)) == [.drained(1)])
        #expect(peer.connection.pendingBytes == 0)
    }

    // MARK: Memory

    @Test func whatWasSentIsNotKept() {
        var peer = Self.peer(10)
        peer.open(1)
        peer.answer(1, String(repeating: "x", count: 10_010))
        for _ in 0..<99 { _ = peer.feed(Client.window(1, 100)) }
        #expect(peer.connection.pendingBytes == 100)
        #expect((peer.connection.streams[1]?.pending?.bytes.storageCapacity ?? 0) <= 512)
    }

    @Test func theRestOfALargeAnswerDoesNotKeepTheWholeOfIt() {
        var peer = Self.peer(10_000)
        peer.open(1)
        peer.answer(1, String(repeating: "x", count: 10_001))
        #expect((peer.connection.streams[1]?.pending?.bytes.storageCapacity ?? 0) <= 64)
    }

    /// An answer that goes on for ever, to a peer that always leaves a little of it waiting.
    @Test func aStreamThatIsNeverDrainedDoesNotGrow() {
        var peer = Self.peer(1)
        peer.open(1)
        _ = peer.feed(Client.window(0, 100_000))
        peer.answer(1, String(repeating: "x", count: 101))
        var largest = 0
        for _ in 0..<1_000 {
            peer.answer(1, String(repeating: "x", count: 100))
            #expect(peer.feed(Client.window(1, 100)) == [])
            largest = max(
                largest, peer.connection.streams[1]?.pending?.bytes.storageCapacity ?? 0)
        }
        #expect(peer.connection.pendingBytes == 100)
        #expect(largest <= 1_024)
    }

    /// Appending to what waits must not copy it, or much that waits would cost its square.
    @Test func appendingDoesNotCopy() {
        func address(_ peer: Peer) -> UnsafeRawPointer? {
            peer.connection.streams[1]?.pending?.bytes.withUnsafeReadableBytes { $0.baseAddress }
        }
        var peer = Self.peer(0)
        peer.open(1)
        peer.answer(1, "x")
        peer.answer(1, String(repeating: "x", count: 600))
        let before = address(peer)
        for _ in 0..<10 {
            peer.answer(1, "y")
            #expect(address(peer) == before)
        }
        #expect(peer.connection.pendingBytes == 611)
    }

    // MARK: 2^31-1

    @Test func theConnectionsWindowOverflows() {
        var peer = Peer()
        #expect(peer.feed(Client.window(0, 0x7fff_ffff - 65_535)) == [])
        #expect(peer.feed(Client.window(0, 1)) == [.failed(.flowControlError)])
    }

    @Test func aStreamsWindowOverflows() {
        var peer = Peer()
        peer.open(1, 3)
        _ = peer.sent()
        #expect(peer.feed(Client.window(1, 0x7fff_ffff - 65_535)) == [])
        #expect(
            peer.feed(Client.window(1, 1), Client.data(3, "a"))
                == [.reset(1), .body(3, "a", isComplete: false)])
        #expect(peer.sent() == [.reset(1, .flowControlError)])
    }

    @Test func theInitialWindowOverflows() {
        var peer = Peer()
        peer.open(1)
        #expect(peer.feed(Client.window(1, 0x7fff_ffff - 65_535)) == [])
        #expect(peer.feed(Client.settings(SettingID.initialWindowSize, 65_535)) == [])
        #expect(
            peer.feed(Client.settings(SettingID.initialWindowSize, 65_536))
                == [.failed(.flowControlError)])
    }

    @Test func anIncrementOfZeroOnAStream() {
        var peer = Peer()
        peer.open(1, 3)
        #expect(
            peer.feed(Client.window(1, 0), Client.data(3, "a"))
                == [.reset(1), .body(3, "a", isComplete: false)])
        #expect(peer.sent() == [.reset(1, .protocolError)])
    }

    @Test func updatesOfStreamsThatAreGone() {
        var peer = Peer()
        _ = peer.feed(Client.request(1))
        peer.end(1)
        _ = peer.sent()
        #expect(peer.feed(Client.window(1, 0), Client.window(1, 0x7fff_ffff)) == [])
        #expect(peer.sent() == [])
    }
}
