import CZlib

/// Unpacks zlib data (RFC 1950) up to a bound: what would unpack to more is refused when the bound is reached, and never
/// held.
enum Inflation {
    enum Failure: Error {
        case malformed
        case tooLarge
    }

    private static let piece = 64 * 1024

    /// - Parameters:
    ///   - bytes: One zlib stream, and nothing behind it.
    ///   - limit: The most bytes that may come out of it.
    static func inflate(_ bytes: [UInt8], limit: Int) throws(Failure) -> [UInt8] {
        guard !bytes.isEmpty, let inputCount = UInt32(exactly: bytes.count) else {
            throw .malformed
        }
        var stream = z_stream()
        guard
            inflateInit2_(&stream, 15, ZLIB_VERSION, CInt(MemoryLayout<z_stream>.size)) == Z_OK
        else { throw .malformed }
        defer { inflateEnd(&stream) }
        // zlib only reads from here, whatever the type of its field says.
        var input = bytes
        var output: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: Self.piece)
        let outcome = input.withUnsafeMutableBufferPointer { input -> Result<Void, Failure> in
            stream.next_in = input.baseAddress
            stream.avail_in = inputCount
            while true {
                let status = buffer.withUnsafeMutableBufferPointer { buffer in
                    stream.next_out = buffer.baseAddress
                    stream.avail_out = UInt32(Self.piece)
                    return CZlib.inflate(&stream, Z_NO_FLUSH)
                }
                let count = Self.piece - Int(stream.avail_out)
                guard output.count + count <= limit else { return .failure(.tooLarge) }
                output.append(contentsOf: buffer[..<count])
                if status == Z_STREAM_END {
                    return stream.avail_in == 0 ? .success(()) : .failure(.malformed)
                }
                // Without progress the stream has no end.
                guard status == Z_OK, count > 0 || stream.avail_in > 0 else {
                    return .failure(.malformed)
                }
            }
        }
        try outcome.get()
        return output
    }
}
