import GRPCCore
import NIOCore

/// Cuts gRPC messages out of a request's body: one byte that says whether it is compressed, four
/// bytes of length, the message.
struct MessageReader {
    private static let prefixSize = 5

    private var buffer = ByteBuffer()

    /// Bytes of a message that is not there in full.
    var bufferedBytes: Int { self.buffer.readableBytes }
    /// Memory that they take.
    var storageBytes: Int { self.buffer.storageCapacity }

    mutating func append(_ bytes: ByteBuffer) {
        if self.buffer.readableBytes == 0 {
            self.buffer = bytes
        } else {
            self.buffer.writeImmutableBuffer(bytes)
        }
    }

    /// The next whole message; nil when it needs more bytes.
    ///
    /// - Throws: `RPCError` as soon as the prefix shows that the message will not be taken.
    mutating func next(maxBytes: Int) throws(RPCError) -> ByteBuffer? {
        let at = self.buffer.readerIndex
        guard let compressed: UInt8 = self.buffer.getInteger(at: at) else { return nil }
        if compressed != 0 {
            throw compressed == 1
                ? RPCError(code: .unimplemented, message: "compressed messages are not supported")
                : RPCError(code: .internalError, message: "message prefix is malformed")
        }
        guard let length: UInt32 = self.buffer.getInteger(at: at + 1) else {
            self.letGo()
            return nil
        }
        if Int(length) > maxBytes {
            throw RPCError(
                code: .resourceExhausted,
                message: "message of \(length) bytes is larger than the \(maxBytes) allowed")
        }
        guard self.buffer.readableBytes >= Self.prefixSize + Int(length) else {
            self.letGo()
            return nil
        }
        self.buffer.moveReaderIndex(forwardBy: Self.prefixSize)
        let message = self.buffer.readSlice(length: Int(length))
        if self.buffer.readableBytes == 0 { self.buffer = ByteBuffer() }
        return message
    }

    /// Keeps of a large read buffer only the part of a message that is left in it.
    private mutating func letGo() {
        if self.buffer.readableBytes * 4 < self.buffer.storageCapacity {
            self.buffer = ByteBuffer(bytes: self.buffer.readableBytesView)
        }
    }

    /// A message with its prefix.
    static func framed(_ message: some Collection<UInt8>) -> ByteBuffer {
        var framed = ByteBufferAllocator().buffer(capacity: Self.prefixSize + message.count)
        framed.writeInteger(UInt8(0))
        framed.writeInteger(UInt32(truncatingIfNeeded: message.count))
        framed.writeBytes(message)
        return framed
    }
}
