import NIOCore
import SPIFFE

/// Whom a connection comes from, as far as limits tell one from another.
enum ConnectionOrigin: Hashable, Sendable {
    /// A user of this machine, over a Unix socket.
    case user(UInt32)
    /// An IPv4 address, also one that is written as IPv6.
    case ipv4(UInt32)
    /// The upper half of an IPv6 address.
    case ipv6Network(UInt64)

    /// As ``CallerNetwork`` has it. Nil for what is no IP address.
    init?(_ address: SocketAddress) {
        switch address.ipAddress.flatMap({ CallerNetwork($0) }) {
        case .ipv4(let address): self = .ipv4(address)
        case .ipv6(let network): self = .ipv6Network(network)
        case nil: return nil
        }
    }
}
