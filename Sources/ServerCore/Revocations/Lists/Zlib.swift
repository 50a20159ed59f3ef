import CZlib

/// DEFLATE in the ZLIB format (RFC 1950, RFC 1951).
enum Zlib {
    /// - Parameter level: 0 (stored) to 9 (smallest).
    /// - Throws: ``ServerError`` `internal` when zlib cannot, as for want of memory.
    static func compress(_ bytes: [UInt8], level: Int32) throws(ServerError) -> [UInt8] {
        var status = Z_OK
        let bound = Int(compressBound(uLong(bytes.count)))
        let compressed = [UInt8](unsafeUninitializedCapacity: bound) { output, count in
            var length = uLongf(bound)
            status = bytes.withUnsafeBufferPointer { input in
                compress2(
                    output.baseAddress, &length, input.baseAddress, uLong(input.count), level)
            }
            count = status == Z_OK ? Int(length) : 0
        }
        guard status == Z_OK else {
            throw ServerError(
                .internal, "zlib cannot compress \(bytes.count) bytes: code \(status)")
        }
        return compressed
    }
}
