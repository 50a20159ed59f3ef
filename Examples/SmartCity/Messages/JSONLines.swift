package import NIOCore
package import SPIFFE

/// Messages of the city: one line of JSON each.
package struct JSONLines<Buffers: AsyncSequence> where Buffers.Element == ByteBuffer {
    /// No message of the city is near this.
    private let longestLine = 64 * 1024
    private var buffers: Buffers.AsyncIterator
    private var pending: [UInt8] = []

    /// - Parameter buffers: Bytes as they come from a connection.
    package init(_ buffers: Buffers) { self.buffers = buffers.makeAsyncIterator() }

    /// The next message; nil when the connection has ended.
    ///
    /// - Throws: ``Failure`` 1 for a line that is too long, `JOSEError` for one that is no JSON, what the
    ///   connection throws.
    package mutating func next() async throws -> JSONValue? {
        while true {
            if let end = self.pending.firstIndex(of: UInt8(ascii: "\n")) {
                let line = Array(self.pending[..<end])
                self.pending.removeSubrange(...end)
                return try JSONValue(parsing: line)
            }
            guard self.pending.count <= self.longestLine else {
                throw Failure(1, "a message has more than \(self.longestLine) bytes")
            }
            guard let buffer = try await self.buffers.next() else { return nil }
            self.pending.append(contentsOf: buffer.readableBytesView)
        }
    }
}

extension ByteBuffer {
    /// A message as bytes to send.
    package init(message: JSONValue) {
        self.init(bytes: message.serialized() + [UInt8(ascii: "\n")])
    }
}
