#if canImport(Glibc)
    import Glibc
#else
    import Darwin
#endif

/// Whom limits count as one: an IPv4 address, or an IPv6 network of 64 bits, because who has one address there usually has
/// them all.
package enum CallerNetwork: Hashable, Sendable, CustomStringConvertible {
    /// An address, also one that is written as IPv6.
    case ipv4(UInt32)
    /// The upper half of an address.
    case ipv6(UInt64)

    /// Reads an IP address without port, an IPv6 address with its zone or without; nil for every other text.
    package init?(_ text: String) {
        var bytes = [UInt8](repeating: 0, count: 16)
        if inet_pton(AF_INET, text, &bytes) == 1 {
            self = .ipv4(Self.number(bytes[..<4]))
            return
        }
        guard text.utf8.contains(UInt8(ascii: ":")),
            inet_pton(AF_INET6, String(text.prefix { $0 != "%" }), &bytes) == 1
        else { return nil }
        let isIPv4 = bytes[..<12] == [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff]
        self = isIPv4 ? .ipv4(Self.number(bytes[12...])) : .ipv6(Self.number(bytes[..<8]))
    }

    /// The address in dotted form, or the network with `/64`.
    package var description: String {
        switch self {
        case .ipv4(let address):
            stride(from: 24, through: 0, by: -8).map {
                String(UInt8(truncatingIfNeeded: address >> $0))
            }
            .joined(separator: ".")
        case .ipv6(let network):
            stride(from: 48, through: 0, by: -16)
                .map { String(UInt16(truncatingIfNeeded: network >> $0), radix: 16) }
                .joined(separator: ":") + "::/64"
        }
    }

    /// What stands for a caller where callers are counted: its network, or every other text as it is.
    ///
    /// - Parameter caller: an IP address without port, or anything else that names a caller.
    package static func counted(_ caller: String) -> String {
        CallerNetwork(caller)?.description ?? caller
    }

    private static func number<Number: FixedWidthInteger>(_ bytes: ArraySlice<UInt8>) -> Number {
        bytes.reduce(0) { $0 << 8 | Number($1) }
    }
}
