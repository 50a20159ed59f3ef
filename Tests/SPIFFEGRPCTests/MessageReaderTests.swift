import GRPCCore
import NIOCore
import Testing

@testable import SPIFFEGRPC

@Suite("gRPC messages in a body") struct MessageReaderTests {
    private static func framed(_ message: [UInt8], flag: UInt8 = 0) -> [UInt8] {
        let count = UInt32(message.count)
        return [flag] + (0..<4).reversed().map { UInt8(truncatingIfNeeded: count >> ($0 * 8)) }
            + message
    }

    /// Feeds pieces and gives the messages that come out.
    private static func read(_ pieces: [[UInt8]], maxBytes: Int = 100) throws -> [[UInt8]] {
        var reader = MessageReader()
        var messages: [[UInt8]] = []
        for piece in pieces {
            reader.append(ByteBuffer(bytes: piece))
            while let message = try reader.next(maxBytes: maxBytes) {
                messages.append(Array(buffer: message))
            }
        }
        return messages
    }

    @Test("the same messages however the bytes are cut", arguments: 1...23)
    func cuts(size: Int) throws {
        let messages: [[UInt8]] = [[1, 2, 3], [], [UInt8](repeating: 7, count: 20), [4]]
        let bytes = messages.flatMap { Self.framed($0) }
        let pieces = stride(from: 0, to: bytes.count, by: size).map { start in
            Array(bytes[start..<min(start + size, bytes.count)])
        }
        #expect(try Self.read(pieces) == messages)
    }

    @Test("a message that is too long is refused when its length is known, before its bytes come")
    func tooLong() throws {
        #expect(try Self.read([Self.framed([UInt8](repeating: 1, count: 100))]).count == 1)
        for announced in [[0, 0, 0, 0, 101], [0, 255, 255, 255, 255]] as [[UInt8]] {
            let error = #expect(throws: RPCError.self) { try Self.read([announced]) }
            #expect(error?.code == .resourceExhausted)
        }
    }

    @Test(
        "a compressed message is unimplemented, any other flag malformed, and neither waits for more"
    )
    func flags() throws {
        for (flag, code) in [(1, .unimplemented), (2, .internalError), (255, .internalError)]
            as [(UInt8, RPCError.Code)]
        {
            let error = #expect(throws: RPCError.self) { try Self.read([[flag]]) }
            #expect(error?.code == code)
        }
    }

    @Test("a few bytes of a message do not keep the read they came in")
    func letsGo() throws {
        var reader = MessageReader()
        var read = ByteBuffer(repeating: 0, count: 60_000)
        read.writeBytes([0, 0, 0, 0, 9, 1])
        read.moveReaderIndex(to: 60_000)
        reader.append(read)
        #expect(try reader.next(maxBytes: 100) == nil)
        #expect(reader.bufferedBytes == 6)
        #expect(reader.storageBytes < 1_000)
    }
}
