import CZlib

/// Many zeros, packed as small as zlib can.
enum ZlibBomb {
    static func packed(count: Int) -> [UInt8]? {
        let zeros = [UInt8](repeating: 0, count: count)
        var length = compressBound(uLong(count))
        var packed = [UInt8](repeating: 0, count: Int(length))
        guard compress2(&packed, &length, zeros, uLong(count), 9) == Z_OK else { return nil }
        return Array(packed[..<Int(length)])
    }
}
