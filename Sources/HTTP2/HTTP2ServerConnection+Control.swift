import NIOCore

/// SETTINGS, PING, GOAWAY, PRIORITY and WINDOW_UPDATE.
extension HTTP2ServerConnection {
    /// What our PING carries that asks whether the announcement of the end has arrived.
    private static let closingPing: UInt64 = 0x6379_676e_6574_0001

    /// RFC 9113 §6.5.
    mutating func settings(
        _ header: FrameHeader, _ payload: ByteBuffer
    ) throws(HTTP2ConnectionError) {
        guard header.streamID == 0 else {
            throw HTTP2ConnectionError(.protocolError, "SETTINGS on a stream")
        }
        if header.has(FrameFlag.ack) {
            guard header.length == 0 else {
                throw HTTP2ConnectionError(.frameSizeError, "SETTINGS acknowledgement with content")
            }
            // The peer knows now that there is no table, and begins its next block by saying so.
            self.decoder = self.configuration.decoder
            try self.noteEmptyFrame()
            return
        }
        guard header.length % 6 == 0 else {
            throw HTTP2ConnectionError(.frameSizeError, "SETTINGS of \(header.length) bytes")
        }
        self.settingsFrames += 1
        if self.settingsFrames > HTTP2Limits.maxSettings {
            throw HTTP2ConnectionError(.enhanceYourCalm, "too many SETTINGS")
        }
        let windowBefore = self.peer.initialWindow
        var payload = payload
        while let id: UInt16 = payload.readInteger(), let value: UInt32 = payload.readInteger() {
            try self.peer.apply(id, value)
        }
        self.output.write(
            FrameHeader(length: 0, type: FrameType.settings, flags: FrameFlag.ack))
        try self.windowsChanged(by: self.peer.initialWindow - windowBefore)
    }

    /// RFC 9113 §6.9.2: the change applies to streams that are open; their windows may go below zero.
    private mutating func windowsChanged(by difference: Int) throws(HTTP2ConnectionError) {
        if difference == 0 { return }
        var waiting: [StreamID] = []
        var index = self.streams.startIndex
        while index != self.streams.endIndex {
            self.streams.values[index].sendWindow += difference
            let (id, stream) = self.streams[index]
            if stream.sendWindow > FrameHeader.maximum31Bits {
                throw HTTP2ConnectionError(.flowControlError, "window above 2^31-1")
            }
            if stream.pending != nil { waiting.append(id) }
            self.streams.formIndex(after: &index)
        }
        for id in waiting.sorted() { self.flush(id) }
    }

    /// RFC 9113 §6.7.
    mutating func ping(_ header: FrameHeader, _ payload: ByteBuffer) throws(HTTP2ConnectionError) {
        guard header.streamID == 0 else {
            throw HTTP2ConnectionError(.protocolError, "PING on a stream")
        }
        guard header.length == 8, let content: UInt64 = payload.getInteger(at: payload.readerIndex)
        else { throw HTTP2ConnectionError(.frameSizeError, "PING of \(header.length) bytes") }
        if header.has(FrameFlag.ack) {
            if self.closing == .announced, content == Self.closingPing { self.close() }
            return
        }
        self.output.write(FrameHeader(length: 8, type: FrameType.ping, flags: FrameFlag.ack))
        self.output.writeInteger(content)
    }

    /// RFC 9113 §6.8: the peer will open no more streams. Those that are open go on.
    mutating func goAway(
        _ header: FrameHeader, _ payload: ByteBuffer
    ) throws(HTTP2ConnectionError) {
        guard header.streamID == 0 else {
            throw HTTP2ConnectionError(.protocolError, "GOAWAY on a stream")
        }
        guard header.length >= 8 else {
            throw HTTP2ConnectionError(.frameSizeError, "GOAWAY of \(header.length) bytes")
        }
        if self.closing != .final { self.close() }
    }

    /// RFC 9113 §6.3: checked for its size, then read over.
    mutating func priority(
        _ header: FrameHeader, _ payload: ByteBuffer
    ) throws(HTTP2ConnectionError) {
        guard header.streamID != 0 else {
            throw HTTP2ConnectionError(.protocolError, "PRIORITY on the connection")
        }
        guard header.length == 5 else {
            throw HTTP2ConnectionError(.frameSizeError, "PRIORITY of \(header.length) bytes")
        }
        try self.noteEmptyFrame()
    }

    /// RFC 9113 §6.9.
    mutating func windowUpdate(
        _ header: FrameHeader, _ payload: ByteBuffer
    ) throws(HTTP2ConnectionError) -> Event? {
        guard header.length == 4, let word: UInt32 = payload.getInteger(at: payload.readerIndex)
        else {
            throw HTTP2ConnectionError(.frameSizeError, "WINDOW_UPDATE of \(header.length) bytes")
        }
        let increment = Int(word & FrameHeader.maximum31Bits)
        let id = header.streamID
        if id == 0 {
            guard increment > 0 else {
                throw HTTP2ConnectionError(.protocolError, "WINDOW_UPDATE of 0")
            }
            self.sendWindow += increment
            guard self.sendWindow <= FrameHeader.maximum31Bits else {
                throw HTTP2ConnectionError(.flowControlError, "window above 2^31-1")
            }
            self.flushBlocked()
            return nil
        }
        guard self.isUsed(id) else {
            throw HTTP2ConnectionError(
                .protocolError, "WINDOW_UPDATE on stream \(id), which is idle")
        }
        guard let stream = self.streams[id] else { return nil }
        if increment == 0 { return try self.resetByMistake(id, .protocolError) }
        if stream.sendWindow + increment > FrameHeader.maximum31Bits {
            return try self.resetByMistake(id, .flowControlError)
        }
        self.streams[id]?.sendWindow += increment
        if stream.pending != nil { self.flush(id) }
        return nil
    }

    // MARK: The end

    /// Begins a graceful end (RFC 9113 §6.8): the peer is told to open no more streams; what it sent
    /// before it heard of it is still served.
    package mutating func beginClosing() {
        if self.closing != .no || self.phase == .ended { return }
        self.closing = .announced
        self.output.writeGoAway(lastStreamID: FrameHeader.maximum31Bits, .noError, "")
        self.output.write(FrameHeader(length: 8, type: FrameType.ping))
        self.output.writeInteger(Self.closingPing)
    }

    /// From now on new streams are refused; those that are open go on.
    package mutating func close() {
        if self.closing == .final || self.phase == .ended { return }
        self.closing = .final
        self.output.writeGoAway(lastStreamID: self.lastServedID, .noError, "")
    }
}
