import NIOCore
import Testing

@testable import HTTP2

@Suite struct ClosingTests {
    private static let question: [UInt8] = [0x63, 0x79, 0x67, 0x6e, 0x65, 0x74, 0x00, 0x01]
    private static let maximum: UInt32 = 0x7fff_ffff

    @Test func announcedThenFinal() {
        var peer = Peer()
        peer.open(1)
        peer.connection.beginClosing()
        peer.connection.beginClosing()
        #expect(
            peer.sent() == [.goAway(Self.maximum, .noError), .ping(Self.question, ack: false)])
        #expect(!peer.connection.isFinished)
        // What was under way is served.
        #expect(peer.feed(Client.request(3)) == [.request(3, "/", isComplete: true)])
        // Somebody else's PING says nothing.
        #expect(peer.feed(Client.ping([1, 2, 3, 4, 5, 6, 7, 8], ack: true)) == [])
        #expect(peer.sent() == [])
        #expect(peer.feed(Client.ping(Self.question, ack: true)) == [])
        #expect(peer.sent() == [.goAway(3, .noError)])
        #expect(peer.feed(Client.ping(Self.question, ack: true)) == [])
        #expect(peer.feed(Client.request(5)) == [])
        #expect(peer.sent() == [.reset(5, .refusedStream)])
        #expect(peer.feed(Client.data(1, "a")) == [.body(1, "a", isComplete: false)])
        peer.end(1)
        #expect(!peer.connection.isFinished)
        peer.end(3)
        #expect(peer.connection.isFinished)
        #expect(peer.sent() == [.headers(1), .reset(1, .noError), .headers(3)])
    }

    @Test func anAnswerNobodyAskedForDoesNotClose() {
        var peer = Peer()
        #expect(peer.feed(Client.ping(Self.question, ack: true)) == [])
        #expect(peer.sent() == [])
        #expect(peer.feed(Client.request(1)) == [.request(1, "/", isComplete: true)])
    }

    @Test func atOnce() {
        var peer = Peer()
        peer.connection.close()
        peer.connection.close()
        peer.connection.beginClosing()
        #expect(peer.sent() == [.goAway(0, .noError)])
        #expect(peer.connection.isFinished)
    }

    @Test func aStreamThatIsResetCountsAsDone() {
        var peer = Peer()
        peer.open(1)
        peer.connection.close()
        #expect(!peer.connection.isFinished)
        #expect(peer.feed(Client.reset(1)) == [.reset(1)])
        #expect(peer.connection.isFinished)
    }

    @Test func theLastStreamIsNeverTakenBack() {
        var peer = Peer()
        peer.open(1)
        peer.connection.close()
        _ = peer.feed(Client.request(3), Client.request(5))
        #expect(peer.feed(Client.window(0, 0)) == [.failed(.protocolError)])
        #expect(
            peer.sent() == [
                .goAway(1, .noError), .reset(3, .refusedStream), .reset(5, .refusedStream),
                .goAway(1, .protocolError),
            ])
    }

    @Test func byThePeer() {
        var peer = Peer()
        peer.open(1)
        #expect(peer.feed(Client.goAway, Client.goAway) == [])
        #expect(peer.sent() == [.goAway(1, .noError)])
        #expect(peer.feed(Client.data(1, "a")) == [.body(1, "a", isComplete: false)])
        peer.end(1)
        #expect(peer.connection.isFinished)
    }

    @Test func byThePeerAfterOurAnnouncement() {
        var peer = Peer()
        peer.connection.beginClosing()
        _ = peer.sent()
        #expect(peer.feed(Client.goAway) == [])
        #expect(peer.sent() == [.goAway(0, .noError)])
    }

    @Test func aGoodbyeWithDebugData() {
        var peer = Peer()
        #expect(
            peer.feed(Client.frame(FrameType.goAway, 0, 0, [UInt8](repeating: 7, count: 99))) == [])
        #expect(peer.connection.isFinished)
    }
}
