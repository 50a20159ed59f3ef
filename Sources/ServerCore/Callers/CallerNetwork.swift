#if canImport(Glibc)
    import Glibc
#else
    import Darwin
#endif

/// Whom limits count as one.
package enum CallerNetwork {
    /// Of an IPv6 address its network of 64 bits, because who has one address there usually has them all; IPv4 that is
    /// written as IPv6 as IPv4; every other text as it is.
    ///
    /// - Parameter caller: an IP address without port, or anything else that names a caller.
    package static func counted(_ caller: String) -> String {
        guard caller.utf8.contains(UInt8(ascii: ":")) else { return caller }
        let address = caller.prefix { $0 != "%" }
        var bytes = [UInt8](repeating: 0, count: 16)
        guard inet_pton(AF_INET6, String(address), &bytes) == 1 else { return caller }
        if bytes[..<12] == [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff] {
            return bytes[12...].map { String($0) }.joined(separator: ".")
        }
        let words = stride(from: 0, to: 8, by: 2).map {
            String(UInt16(bytes[$0]) << 8 | UInt16(bytes[$0 + 1]), radix: 16)
        }
        return words.joined(separator: ":") + "::/64"
    }
}
