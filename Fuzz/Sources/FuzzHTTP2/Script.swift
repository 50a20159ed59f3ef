import NIOCore

/// What is done to the connection, one after the other.
enum Step {
    /// The client sends bytes.
    case feed([UInt8])
    /// The owner answers.
    case block(UInt32, count: Int, endsStream: Bool)
    case body(UInt32, Answer)
    case consume(UInt32, count: Int)
    case reset(UInt32)
    case announce
    case close
}

/// Bytes of an answer's body. What they are depends on where in the body they stand.
struct Answer {
    private static let period = 251
    private static let pattern = ByteBuffer(bytes: (0..<300_000).lazy.map { UInt8($0 % period) })

    /// Bytes of the body before these.
    var offset = 0
    var count: Int

    var bytes: ByteBuffer {
        let start = self.offset % Self.period
        return Self.pattern.getSlice(at: start, length: self.count) ?? ByteBuffer()
    }

    /// Whether these are the bytes; in pieces, because what waited for a window may leave in a frame longer than the
    /// pattern.
    func isEqual(_ other: ByteBuffer) -> Bool {
        var (rest, offset) = (other, self.offset)
        while rest.readableBytes > 0 {
            let count = min(rest.readableBytes, 1_000 * Self.period)
            guard rest.readSlice(length: count) == Answer(offset: offset, count: count).bytes else {
                return false
            }
            offset += count
        }
        return other.readableBytes == self.count
    }
}

/// Reads the fuzzer's bytes as steps. Most inputs mean something: a kind of step, and what it needs
/// from small tables of interesting values, so that the fuzzer need not guess them.
struct Script {
    private let bytes: UnsafeBufferPointer<UInt8>
    private var next = 0
    private var nextStream: UInt32 = 1
    private var greeting = Greeting.due

    private enum Greeting { case due, sent }

    init(_ bytes: UnsafeBufferPointer<UInt8>) { self.bytes = bytes }

    /// 0 when there are no more.
    mutating func byte() -> UInt8 {
        guard self.next < self.bytes.count else { return 0 }
        self.next += 1
        return self.bytes[self.next - 1]
    }

    private mutating func short() -> Int { Int(self.byte()) << 8 | Int(self.byte()) }

    private mutating func some(_ count: Int) -> [UInt8] {
        let end = min(self.bytes.count, self.next + count)
        defer { self.next = end }
        return Array(self.bytes[self.next..<end])
    }

    mutating func step() -> Step? {
        guard self.next < self.bytes.count else { return nil }
        if self.greeting == .due {
            self.greeting = .sent
            // Now and then the fuzzer writes the greeting itself.
            if self.bytes[self.next] != 0xff {
                return .feed(
                    Array("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".utf8) + [0, 0, 0, 4, 0, 0, 0, 0, 0])
            }
        }
        switch self.byte() % 20 {
        case 0: return .feed(self.some(Int(self.byte())))
        case 1: return .feed(self.anyFrame())
        case 2, 3: return .feed(self.request())
        case 4: return .feed(self.block(type: 1))
        case 5: return .feed(self.block(type: 9))
        case 6, 7: return .feed(self.data())
        case 8, 9: return .feed(self.windowUpdate())
        case 10: return .feed(self.settings())
        case 11: return .feed(Self.frame(4, 1, 0, []))
        case 12: return .feed(Self.frame(3, 0, self.stream(), Self.word(UInt32(self.byte()))))
        case 13, 14: return .body(self.stream(), Answer(count: self.short() * 4))
        case 15:
            let id = self.stream()
            let count = self.short()
            return .block(id, count: count % 40_000, endsStream: count & 1 == 0)
        case 16: return .consume(self.stream(), count: self.short())
        case 17: return .reset(self.stream())
        case 18:
            // Our question, answered.
            return self.byte() & 1 == 0
                ? .announce
                : .feed(Self.frame(6, 1, 0, [0x63, 0x79, 0x67, 0x6e, 0x65, 0x74, 0, 1]))
        default: return .close
        }
    }

    // MARK: Frames

    private static func word(_ value: UInt32) -> [UInt8] {
        [24, 16, 8, 0].map { UInt8(truncatingIfNeeded: value >> $0) }
    }

    private static func frame(
        _ type: UInt8, _ flags: UInt8, _ id: UInt32, _ payload: [UInt8]
    ) -> [UInt8] {
        [UInt8(payload.count >> 16), UInt8(payload.count >> 8 & 255), UInt8(payload.count & 255)]
            + [type, flags] + self.word(id) + payload
    }

    private mutating func stream() -> UInt32 {
        let byte = self.byte()
        return byte < 0xf0 ? UInt32(byte % 24) : UInt32(byte) << 23
    }

    private mutating func anyFrame() -> [UInt8] {
        let type = self.byte() % 12
        let flags = self.byte()
        let id = self.stream()
        return Self.frame(type, flags, id, self.some(Int(self.byte())))
    }

    /// A good request, or one that is spoilt by what is added to its block.
    private mutating func request() -> [UInt8] {
        let how = self.byte()
        var block: [UInt8] = [0x83, 0x87, 0x84]
        if how & 1 != 0 {
            let length = Array(String(self.short()).utf8)
            block += [0x0f, 0x0d, UInt8(length.count)] + length
        }
        if how & 2 != 0 { block += self.some(Int(self.byte() % 64)) }
        let id = how & 4 != 0 ? self.stream() : self.nextStream
        if how & 4 == 0 { self.nextStream += 2 }
        let flags: UInt8 = (how & 8 != 0 ? 1 : 0) | (how & 0x30 != 0x30 ? 4 : 0)
        return Self.frame(1, flags, id, block)
    }

    private mutating func block(type: UInt8) -> [UInt8] {
        let flags = self.byte()
        let id = self.stream()
        return Self.frame(type, flags & 0x2d, id, self.some(Int(self.byte())))
    }

    private mutating func data() -> [UInt8] {
        let flags = self.byte() & 9
        let id = self.stream()
        let count = self.short() % 16_385
        var payload = [UInt8](repeating: 0x61, count: count)
        if flags & 8 != 0, count > 0 { payload[0] = self.byte() }
        return Self.frame(0, flags, id, payload)
    }

    private mutating func windowUpdate() -> [UInt8] {
        let increments: [UInt32] = [
            1, 0, 2, 10, 100, 1_000, 16_384, 65_535, 1 << 20, 0x7fff_ffff, 0x7fff_0000, 0x8000_0005,
        ]
        let id = self.stream()
        return Self.frame(8, 0, id, Self.word(increments[Int(self.byte()) % increments.count]))
    }

    private mutating func settings() -> [UInt8] {
        let values: [UInt32] = [
            0, 1, 2, 10, 100, 4_095, 4_096, 16_383, 16_384, 20_000, 65_535, 65_536, 1 << 20,
            0x00ff_ffff, 0x0100_0000, 0x7fff_0000, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff,
        ]
        var payload: [UInt8] = []
        for _ in 0..<Int(self.byte() % 4) {
            let id = self.byte() % 8
            payload += [0, id] + Self.word(values[Int(self.byte()) % values.count])
        }
        return Self.frame(4, 0, 0, payload)
    }
}
