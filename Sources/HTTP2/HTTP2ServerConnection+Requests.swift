import NIOCore
import NIOHPACK

/// HEADERS, CONTINUATION, DATA and RST_STREAM.
extension HTTP2ServerConnection {
    /// RFC 9113 §6.2.
    mutating func headers(
        _ header: FrameHeader, _ payload: ByteBuffer
    ) throws(HTTP2ConnectionError) -> Event? {
        guard header.streamID % 2 == 1 else {
            throw HTTP2ConnectionError(.protocolError, "HEADERS on stream \(header.streamID)")
        }
        var bytes = try Self.unpadded(header, payload)
        if header.has(FrameFlag.priority) {
            // RFC 9113 §5.3.2: priorities are read over.
            guard bytes.readableBytes >= 5 else {
                throw HTTP2ConnectionError(.frameSizeError, "HEADERS without room for its priority")
            }
            bytes.moveReaderIndex(forwardBy: 5)
        }
        let endsStream = header.has(FrameFlag.endStream)
        if header.has(FrameFlag.endHeaders) {
            return try self.endOfBlock(header.streamID, endsStream, bytes)
        }
        self.block = HeaderBlock(
            streamID: header.streamID, endsStream: endsStream,
            bytes: ByteBuffer(bytes: bytes.readableBytesView))
        return nil
    }

    /// RFC 9113 §6.10.
    mutating func continuation(
        _ header: FrameHeader, _ payload: ByteBuffer
    ) throws(HTTP2ConnectionError) -> Event? {
        guard var block = self.block else {
            throw HTTP2ConnectionError(.protocolError, "CONTINUATION without HEADERS")
        }
        self.block = nil
        block.continuations += 1
        block.bytes.writeImmutableBuffer(payload)
        guard block.continuations <= HTTP2Limits.maxContinuations,
            block.bytes.readableBytes
                <= self.limits.maxHeaderListBytes * HTTP2Limits.headerListTolerance
        else { throw HTTP2ConnectionError(.enhanceYourCalm, "header block too large") }
        if header.has(FrameFlag.endHeaders) {
            return try self.endOfBlock(block.streamID, block.endsStream, block.bytes)
        }
        self.block = block
        return nil
    }

    private mutating func endOfBlock(
        _ id: StreamID, _ endsStream: Bool, _ bytes: ByteBuffer
    ) throws(HTTP2ConnectionError) -> Event? {
        // Also when the stream is refused: the block may have changed the table.
        let fields: HPACKHeaders
        do {
            var bytes = bytes
            fields = try self.decoder.decodeHeaders(from: &bytes)
        } catch {
            throw HTTP2ConnectionError(.compressionError, "header block cannot be decoded")
        }
        do throws(StreamError) {
            if self.streams[id] != nil { return try self.trailers(id, endsStream, fields) }
            if id > self.highestStreamID { return try self.newStream(id, endsStream, fields) }
        } catch {
            return try self.resetByMistake(id, error.code)
        }
        if self.recentResets.contains(id) { return nil }
        throw HTTP2ConnectionError(.streamClosed, "HEADERS on stream \(id), which is closed")
    }

    /// RFC 9113 §6.5.2: what was said in MAX_HEADER_LIST_SIZE. gRPC takes the code for RESOURCE_EXHAUSTED.
    private func checkSize(_ fields: HPACKHeaders) throws(StreamError) {
        var size = 0
        for (name, value, _) in fields { size += name.utf8.count + value.utf8.count + 32 }
        if size > self.limits.maxHeaderListBytes { throw StreamError(code: .enhanceYourCalm) }
    }

    private mutating func newStream(
        _ id: StreamID, _ endsStream: Bool, _ fields: HPACKHeaders
    ) throws(StreamError) -> Event? {
        self.highestStreamID = id
        // RFC 9113 §8.7: a refused request may safely be sent again elsewhere.
        if self.closing == .final || self.streams.count >= self.limits.maxConcurrentStreams {
            throw StreamError(code: .refusedStream)
        }
        self.lastServedID = id
        try self.checkSize(fields)
        let head = try RequestHead(fields)
        if endsStream, head.contentLength ?? 0 != 0 { throw StreamError(code: .protocolError) }
        self.streams[id] = Stream(
            sendWindow: self.peer.initialWindow, receiveWindow: self.limits.streamWindow,
            promised: head.contentLength, isOpenForPeer: !endsStream)
        self.emptyFrames = 0
        return .request(id, head, isComplete: endsStream)
    }

    private mutating func trailers(
        _ id: StreamID, _ endsStream: Bool, _ fields: HPACKHeaders
    ) throws(StreamError) -> Event? {
        guard let stream = self.streams[id], stream.isOpenForPeer else {
            throw StreamError(code: .streamClosed)
        }
        guard endsStream, stream.promised ?? 0 == 0 else { throw StreamError(code: .protocolError) }
        try self.checkSize(fields)
        try RequestHead.checkTrailers(fields)
        self.streams[id]?.isOpenForPeer = false
        return .body(id, ByteBuffer(), isComplete: true)
    }

    /// RFC 9113 §6.1. The whole payload counts against the windows, padding included.
    mutating func data(
        _ header: FrameHeader, _ payload: ByteBuffer
    ) throws(HTTP2ConnectionError) -> Event? {
        let id = header.streamID
        guard self.isUsed(id) else {
            throw HTTP2ConnectionError(.protocolError, "DATA on stream \(id), which is idle")
        }
        let body = try Self.unpadded(header, payload)
        let endsStream = header.has(FrameFlag.endStream)
        if body.readableBytes == 0, !endsStream { try self.noteEmptyFrame() }
        self.receiveWindow -= header.length
        if self.receiveWindow < 0 {
            throw HTTP2ConnectionError(.flowControlError, "more DATA than the connection's window")
        }
        // Given back at once: what a connection may hold is bounded by those who hold it, and a window
        // shut for one stream would stop all the others.
        self.owed += header.length
        if self.owed * 2 >= self.limits.connectionWindow {
            self.output.writeWindowUpdate(0, self.owed)
            self.receiveWindow += self.owed
            self.owed = 0
        }
        guard var stream = self.streams[id] else {
            if self.recentResets.contains(id) { return nil }
            self.resetUnknown(id, .streamClosed)
            return nil
        }
        guard stream.isOpenForPeer else { return try self.resetByMistake(id, .streamClosed) }
        stream.receiveWindow -= header.length
        if stream.receiveWindow < 0 { return try self.resetByMistake(id, .flowControlError) }
        if let promised = stream.promised {
            let left = promised - body.readableBytes
            if left < 0 || (endsStream && left != 0) {
                return try self.resetByMistake(id, .protocolError)
            }
            stream.promised = left
        }
        if endsStream { stream.isOpenForPeer = false }
        if body.readableBytes > 0 || endsStream { self.emptyFrames = 0 }
        self.streams[id] = stream
        let padding = header.length - body.readableBytes
        if padding > 0 { self.consumed(padding, on: id) }
        if body.readableBytes == 0, !endsStream { return nil }
        return .body(id, body, isComplete: endsStream)
    }

    /// RFC 9113 §6.4.
    mutating func rstStream(
        _ header: FrameHeader, _ payload: ByteBuffer
    ) throws(HTTP2ConnectionError) -> Event? {
        let id = header.streamID
        guard header.length == 4 else {
            throw HTTP2ConnectionError(.frameSizeError, "RST_STREAM of \(header.length) bytes")
        }
        guard self.isUsed(id) else {
            throw HTTP2ConnectionError(.protocolError, "RST_STREAM on stream \(id), which is idle")
        }
        guard let stream = self.remove(id) else {
            try self.noteEmptyFrame()
            return nil
        }
        try self.noteWithdrawn(stream)
        return .reset(id)
    }

    // MARK: Common

    /// The payload without its padding (RFC 9113 §6.1).
    private static func unpadded(
        _ header: FrameHeader, _ payload: ByteBuffer
    ) throws(HTTP2ConnectionError) -> ByteBuffer {
        if !header.has(FrameFlag.padded) { return payload }
        var payload = payload
        guard let padding: UInt8 = payload.readInteger(),
            let body = payload.readSlice(length: payload.readableBytes - Int(padding))
        else { throw HTTP2ConnectionError(.protocolError, "padding longer than the frame") }
        return body
    }

    /// Whether the peer has ever opened the stream; those with even numbers are for us to open, and
    /// we open none.
    func isUsed(_ id: StreamID) -> Bool { id % 2 == 1 && id <= self.highestStreamID }

    /// Resets a stream because of what the peer did in it.
    mutating func resetByMistake(
        _ id: StreamID, _ code: HTTP2ErrorCode
    ) throws(HTTP2ConnectionError) -> Event? {
        let stream = self.remove(id)
        self.resetUnknown(id, code)
        guard let stream else { return nil }
        try self.noteWithdrawn(stream)
        return .reset(id)
    }

    /// A peer that has us begin work on requests and then drops them, with RST_STREAM or with a
    /// mistake on purpose, only wants to keep us busy.
    private mutating func noteWithdrawn(_ stream: Stream) throws(HTTP2ConnectionError) {
        if stream.isAnswered { return }
        self.withdrawn += 1
        if self.withdrawn > self.limits.resetAllowance {
            throw HTTP2ConnectionError(.enhanceYourCalm, "too many requests withdrawn")
        }
    }

    mutating func resetUnknown(_ id: StreamID, _ code: HTTP2ErrorCode) {
        self.output.writeReset(id, code)
        self.recentResets.add(id)
    }

    /// Forgets a stream.
    @discardableResult
    mutating func remove(_ id: StreamID) -> Stream? {
        guard let stream = self.streams.removeValue(forKey: id) else { return nil }
        if let pending = stream.pending {
            self.pendingBytes -= pending.bytes.readableBytes
            self.ownPendingBytes -= pending.own
            if pending.isQueued { self.blocked.removeAll { $0 == id } }
        }
        return stream
    }
}
