package import GRPCCore
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
    /// Whether the connection came over a Unix socket, and so from this machine.
    package let isOnUnixSocket: Bool

    /// - Parameter isOnUnixSocket: Nil for what follows from the peer.
    package init(peer: Peer, remoteIPAddress: String?, isOnUnixSocket: Bool? = nil) {
        self.peer = peer
        self.remoteIPAddress = remoteIPAddress
        if let isOnUnixSocket {
            self.isOnUnixSocket = isOnUnixSocket
        } else if case .local = peer {
            self.isOnUnixSocket = true
        } else {
            self.isOnUnixSocket = false
        }
    }
}

extension PeerContext: CustomStringConvertible {
    /// For logs: `unix:pid=4711`, `unix:tls` or `tcp:192.0.2.7`.
    package var description: String {
        switch self.peer {
        case .local(let local): "unix:pid=\(local.pid)"
        case .tls where self.isOnUnixSocket: "unix:tls"
        case .tls: "tcp:\(self.remoteIPAddress ?? "unknown")"
        }
    }
}

extension ServerContext {
    /// The peer of the call's connection; nil under a transport that is not ours.
    package var peerContext: PeerContext? {
        self.transportSpecific as? PeerContext
            ?? (self.transportSpecific as? JWTCallContext)?.transport as? PeerContext
    }
}
