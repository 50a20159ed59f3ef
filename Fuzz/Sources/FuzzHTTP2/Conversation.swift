import HTTP2
import NIOCore

/// One connection, fed frame by frame; after each frame and each of the owner's steps everything the
/// connection said is held against the model.
struct Conversation {
    private let setting: Setting
    private var connection: HTTP2ServerConnection
    private var model: Model
    /// Bytes the client sent that are not a whole frame yet.
    private var input: [UInt8] = []
    private var isGreeted = false
    private var failure: HTTP2ErrorCode?
    private var lastGoAway = UInt32.max
    /// The stream whose header block has begun and not ended.
    private var openBlock: UInt32?
    private var steps: [Step] = []
    private var record = Record()

    init(_ setting: Setting) {
        self.setting = setting
        self.connection = HTTP2ServerConnection(setting.configuration)
        self.model = Model(setting)
        let greeting = self.connection.takeOutput()
        demand(greeting != nil)
        if let greeting { self.record.output += greeting.readableBytesView }
    }

    consuming func run(_ script: inout Script) -> Transcript {
        while let step = script.step() {
            switch step {
            case .feed(let bytes): self.feed(bytes)
            case .block(let id, let count, let ends): self.block(id, count, ends)
            case .body(let id, let answer): self.body(id, answer.count)
            case .consume(let id, let count): self.consume(id, count)
            case .reset(let id): self.reset(id)
            case .announce: self.owner(.announce)
            case .close: self.owner(.close)
            }
        }
        return Transcript(steps: self.steps, record: self.record)
    }

    // MARK: The client

    private mutating func feed(_ bytes: [UInt8]) {
        self.steps.append(.feed(bytes))
        self.input += bytes
        var fed = self.input.count - bytes.count
        var start = 0
        if !self.isGreeted {
            guard self.input.count >= 24 else {
                self.receive(self.input[fed...])
                return
            }
            self.receive(self.input[fed..<24])
            (start, fed) = (24, 24)
            self.isGreeted = true
        }
        while self.input.count - start >= 9 {
            let header = self.input[start..<(start + 9)]
            let length = header.prefix(3).reduce(0) { $0 << 8 | Int($1) }
            let end = start + 9 + length
            guard length <= 16_384, end <= self.input.count else { break }
            if self.failure == nil {
                self.model.sends(
                    type: header[start + 3], flags: header[start + 4],
                    id: header.suffix(4).reduce(0) { $0 << 8 | UInt32($1) } & 0x7fff_ffff,
                    payload: self.input[(start + 9)..<end])
            }
            self.receive(self.input[fed..<end])
            (start, fed) = (end, end)
        }
        self.receive(self.input[max(fed, start)...])
        self.input.removeFirst(start)
    }

    private mutating func receive(_ bytes: ArraySlice<UInt8>) {
        if bytes.isEmpty { return }
        self.connection.receive(ByteBuffer(bytes: bytes))
        while let event = self.connection.next() {
            demand(self.failure == nil, "an event after the failure")
            self.record.add(event)
            self.check(event)
        }
        demand(self.failure != nil || self.model.dropped.isEmpty, "a reset that was not said")
        if let id = self.model.overrun {
            demand(self.failure != nil || self.model.streams[id] == nil, "overrun unseen")
        }
        self.checkOutput()
    }

    // MARK: The owner

    private mutating func owner(_ step: Step) {
        self.steps.append(step)
        step.apply(to: &self.connection)
        self.model.mayOverrun = false
        self.checkOutput()
    }

    private mutating func block(_ id: UInt32, _ count: Int, _ endsStream: Bool) {
        // A block in front of bytes that wait is the owner's own mistake.
        if !endsStream, self.connection.isBlocked(id) { return }
        if endsStream { self.model.streams[id]?.isEnded = true }
        self.owner(.block(id, count: count, endsStream: endsStream))
    }

    private mutating func body(_ id: UInt32, _ count: Int) {
        let offset = self.model.streams[id]?.queued ?? 0
        if self.model.streams[id]?.isEnded == false { self.model.streams[id]?.queued += count }
        let wasThere = self.model.streams[id] != nil
        self.owner(.body(id, Answer(offset: offset, count: count)))
        if wasThere, self.model.streams[id] == nil { self.model.dropped.insert(id) }
    }

    private mutating func consume(_ id: UInt32, _ count: Int) {
        let count = min(count, self.model.streams[id]?.unconsumed ?? 0)
        self.model.streams[id]?.unconsumed -= count
        if self.model.streams[id]?.isOpenForPeer == true { self.model.streams[id]?.owed += count }
        self.owner(.consume(id, count: count))
    }

    private mutating func reset(_ id: UInt32) { self.owner(.reset(id)) }

    // MARK: What is said to the owner

    private mutating func check(_ event: HTTP2ServerConnection.Event) {
        switch event {
        case .request(let id, let head, let isComplete):
            demand(id % 2 == 1 && id > self.model.highestRequest, "stream number")
            demand(!head.path.isEmpty && head.fields.first { $0.name == ":path" } != nil)
            self.model.highestRequest = id
            self.model.streams[id] = Model.Stream(
                sendWindow: self.model.initialWindow,
                receiveWindow: self.setting.limits.streamWindow, isOpenForPeer: !isComplete)
        case .body(let id, let bytes, let isComplete):
            demand(self.model.streams[id]?.isOpenForPeer == true, "body of a closed stream")
            demand(isComplete || bytes.readableBytes > 0, "an empty event")
            self.model.streams[id]?.isOpenForPeer = !isComplete
            self.model.streams[id]?.unconsumed += bytes.readableBytes
        case .reset(let id):
            let isNews = self.model.dropped.remove(id) != nil
            let wasThere = self.model.streams.removeValue(forKey: id) != nil
            demand(isNews != wasThere, "reset twice, or of a stream that is still there")
        case .drained(let id):
            demand(self.model.streams[id] != nil, "drained, but gone")
            demand(!self.connection.isBlocked(id), "drained, but blocked")
        case .failed(let error):
            self.failure = error.code
            if error.code == .flowControlError { demand(self.model.mayOverrun, "\(error)") }
            demand(self.connection.isFinished && self.connection.streamCount == 0)
        }
    }

    // MARK: What is said to the client

    private mutating func checkOutput() {
        if let output = self.connection.takeOutput() {
            self.record.output += output.readableBytesView
            self.check(output)
        }
        demand(self.connection.takeOutput() == nil)
        if self.failure != nil { return }
        demand(self.connection.streamCount == self.model.streams.count, "count of streams")
        demand(self.model.streams.count <= self.setting.limits.maxConcurrentStreams)
        demand(self.model.receiveWindow * 2 > self.setting.limits.connectionWindow)
        for (id, stream) in self.model.streams {
            let isBlocked = self.connection.isBlocked(id)
            demand(isBlocked == (stream.queued > stream.arrived), "blocked or not")
            if isBlocked {
                demand(self.model.sendWindow <= 0 || stream.sendWindow <= 0, "forgotten")
            } else {
                demand(!stream.isEnded, "an end that was not sent")
            }
            if stream.isOpenForPeer {
                let window = stream.receiveWindow + stream.unconsumed + stream.owed
                demand(window == self.setting.limits.streamWindow, "bytes got lost")
                demand(stream.owed * 2 < self.setting.limits.streamWindow, "a window kept")
            }
        }
    }

    private mutating func check(_ output: ByteBuffer) {
        var output = output
        while output.readableBytes > 0 {
            guard let head = output.readInteger(as: UInt32.self),
                let flags = output.readInteger(as: UInt8.self),
                let id = output.readInteger(as: UInt32.self),
                let payload = output.readSlice(length: Int(head >> 8))
            else { fatalError("not a whole frame") }
            demand(payload.readableBytes <= self.model.maxFrameBytes, "frame too large")
            self.check(UInt8(head & 255), flags, id, payload)
        }
        demand(self.openBlock == nil, "a header block without its end")
    }

    private mutating func check(
        _ type: UInt8, _ flags: UInt8, _ id: UInt32, _ payload: ByteBuffer
    ) {
        demand((type == 9) == (self.openBlock != nil), "a header block interrupted")
        let word = payload.getInteger(at: payload.readerIndex, as: UInt32.self) ?? 0
        switch type {
        case 0: self.checkData(id, payload)
        case 1:
            demand(self.model.streams[id] != nil, "HEADERS on a closed stream")
            if flags & 4 == 0 { self.openBlock = id }
            if flags & 1 != 0 {
                let stream = self.model.streams.removeValue(forKey: id)
                demand(stream?.isEnded == true && stream?.queued == stream?.arrived)
            }
        case 3:
            demand(payload.readableBytes == 4)
            demand(id % 2 == 1 && id <= self.model.highestNamed, "reset of an idle stream")
            if word == HTTP2ErrorCode.flowControlError.rawValue {
                demand(self.model.mayOverrun, "reset without a cause")
            }
            self.model.streams[id] = nil
        case 4: demand(flags == 1 && payload.readableBytes == 0 && id == 0)
        case 6: demand(payload.readableBytes == 8 && id == 0)
        case 7:
            demand(payload.readableBytes >= 8 && id == 0)
            demand(word <= self.lastGoAway, "the last stream was raised")
            self.lastGoAway = word
        case 8:
            demand(payload.readableBytes == 4 && word > 0 && word <= Model.maximum)
            if id == 0 { self.model.receiveWindow += Int(word) }
            if let stream = self.model.streams[id] {
                demand(stream.owed == word, "not what is owed")
                self.model.streams[id]?.owed = 0
                self.model.streams[id]?.receiveWindow += Int(word)
            }
            demand(self.model.receiveWindow <= Model.maximum)
        case 9:
            demand(id == self.openBlock && flags & ~4 == 0)
            if flags & 4 != 0 { self.openBlock = nil }
        default: fatalError("a frame of type \(type)")
        }
    }

    private mutating func checkData(_ id: UInt32, _ payload: ByteBuffer) {
        guard var stream = self.model.streams[id] else {
            fatalError("DATA on a closed stream")
        }
        let count = payload.readableBytes
        demand(count > 0, "empty DATA")
        demand(count <= stream.sendWindow, "more than the stream's window")
        demand(count <= self.model.sendWindow, "more than the connection's window")
        demand(stream.arrived + count <= stream.queued, "bytes from nowhere")
        demand(Answer(offset: stream.arrived, count: count).isEqual(payload), "other bytes")
        stream.sendWindow -= count
        stream.arrived += count
        self.model.sendWindow -= count
        self.model.streams[id] = stream
    }
}
