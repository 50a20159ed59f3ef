import GRPCCore
import NIOCore
import NIOHPACK
import Testing

@testable import SPIFFEGRPC

/// The blocks as a peer reads them.
@Suite("header blocks of answers") struct HeaderBlockTests {
    private static func decoded(_ block: ByteBuffer) throws -> [[String]] {
        var decoder = HPACKDecoder(allocator: ByteBufferAllocator(), maxDynamicTableSize: 0)
        var block = block
        return try decoder.decodeHeaders(from: &block).map { [$0.name, $0.value] }
    }

    private static let start = [[":status", "200"], ["content-type", "application/grpc"]]

    @Test("head, trailers, and both in one")
    func shapes() throws {
        let failed = Status(code: .notFound, message: "no such entry")
        #expect(try Self.decoded(HeaderBlocks.head([:])) == Self.start)
        #expect(
            try Self.decoded(HeaderBlocks.head(["Key": "value", "raw-bin": .binary([255, 0])]))
                == Self.start + [["key", "value"], ["raw-bin", "/wA="]])
        #expect(
            try Self.decoded(HeaderBlocks.trailers(Status(code: .ok, message: ""), [:]))
                == [["grpc-status", "0"]])
        #expect(
            try Self.decoded(HeaderBlocks.trailers(failed, ["k": "v"]))
                == [["grpc-status", "5"], ["grpc-message", "no such entry"], ["k", "v"]])
        #expect(
            try Self.decoded(HeaderBlocks.trailersOnly(failed, [:]))
                == Self.start + [["grpc-status", "5"], ["grpc-message", "no such entry"]])
        #expect(try Self.decoded(HeaderBlocks.http(status: 415)) == [[":status", "415"]])
    }

    @Test(
        "texts of all lengths around the limits of HPACK's integers",
        arguments: [
            0, 1, 126, 127, 128, 254, 255, 256, 383, 4_096,
        ])
    func lengths(count: Int) throws {
        let text = String(repeating: "a", count: count)
        let fields = try Self.decoded(
            HeaderBlocks.trailers(Status(code: .internalError, message: text), ["k": .string(text)])
        )
        #expect(fields.last == ["k", text])
        #expect(count == 0 || fields[1] == ["grpc-message", text])
    }

    @Test(
        "a status text is percent-encoded where it is not printable ASCII, and cut when it goes on for pages"
    )
    func percentEncoding() {
        #expect(HeaderBlocks.percentEncoded("plain text ~!") == "plain text ~!")
        #expect(HeaderBlocks.percentEncoded("100 %\r\n\u{0}é") == "100 %25%0D%0A%00%C3%A9")
        #expect(
            HeaderBlocks.percentEncoded(String(repeating: "x", count: 10_000)).utf8.count == 4_096)
    }

    @Test("grpc-timeout: what is well-formed, and nothing else")
    func timeouts() {
        #expect(Timeout.parse("1S") == .seconds(1))
        #expect(Timeout.parse("250m") == .milliseconds(250))
        #expect(Timeout.parse("7u") == .microseconds(7))
        #expect(Timeout.parse("99999999n") == .nanoseconds(99_999_999))
        #expect(Timeout.parse("0S") == .nanoseconds(0))
        #expect(Timeout.parse("2M") == .seconds(120))
        #expect(Timeout.parse("99999999H") == .hours(365 * 24))
        for bad in [
            "", "S", "1", "-1S", "+1S", "1.5S", "1s", "1X", "123456789S", " 1S", "1S ", "१S",
            "1\u{0}S",
        ] {
            #expect(Timeout.parse(bad) == nil, "\(bad)")
        }
    }
}
