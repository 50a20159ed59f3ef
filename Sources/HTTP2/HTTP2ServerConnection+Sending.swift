package import NIOCore

/// Answers, and the windows they must fit in.
extension HTTP2ServerConnection {
    /// Takes what is to be written to the socket; nil when there is nothing.
    package mutating func takeOutput() -> ByteBuffer? {
        if self.output.readableBytes == 0 { return nil }
        let bytes = self.output
        self.output = ByteBuffer()
        return bytes
    }

    /// Sends an encoded header block. With `endsStream` it comes after all that is pending, and the
    /// stream is over for both sides: a peer that is still sending is told to stop.
    ///
    /// The block must not refer to a dynamic table. Nothing happens when the stream is gone or its
    /// end has been sent already.
    package mutating func send(block: ByteBuffer, on id: StreamID, endsStream: Bool) {
        guard let stream = self.streams[id], stream.pending?.trailers == nil else { return }
        self.streams[id]?.isAnswered = true
        if endsStream, stream.pending != nil {
            self.streams[id]?.pending?.trailers = block
            return
        }
        self.write(block, id, endsStream)
        if endsStream { self.finish(id) }
    }

    /// Sends bytes of an answer's body, as many as the peer's windows allow now; the rest waits
    /// (``isBlocked(_:)``) until ``Event/drained(_:)``. A stream with which more would wait than
    /// ``HTTP2Limits/maxPendingBytes`` is reset, which ``next()`` then says.
    ///
    /// Nothing happens when the stream is gone or its end has been sent already.
    ///
    /// - Parameter isOwn: Whether the bytes are kept for this stream alone, to be counted in ``ownPendingBytes``.
    package mutating func send(_ bytes: ByteBuffer, on id: StreamID, isOwn: Bool = false) {
        // No copy of the stream is held here: with one, every append would copy all that waits.
        guard self.streams[id] != nil, self.streams[id]?.pending?.trailers == nil else { return }
        self.streams[id]?.isAnswered = true
        var bytes = bytes
        let wasBlocked = self.isBlocked(id)
        if !wasBlocked { self.write(&bytes, id) }
        if bytes.readableBytes == 0 { return }
        if self.pendingBytes + bytes.readableBytes > self.limits.maxPendingBytes {
            self.reset(id, .enhanceYourCalm)
            self.events.append(.reset(id))
            return
        }
        self.pendingBytes += bytes.readableBytes
        if wasBlocked {
            self.streams[id]?.pending?.bytes.writeImmutableBuffer(bytes)
        } else {
            bytes.shrink()
            self.streams[id]?.pending = Stream.Pending(bytes: bytes)
            self.queue(id)
        }
        if isOwn {
            self.streams[id]?.pending?.own += bytes.readableBytes
            self.ownPendingBytes += bytes.readableBytes
        }
    }

    /// Ends a stream from our side, whatever its state.
    package mutating func reset(_ id: StreamID, _ code: HTTP2ErrorCode) {
        if self.remove(id) != nil { self.resetUnknown(id, code) }
    }

    /// Bytes of ``Event/body(_:_:isComplete:)`` are used up; the peer may send as many again.
    package mutating func consumed(_ count: Int, on id: StreamID) {
        guard count > 0, var stream = self.streams[id], stream.isOpenForPeer else { return }
        stream.owed += count
        // Half a window at a time, so that a small frame does not draw an even smaller one.
        if stream.owed * 2 >= self.limits.streamWindow {
            self.output.writeWindowUpdate(id, stream.owed)
            stream.receiveWindow += stream.owed
            stream.owed = 0
        }
        self.streams[id] = stream
    }

    // MARK: Windows

    /// The peer gave room to the connection.
    mutating func flushBlocked() {
        // Every round uses up the connection's window or takes a stream out of the queue.
        while self.sendWindow > 0, let id = self.blocked.first { self.flush(id) }
    }

    /// Lets a stream with something pending stand in the queue for the connection's window, or not,
    /// depending on its own window.
    private mutating func queue(_ id: StreamID) {
        guard let window = self.streams[id]?.sendWindow,
            let isQueued = self.streams[id]?.pending?.isQueued, isQueued != (window > 0)
        else { return }
        self.streams[id]?.pending?.isQueued = !isQueued
        if isQueued { self.blocked.removeAll { $0 == id } } else { self.blocked.append(id) }
    }

    /// Sends of what a stream has pending as much as may go now.
    mutating func flush(_ id: StreamID) {
        guard var pending = self.streams[id]?.pending else { return }
        self.pendingBytes -= pending.bytes.readableBytes
        self.write(&pending.bytes, id)
        self.pendingBytes += pending.bytes.readableBytes
        if pending.bytes.readableBytes > 0 {
            pending.bytes.shrink()
            self.streams[id]?.pending = pending
            self.queue(id)
            return
        }
        self.streams[id]?.pending = nil
        self.ownPendingBytes -= pending.own
        if pending.isQueued { self.blocked.removeAll { $0 == id } }
        if let trailers = pending.trailers {
            self.write(trailers, id, true)
            self.finish(id)
        } else {
            self.events.append(.drained(id))
        }
    }

    private mutating func write(_ bytes: inout ByteBuffer, _ id: StreamID) {
        guard var window = self.streams[id]?.sendWindow else { return }
        while bytes.readableBytes > 0 {
            let room = min(window, self.sendWindow, self.peer.maxFrameBytes)
            guard room > 0, let part = bytes.readSlice(length: min(room, bytes.readableBytes))
            else { break }
            self.output.write(
                FrameHeader(length: part.readableBytes, type: FrameType.data, streamID: id))
            self.output.writeImmutableBuffer(part)
            window -= part.readableBytes
            self.sendWindow -= part.readableBytes
        }
        self.streams[id]?.sendWindow = window
    }

    private mutating func write(_ block: ByteBuffer, _ id: StreamID, _ endsStream: Bool) {
        var block = block
        if self.peer.owesTableUpdate {
            self.peer.owesTableUpdate = false
            let fields = block
            // "Dynamic table size update" to 0 (RFC 7541 §6.3).
            block = ByteBuffer(bytes: [0x20])
            block.writeImmutableBuffer(fields)
        }
        var type = FrameType.headers
        var flags = endsStream ? FrameFlag.endStream : 0
        repeat {
            let part = block.readSlice(length: min(block.readableBytes, self.peer.maxFrameBytes))
            if block.readableBytes == 0 { flags |= FrameFlag.endHeaders }
            let length = part?.readableBytes ?? 0
            self.output.write(FrameHeader(length: length, type: type, flags: flags, streamID: id))
            if let part { self.output.writeImmutableBuffer(part) }
            type = FrameType.continuation
            flags = 0
        } while block.readableBytes > 0
    }

    /// Our side of the stream is over, and with it the stream.
    private mutating func finish(_ id: StreamID) {
        guard let stream = self.remove(id) else { return }
        if self.withdrawn > 0 { self.withdrawn -= 1 }
        if self.settingsFrames > 0 { self.settingsFrames -= 1 }
        // RFC 9113 §8.1: the answer is complete, the rest of the request is of no interest.
        if stream.isOpenForPeer { self.resetUnknown(id, .noError) }
    }
}
