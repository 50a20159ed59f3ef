import NIOCore

#if canImport(Glibc)
    import Glibc
#elseif canImport(Darwin)
    import Darwin
#endif

/// Whom a connection comes from, as far as limits tell one from another.
enum ConnectionOrigin: Hashable, Sendable {
    /// A user of this machine, over a Unix socket.
    case user(UInt32)
    /// An IPv4 address, also one that is written as IPv6.
    case ipv4(UInt32)
    /// The upper half of an IPv6 address: whoever has one address usually has the 2^64 of its network.
    case ipv6Network(UInt64)

    /// Nil for what is no IP address.
    init?(_ address: SocketAddress) {
        guard let text = address.ipAddress else { return nil }
        var bytes = [UInt8](repeating: 0, count: 16)
        if inet_pton(AF_INET, text, &bytes) == 1 {
            self = .ipv4(Self.number(bytes[..<4]))
        } else if inet_pton(AF_INET6, text, &bytes) == 1 {
            let isIPv4 = bytes[..<12] == [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff]
            self =
                isIPv4 ? .ipv4(Self.number(bytes[12...])) : .ipv6Network(Self.number(bytes[..<8]))
        } else {
            return nil
        }
    }

    private static func number<Number: FixedWidthInteger>(_ bytes: ArraySlice<UInt8>) -> Number {
        bytes.reduce(0) { $0 << 8 | Number($1) }
    }
}
