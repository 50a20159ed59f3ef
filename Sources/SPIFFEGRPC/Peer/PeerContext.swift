package import GRPCCore
import NIOConcurrencyHelpers
package import SPIFFE

/// Who is at the other end of a call's connection, as the listener learned it itself: from the kernel for a
/// Unix socket, from the verified certificate chain for TLS.
///
/// Handlers find it in `ServerContext.transportSpecific` of every call that ``SPIFFEServerTransport``
/// delivers.
package struct PeerContext: ServerContext.TransportSpecific {
    package enum Peer: Sendable {
        /// A process on this machine, taken from the socket when it connected.
        case local(LocalPeer)
        /// A caller over TLS. `verified` is nil when it presented no certificate.
        case tls(verified: VerifiedX509SVID?)
    }

    package let peer: Peer
    /// The remote IP address without port, or nil on a Unix socket.
    package let remoteIPAddress: String?

    package init(peer: Peer, remoteIPAddress: String?) {
        self.peer = peer
        self.remoteIPAddress = remoteIPAddress
    }
}

extension ServerContext {
    /// The peer of the call's connection; nil under a transport that is not ours.
    package var peerContext: PeerContext? { self.transportSpecific as? PeerContext }
}

/// What is known about one open connection.
final class ConnectionPeer: Sendable {
    enum Kind: Sendable {
        case local(LocalPeer)
        /// Filled in by the handshake's verification; stays nil without a client certificate.
        case tls(NIOLockedValueBox<VerifiedX509SVID?>)
    }

    let kind: Kind
    let remoteIPAddress: String?

    init(kind: Kind, remoteIPAddress: String?) {
        self.kind = kind
        self.remoteIPAddress = remoteIPAddress
    }

    var context: PeerContext {
        switch self.kind {
        case .local(let peer): PeerContext(peer: .local(peer), remoteIPAddress: nil)
        case .tls(let box):
            PeerContext(
                peer: .tls(verified: box.withLockedValue { $0 }),
                remoteIPAddress: self.remoteIPAddress)
        }
    }
}

/// The open connections of one listener, by number.
final class ConnectionRegistry: Sendable {
    private struct State {
        var next: UInt64 = 1
        var peers: [UInt64: ConnectionPeer] = [:]
    }

    private let state = NIOLockedValueBox(State())

    /// Takes a new number, never used before in this process.
    func add(_ peer: ConnectionPeer) -> UInt64 {
        self.state.withLockedValue { state in
            let id = state.next
            state.next += 1
            state.peers[id] = peer
            return id
        }
    }

    func remove(_ id: UInt64) {
        _ = self.state.withLockedValue { $0.peers.removeValue(forKey: id) }
    }

    /// The peer that a `remotePeer` text (`unix:#<id>`) stands for.
    func peer(forTag tag: String) -> ConnectionPeer? {
        guard let hash = tag.utf8.lastIndex(of: UInt8(ascii: "#")),
            let id = UInt64(tag[tag.utf8.index(after: hash)...])
        else { return nil }
        return self.state.withLockedValue { $0.peers[id] }
    }

    /// How many connections are open.
    var count: Int { self.state.withLockedValue { $0.peers.count } }
}
