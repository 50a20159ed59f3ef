import HTTP2
import NIOCore

extension Step {
    /// Does what the owner does.
    func apply(to connection: inout HTTP2ServerConnection) {
        switch self {
        case .feed(let bytes): connection.receive(ByteBuffer(bytes: bytes))
        case .block(let id, let count, let endsStream):
            connection.send(
                block: ByteBuffer(repeating: 0x88, count: count), on: id, endsStream: endsStream)
        case .body(let id, let answer): connection.send(answer.bytes, on: id)
        case .consume(let id, let count): connection.consumed(count, on: id)
        case .reset(let id): connection.reset(id, .cancel)
        case .announce: connection.beginClosing()
        case .close: connection.close()
        }
    }
}

/// Everything a connection said, in order.
struct Record: Equatable {
    struct Line: Equatable {
        var kind: String
        var id: UInt32
        var content: [UInt8] = []
        var isComplete = false
    }

    var lines: [Line] = []
    var output: [UInt8] = []

    mutating func add(_ event: HTTP2ServerConnection.Event) {
        switch event {
        case .request(let id, let head, let isComplete):
            self.lines.append(
                Line(
                    kind: "request", id: id,
                    content: Array(
                        head.fields.flatMap { [$0.name, $0.value] }.joined(separator: "\n").utf8),
                    isComplete: isComplete))
        case .body(let id, let bytes, let isComplete):
            self.lines.append(
                Line(
                    kind: "body", id: id, content: Array(bytes.readableBytesView),
                    isComplete: isComplete))
        case .reset(let id): self.lines.append(Line(kind: "reset", id: id))
        case .drained(let id): self.lines.append(Line(kind: "drained", id: id))
        case .failed(let error): self.lines.append(Line(kind: "failed", id: error.code.rawValue))
        }
    }
}

/// What was done and what came of it.
struct Transcript {
    let steps: [Step]
    let record: Record

    /// The same steps on a new connection, but with the client's bytes cut differently: those between
    /// two of the owner's steps in one piece (`cut` 0), or in pieces of `cut` bytes.
    func again(_ setting: Setting, _ cut: Int) -> Record {
        var connection = HTTP2ServerConnection(setting.configuration)
        var record = Record()
        var waiting: [UInt8] = []

        func deliver(_ connection: inout HTTP2ServerConnection, _ record: inout Record) {
            let size = cut == 0 ? max(waiting.count, 1) : cut
            for start in stride(from: 0, to: waiting.count, by: size) {
                let end = min(waiting.count, start + size)
                connection.receive(ByteBuffer(bytes: waiting[start..<end]))
                while let event = connection.next() { record.add(event) }
            }
            waiting = []
        }

        for step in self.steps {
            if case .feed(let bytes) = step {
                waiting += bytes
                continue
            }
            deliver(&connection, &record)
            step.apply(to: &connection)
        }
        deliver(&connection, &record)
        if let output = connection.takeOutput() { record.output += output.readableBytesView }
        return record
    }

    func compare(with other: Record) {
        demand(self.record.lines == other.lines, "the cut changes the events")
        demand(self.record.output == other.output, "the cut changes the output")
    }
}
