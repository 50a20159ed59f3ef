import NIOCore
import NIOEmbedded
import NIOHTTP1
import Testing

@testable import ServiceRuntime

/// What a connection holds of a long document that its client does not read.
@Suite struct LongDocumentTests {
    private static let length = 4 << 20
    private static let document = DocumentResponse(
        contentType: "application/pkix-crl",
        body: (0..<length).map { UInt8(truncatingIfNeeded: $0 >> 8) })

    /// Lets through what is written and is writable until 64 KiB have come since the client last read.
    private final class Pipe: ChannelOutboundHandler {
        typealias OutboundIn = ByteBuffer
        typealias OutboundOut = ByteBuffer

        private(set) var taken: [ByteBuffer] = []
        private(set) var pending = 0

        func write(
            context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?
        ) {
            let buffer = self.unwrapOutboundIn(data)
            self.taken.append(buffer)
            self.pending += buffer.readableBytes
            if self.pending > 64 * 1024 {
                (context.channel as? EmbeddedChannel)?.isWritable = false
            }
            promise?.succeed()
        }

        /// The client has read everything.
        func drain(_ channel: EmbeddedChannel) {
            self.pending = 0
            channel.isWritable = true
            channel.pipeline.fireChannelWritabilityChanged()
        }

        var bytes: [UInt8] { self.taken.flatMap { Array($0.readableBytesView) } }
    }

    private struct Connection {
        let channel = EmbeddedChannel()
        let pipe = Pipe()

        init() throws {
            let connection = DocumentConnection(
                routes: { $0.path == "/long" ? LongDocumentTests.document : nil }, slowRoutes: nil,
                limits: DocumentLimits(), clock: HTTPDate())
            let pipeline = self.channel.pipeline.syncOperations
            try pipeline.addHandler(self.pipe)
            try pipeline.addHandler(DocumentByteCounter(connection))
            try pipeline.addHandler(
                ByteToMessageHandler(HTTPRequestDecoder(leftOverBytesStrategy: .dropBytes)))
            try pipeline.addHandler(connection)
            try self.channel.connect(to: SocketAddress(unixDomainSocketPath: "/client")).wait()
        }

        func ask(_ path: String, _ fields: String = "", times: Int = 1) throws {
            let text = "GET \(path) HTTP/1.1\r\nHost: x\r\n\(fields)\r\n"
            try self.channel.writeInbound(
                ByteBuffer(string: String(repeating: text, count: times)))
        }

        func readAll() {
            var before = -1
            while self.pipe.taken.count != before {
                before = self.pipe.taken.count
                self.pipe.drain(self.channel)
            }
        }
    }

    /// Everything behind the first empty line.
    private static func content(_ bytes: [UInt8]) -> ArraySlice<UInt8> {
        let end: [UInt8] = [13, 10, 13, 10]
        for index in bytes.indices.dropLast(3) where bytes[index..<index + 4].elementsEqual(end) {
            return bytes[(index + 4)...]
        }
        return []
    }

    @Test func `a client that does not read is sent a small part and no more`() throws {
        let connection = try Connection()
        try connection.ask("/long")
        let first = connection.pipe.pending
        #expect(first > 32 * 1024 && first <= 128 * 1024)
        connection.pipe.drain(connection.channel)
        #expect(connection.pipe.pending <= 128 * 1024)
        connection.readAll()
        #expect(Self.content(connection.pipe.bytes).elementsEqual(Self.document.body))
        #expect(connection.channel.isActive)
        _ = try connection.channel.finish()
    }

    @Test func `all clients are sent the same memory`() throws {
        let address = { (buffer: ByteBuffer) in
            buffer.withUnsafeReadableBytes { UInt(bitPattern: $0.baseAddress) }
        }
        let own = address(Self.document.content)
        for _ in 0..<2 {
            let connection = try Connection()
            try connection.ask("/long")
            let part = try #require(connection.pipe.taken.dropFirst().first)
            #expect(address(part) == own)
            _ = try connection.channel.finish()
        }
    }

    @Test func `answers behind a long one come whole and in order`() throws {
        let connection = try Connection()
        try connection.ask("/long", times: 2)
        try connection.ask("/none")
        connection.readAll()
        let text = connection.pipe.bytes
        #expect(text.count > 2 * Self.length)
        let second = Array(Self.content(text).dropFirst(Self.length))
        #expect(String(decoding: second.prefix(15), as: UTF8.self) == "HTTP/1.1 200 OK")
        let third = Array(Self.content(second).dropFirst(Self.length))
        #expect(String(decoding: third.prefix(12), as: UTF8.self) == "HTTP/1.1 404")
        #expect(!connection.channel.isActive, "a refusal ends the connection")
    }

    @Test func `the connection is closed behind a long answer when it was asked for`() throws {
        let connection = try Connection()
        try connection.ask("/long", "Connection: close\r\n")
        #expect(connection.channel.isActive)
        connection.readAll()
        #expect(Self.content(connection.pipe.bytes).count == Self.length)
        #expect(!connection.channel.isActive)
    }

    @Test func `who asks on without reading is disconnected`() throws {
        let connection = try Connection()
        try connection.ask("/long", times: 10)
        #expect(!connection.channel.isActive)
        #expect(connection.pipe.bytes.count <= 128 * 1024)
    }

    @Test func `nonsense in the middle of a long answer is not answered into it`() throws {
        let connection = try Connection()
        try connection.ask("/long")
        let before = connection.pipe.bytes.count
        try connection.ask("/x", "Content-Length: 5\r\n")
        #expect(!connection.channel.isActive && connection.pipe.bytes.count == before)
    }
}
