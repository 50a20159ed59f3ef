import NIOCore
import NIOHPACK
import Testing

@testable import HTTP2

@Suite struct RequestTests {
    @Test func aRequestAndItsParts() {
        var peer = Peer()
        peer.connection.receive(
            ByteBuffer(
                bytes: Client.request(1, "/a/b", [("te", "trailers"), ("x", "1"), ("x", "2")])))
        guard case .request(let id, let head, let isComplete)? = peer.connection.next() else {
            Issue.record("no request")
            return
        }
        #expect(id == 1)
        #expect(isComplete)
        #expect(head.method == "POST")
        #expect(head.path == "/a/b")
        #expect(head.fields["x"] == ["1", "2"])
        #expect(head.fields[":scheme"] == ["https"])
        #expect(peer.connection.streamCount == 1)
        #expect(peer.connection.next() == nil)
    }

    @Test func aBodyAndItsEnd() {
        var peer = Peer()
        #expect(
            peer.feed(
                Client.request(1, ends: false), Client.data(1, "ab"), Client.data(1),
                Client.data(1, "c", ends: true))
                == [
                    .request(1, "/", isComplete: false), .body(1, "ab", isComplete: false),
                    .body(1, "c", isComplete: true),
                ])
        #expect(peer.sent() == [])
    }

    @Test func anEmptyEnd() {
        var peer = Peer()
        peer.open(1)
        #expect(peer.feed(Client.data(1, ends: true)) == [.body(1, "", isComplete: true)])
    }

    @Test func priorityAndPaddingOfHeaders() {
        var peer = Peer()
        let block = Array(buffer: Client.block(Client.fields("/p")))
        let priority: [UInt8] = [0x80, 0, 0, 3, 9]
        let flags = FrameFlag.endHeaders
        #expect(
            peer.feed(
                Client.headers(1, block: priority + block, flags: flags | FrameFlag.priority),
                Client.headers(3, block: [2] + block + [0, 0], flags: flags | FrameFlag.padded),
                Client.headers(
                    5, block: [1] + priority + block + [0],
                    flags: flags | FrameFlag.padded | FrameFlag.priority))
                == [1, 3, 5].map { .request($0, "/p", isComplete: true) })
    }

    @Test(arguments: [
        (Client.headers(2, Client.fields()), HTTP2ErrorCode.protocolError),
        (Client.headers(0, Client.fields()), .protocolError),
        (Client.headers(3, block: [0, 0, 0, 1], flags: 0x24), .frameSizeError),
        (Client.headers(3, block: [], flags: 0x0c), .protocolError),
        (Client.headers(3, block: [2, 0x82], flags: 0x0c), .protocolError),
        (Client.headers(3, block: [0xff]), .compressionError),
        (Client.headers(3, block: [0x80]), .compressionError),
        (Client.headers(3, block: [0xbe]), .compressionError),
        (Client.headers(3, block: [0x82, 0x20]), .compressionError),
    ])
    func whatEndsTheConnection(_ frame: [UInt8], _ code: HTTP2ErrorCode) {
        var peer = Peer()
        peer.open(1)
        _ = peer.sent()
        #expect(peer.feed(frame) == [.failed(code)])
        #expect(peer.sent() == [.goAway(1, code)])
    }

    @Test func aListLargerThanAgreedCostsItsStream() {
        var limits = HTTP2Limits()
        limits.maxHeaderListBytes = 1_000
        var peer = Peer(limits)
        _ = peer.sent()
        let long = String(repeating: "v", count: 1_000)
        #expect(peer.feed(Client.request(1, "/", [("a", long)])) == [])
        #expect(peer.sent() == [.reset(1, .enhanceYourCalm)])
        #expect(peer.feed(Client.request(3)) == [.request(3, "/", isComplete: true)])
    }

    @Test func aListFarLargerThanAgreedEndsTheConnection() {
        var limits = HTTP2Limits()
        limits.maxHeaderListBytes = 1_000
        var peer = Peer(limits)
        let long = String(repeating: "v", count: 4_000)
        #expect(peer.feed(Client.request(1, "/", [("a", long)])) == [.failed(.compressionError)])
    }

    @Test func numbersMayBeSkippedButNotUsedLater() {
        var peer = Peer()
        #expect(
            peer.feed(Client.request(5), Client.request(3))
                == [.request(5, "/", isComplete: true), .failed(.streamClosed)])
        #expect(peer.sent() == [.goAway(5, .streamClosed)])
    }

    @Test func aStreamIsOverWhenItIsAnswered() {
        var peer = Peer()
        _ = peer.feed(Client.request(1))
        peer.end(1)
        #expect(peer.sent() == [.headers(1)])
        #expect(peer.connection.streamCount == 0)
        #expect(peer.feed(Client.request(1)) == [.failed(.streamClosed)])
    }
}

/// What makes a request malformed costs its stream and no other (RFC 9113 §8.1.1).
@Suite struct MalformedRequestTests {
    private static let good = Client.fields()

    private static func without(_ name: String) -> [(String, String)] {
        Self.good.filter { $0.0 != name }
    }

    static let lists: [[(String, String)]] =
        [
            without(":method"), without(":scheme"), without(":path"), [],
            Client.fields(""),
            Self.good + [(":path", "/again")],
            Self.good + [(":method", "POST")],
            Self.good + [(":status", "200")],
            Self.good + [(":protocol", "websocket")],
            Self.good + [(":", "x")],
            without(":path") + [("a", "b"), (":path", "/")],
        ]
        + [
            ("Upper", "x"), ("a b", "x"), ("a\u{0}", "x"), ("a\u{7f}", "x"), ("\u{e9}", "x"),
            ("a:b", "x"), ("a:", "x"),
            ("a", "x\u{0}y"), ("a", "x\r"), ("a", "x\ny"), ("a", " x"), ("a", "x "), ("a", "\tx"),
            ("a", "x\t"), ("a", " "),
            ("connection", "close"), ("proxy-connection", "x"), ("keep-alive", "x"),
            ("transfer-encoding", "chunked"), ("upgrade", "h2c"), ("te", "gzip"),
            ("te", "trailers, gzip"),
            ("content-length", ""), ("content-length", "-1"), ("content-length", "+1"),
            ("content-length", "1,1"), ("content-length", "0x1"), ("content-length", "1 1"),
            ("content-length", "99999999999999999999"),
        ].map { Self.good + [$0] }

    @Test(arguments: lists.indices)
    func theStreamIsReset(_ index: Int) {
        var peer = Peer()
        peer.open(1)
        _ = peer.sent()
        #expect(
            peer.feed(
                Client.headers(3, Self.lists[index], ends: false), Client.data(1, "a"),
                Client.data(3, "late"), Client.request(5))
                == [.body(1, "a", isComplete: false), .request(5, "/", isComplete: true)])
        #expect(peer.sent() == [.reset(3, .protocolError)])
        #expect(peer.connection.streamCount == 2)
    }

    @Test(arguments: [
        ("a", ""), ("a", "x y"), ("a", "\u{e9}"), ("te", "trailers"), ("a-_!#$%&'*+.^`|~", "x"),
        ("content-length", "0"), ("content-length", "9223372036854775807"), (":authority", ""),
        ("a", "\u{1}"),
    ])
    func whatIsUnusualButGood(_ name: String, _ value: String) {
        var peer = Peer()
        let isPseudo = name.hasPrefix(":")
        let fields = isPseudo ? [(name, value)] + Self.good : Self.good + [(name, value)]
        #expect(
            peer.feed(Client.headers(1, fields, ends: false)) == [
                .request(1, "/", isComplete: false)
            ])
    }
}

@Suite struct TrailerTests {
    @Test func trailersEndTheBody() {
        var peer = Peer()
        peer.open(1)
        #expect(peer.feed(Client.headers(1, [("a", "b")])) == [.body(1, "", isComplete: true)])
        #expect(peer.feed(Client.headers(1, [("a", "b")])) == [.reset(1)])
        #expect(peer.sent() == [.reset(1, .streamClosed)])
    }

    @Test(arguments: [
        ([("a", "b")], false), ([(":path", "/")], true), ([("A", "b")], true),
        ([("connection", "b")], true),
    ])
    func malformedTrailers(_ fields: [(String, String)], _ ends: Bool) {
        var peer = Peer()
        peer.open(1, 3)
        #expect(
            peer.feed(Client.headers(1, fields, ends: ends), Client.data(3, "a"))
                == [.reset(1), .body(3, "a", isComplete: false)])
        #expect(peer.sent() == [.reset(1, .protocolError)])
    }

    @Test func trailersBeforeThePromisedBodyIsThere() {
        var peer = Peer()
        _ = peer.feed(Client.request(1, "/", [("content-length", "2")], ends: false))
        #expect(
            peer.feed(Client.data(1, "a"), Client.headers(1, [("a", "b")]))
                == [.body(1, "a", isComplete: false), .reset(1)])
        #expect(peer.sent() == [.reset(1, .protocolError)])
    }

    @Test func trailersAfterThePromisedBody() {
        var peer = Peer()
        _ = peer.feed(Client.request(1, "/", [("content-length", "2")], ends: false))
        #expect(
            peer.feed(Client.data(1, "ab"), Client.headers(1, []))
                == [.body(1, "ab", isComplete: false), .body(1, "", isComplete: true)])
    }
}

@Suite struct ContentLengthTests {
    private func run(_ length: String, _ frames: [UInt8]...) -> (seen: [Seen], sent: [Frame]) {
        var peer = Peer()
        _ = peer.feed(Client.request(1, "/", [("content-length", length)], ends: false))
        let seen = peer.feed(frames.flatMap { $0 })
        return (seen, peer.sent())
    }

    @Test func exactly() {
        #expect(
            self.run("3", Client.data(1, "ab"), Client.data(1, "c", ends: true)).seen
                == [.body(1, "ab", isComplete: false), .body(1, "c", isComplete: true)])
        #expect(self.run("0", Client.data(1, ends: true)).seen == [.body(1, "", isComplete: true)])
    }

    @Test func paddingDoesNotCount() {
        #expect(
            self.run("2", Client.padded(1, "ab", 9, ends: true)).seen
                == [.body(1, "ab", isComplete: true)])
    }

    @Test func more() {
        let run = self.run("3", Client.data(1, "abcd"))
        #expect(run.seen == [.reset(1)])
        #expect(run.sent == [.reset(1, .protocolError)])
    }

    @Test func less() {
        let run = self.run("3", Client.data(1, "ab", ends: true))
        #expect(run.seen == [.reset(1)])
        #expect(run.sent == [.reset(1, .protocolError)])
    }

    @Test func aLengthWithoutABody() {
        var peer = Peer()
        #expect(
            peer.feed(
                Client.request(1, "/", [("content-length", "1")]),
                Client.request(3, "/", [("content-length", "0")]))
                == [.request(3, "/", isComplete: true)])
        #expect(peer.sent() == [.reset(1, .protocolError)])
    }

    @Test func twice() {
        var peer = Peer()
        #expect(
            peer.feed(
                Client.request(
                    1, "/", [("content-length", "1"), ("content-length", "01")], ends: false),
                Client.request(
                    3, "/", [("content-length", "1"), ("content-length", "2")], ends: false))
                == [.request(1, "/", isComplete: false)])
        #expect(peer.sent() == [.reset(3, .protocolError)])
    }
}
