package import NIOCore
import NIOHPACK

/// The server's side of one HTTP/2 connection (RFC 9113) without any I/O: bytes go in with
/// ``receive(_:)``, ``next()`` says what they mean, and what is to be sent collects until
/// ``takeOutput()``.
///
/// It never waits, never looks at a clock and never calls back. The owner stops feeding it while the
/// peer does not read; then nothing in it grows beyond ``HTTP2Limits``.
package struct HTTP2ServerConnection {
    package typealias StreamID = UInt32

    /// What is the same for all connections of a listener, worked out once.
    package struct Configuration: Sendable {
        package let limits: HTTP2Limits
        let settingsFrame: ByteBuffer
        /// Until the peer has acknowledged our settings it may use a table of 4,096 bytes.
        let firstDecoder: HPACKDecoder
        /// From then on none, so that all connections share one decoder's storage.
        let decoder: HPACKDecoder

        package init(limits: HTTP2Limits = HTTP2Limits()) {
            self.limits = limits
            self.settingsFrame = limits.settingsFrame
            let allocator = ByteBufferAllocator()
            self.firstDecoder = HPACKDecoder(
                allocator: allocator, maxDynamicTableSize: 4096,
                maxHeaderListSize: limits.maxHeaderListBytes * HTTP2Limits.headerListTolerance)
            self.decoder = HPACKDecoder(
                allocator: allocator, maxDynamicTableSize: 0,
                maxHeaderListSize: limits.maxHeaderListBytes * HTTP2Limits.headerListTolerance)
        }
    }

    /// What the peer did. `isComplete`: it has ended its side of the stream.
    package enum Event {
        case request(StreamID, RequestHead, isComplete: Bool)
        /// Bytes of a request's body. They count against the stream's window until
        /// ``consumed(_:on:)``.
        case body(StreamID, ByteBuffer, isComplete: Bool)
        /// The stream is gone: by the peer's wish, because of a mistake of the peer's in it, or because
        /// the peer let too much of the answers wait.
        case reset(StreamID)
        /// All that was sent on the stream so far has found room in the peer's windows.
        case drained(StreamID)
        /// The connection is over; what is left to send is the goodbye. Nothing follows.
        case failed(HTTP2ConnectionError)
    }

    enum Phase { case preface, firstSettings, open, ended }
    enum Closing { case no, announced, final }

    /// A header block that goes on in CONTINUATION frames.
    struct HeaderBlock {
        let streamID: StreamID
        let endsStream: Bool
        var bytes: ByteBuffer
        var continuations = 0
    }

    let configuration: Configuration
    var phase = Phase.preface
    var closing = Closing.no
    var input = ByteBuffer()
    var output: ByteBuffer
    var events = CircularBuffer<Event>(initialCapacity: 0)
    var decoder: HPACKDecoder
    var block: HeaderBlock?
    var streams: [StreamID: Stream] = [:]
    var highestStreamID: StreamID = 0
    /// The highest stream that was not refused: what GOAWAY says, and must never be more than what it
    /// said before (RFC 9113 §6.8).
    var lastServedID: StreamID = 0
    var recentResets = RecentResets()
    /// Streams with something pending whose own window is open: they wait for the connection's, in
    /// this order. Those that wait for their own are not here, or the peer could have us look at all
    /// of them with every small WINDOW_UPDATE.
    var blocked: [StreamID] = []
    /// Bytes pending in all streams.
    var pendingBytes = 0
    /// Bytes that wait on streams which have not sent all, and that nobody else keeps in memory.
    package internal(set) var ownPendingBytes = 0
    var peer = PeerSettings()
    var sendWindow = PeerSettings.defaultWindow
    var receiveWindow: Int
    /// Bytes received and not yet given back to the connection's window.
    var owed = 0
    var emptyFrames = 0
    var withdrawn = 0
    var settingsFrames = 0

    package init(_ configuration: Configuration) {
        self.configuration = configuration
        self.output = configuration.settingsFrame
        self.decoder = configuration.firstDecoder
        self.receiveWindow = max(configuration.limits.connectionWindow, PeerSettings.defaultWindow)
    }

    var limits: HTTP2Limits { self.configuration.limits }

    // MARK: State

    /// Whether the peer has shown that it speaks HTTP/2.
    package var isEstablished: Bool { self.phase == .open }
    /// Streams that are open in at least one direction.
    package var streamCount: Int { self.streams.count }
    /// Nothing is open and nothing new may come: time to close the socket.
    package var isFinished: Bool {
        self.phase == .ended || (self.closing == .final && self.streams.isEmpty)
    }

    /// Whether bytes sent on the stream still wait for the peer to open its window.
    package func isBlocked(_ id: StreamID) -> Bool { self.streams[id]?.pending != nil }

    /// Whether so many bytes would leave at once, as far as the peer's windows go.
    package func hasRoom(for count: Int, on id: StreamID) -> Bool {
        guard let stream = self.streams[id], stream.pending == nil else { return false }
        return count <= min(stream.sendWindow, self.sendWindow)
    }

    /// Bytes that ``takeOutput()`` would give.
    package var outputBytes: Int { self.output.readableBytes }

    // MARK: Bytes in, events out

    /// Takes bytes from the socket. Call ``next()`` until it gives nil.
    package mutating func receive(_ bytes: ByteBuffer) {
        if self.phase == .ended { return }
        if self.input.readableBytes == 0 {
            self.input = bytes
        } else {
            self.input.writeImmutableBuffer(bytes)
        }
    }

    /// The next thing the peer did; nil when all bytes that make sense so far are used up.
    package mutating func next() -> Event? {
        do throws(HTTP2ConnectionError) {
            while self.phase != .ended {
                if let event = self.takeQueued() { return event }
                if self.phase == .preface {
                    if try !self.takePreface() { break }
                    continue
                }
                guard let (header, payload) = try self.takeFrame() else { break }
                if let event = try self.handle(header, payload) { return event }
            }
        } catch {
            self.fail(error)
            return .failed(error)
        }
        // Of a large read only the part of a frame that is left in it is kept.
        self.input.shrink()
        return nil
    }

    /// The first of the events that wait which is still true: the owner may have done something with
    /// the stream since.
    private mutating func takeQueued() -> Event? {
        while let event = self.events.popFirst() {
            guard case .drained(let id) = event else { return event }
            if let stream = self.streams[id], stream.pending == nil { return event }
        }
        return nil
    }

    /// Ends the connection at once; ``takeOutput()`` has the goodbye.
    mutating func fail(_ error: HTTP2ConnectionError) {
        if self.phase == .ended { return }
        self.output.writeGoAway(lastStreamID: self.lastServedID, error.code, error.reason)
        self.phase = .ended
        self.input = ByteBuffer()
        self.events.removeAll()
        self.streams = [:]
        self.blocked = []
        self.pendingBytes = 0
        self.ownPendingBytes = 0
        self.block = nil
    }

    /// RFC 9113 §3.4. False: more bytes are needed.
    private mutating func takePreface() throws(HTTP2ConnectionError) -> Bool {
        let expected: StaticString = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
        let length = min(self.input.readableBytes, expected.utf8CodeUnitCount)
        let isGood = self.input.readableBytesView.prefix(length).elementsEqual(
            UnsafeBufferPointer(start: expected.utf8Start, count: length))
        if !isGood { throw HTTP2ConnectionError(.protocolError, "not an HTTP/2 client") }
        if length < expected.utf8CodeUnitCount { return false }
        self.input.moveReaderIndex(forwardBy: length)
        self.phase = .firstSettings
        return true
    }

    private mutating func takeFrame() throws(HTTP2ConnectionError) -> (FrameHeader, ByteBuffer)? {
        guard let header = FrameHeader(peeking: self.input) else { return nil }
        if header.length > HTTP2Limits.maxFrameBytes {
            throw HTTP2ConnectionError(.frameSizeError, "frame of \(header.length) bytes")
        }
        guard self.input.readableBytes >= FrameHeader.size + header.length else { return nil }
        self.input.moveReaderIndex(forwardBy: FrameHeader.size)
        guard let payload = self.input.readSlice(length: header.length) else { return nil }
        return (header, payload)
    }

    private mutating func handle(
        _ header: FrameHeader, _ payload: ByteBuffer
    ) throws(HTTP2ConnectionError) -> Event? {
        if self.phase == .firstSettings {
            guard header.type == FrameType.settings, !header.has(FrameFlag.ack) else {
                throw HTTP2ConnectionError(.protocolError, "the first frame is not SETTINGS")
            }
            self.phase = .open
        }
        // RFC 9113 §6.10: a header block is one piece.
        if let block = self.block,
            header.type != FrameType.continuation || header.streamID != block.streamID
        {
            throw HTTP2ConnectionError(.protocolError, "header block interrupted")
        }
        switch header.type {
        case FrameType.data: return try self.data(header, payload)
        case FrameType.headers: return try self.headers(header, payload)
        case FrameType.continuation: return try self.continuation(header, payload)
        case FrameType.rstStream: return try self.rstStream(header, payload)
        case FrameType.windowUpdate: return try self.windowUpdate(header, payload)
        case FrameType.settings: try self.settings(header, payload)
        case FrameType.ping: try self.ping(header, payload)
        case FrameType.goAway: try self.goAway(header, payload)
        case FrameType.priority: try self.priority(header, payload)
        case FrameType.pushPromise:
            throw HTTP2ConnectionError(.protocolError, "PUSH_PROMISE from a client")
        default: try self.noteEmptyFrame()  // RFC 9113 §5.5: unknown types are ignored.
        }
        return nil
    }

    /// A peer that sends frames by the thousand which carry nothing only wants to keep us busy.
    mutating func noteEmptyFrame() throws(HTTP2ConnectionError) {
        self.emptyFrames += 1
        if self.emptyFrames > HTTP2Limits.maxEmptyFrames {
            throw HTTP2ConnectionError(.enhanceYourCalm, "too many frames that carry nothing")
        }
    }
}
