import Foundation
import NIOConcurrencyHelpers
import NIOCore
import NIOSSL
import SPIFFE

/// The open connections of one configuration with who is at their other ends, so that those of peers whose SVIDs are
/// taken back, or whose trust domain is not trusted with them any more, can be closed.
///
/// There is no task and no timer: when the source says that something has changed, all of them are looked at once.
final class LiveConnections: Sendable {
    private struct Connection {
        let channel: any Channel
        let peer: VerifiedX509SVID
        let onRevoked: (@Sendable (any Error) -> Void)?
    }

    private struct State {
        var connections: [ObjectIdentifier: Connection] = [:]
        var observations: [RevocationObservation] = []
    }

    private let recheck: PeerRecheck
    private let state = NIOLockedValueBox(State())

    /// - Returns: nil when connections are not to be closed.
    init?(_ recheck: PeerRecheck?) {
        guard let recheck else { return nil }
        self.recheck = recheck
        let observations = recheck.observe { [weak self] in self?.checkAll() }
        self.state.withLockedValue { $0.observations = observations }
    }

    /// How many are open.
    var count: Int { self.state.withLockedValue { $0.connections.count } }

    /// Watches over a connection until it ends.
    func add(
        _ channel: any Channel, _ peer: VerifiedX509SVID,
        onRevoked: (@Sendable (any Error) -> Void)?
    ) {
        let key = ObjectIdentifier(channel)
        let connection = Connection(channel: channel, peer: peer, onRevoked: onRevoked)
        self.state.withLockedValue { $0.connections[key] = connection }
        channel.closeFuture.whenComplete { [weak self] _ in
            _ = self?.state.withLockedValue { $0.connections.removeValue(forKey: key) }
        }
        // It may have been taken back after it was verified and before it was noted.
        self.check(connection)
    }

    private func checkAll() {
        let connections = self.state.withLockedValue { Array($0.connections.values) }
        for connection in connections { self.check(connection) }
    }

    private func check(_ connection: Connection) {
        do throws(X509SVIDError) {
            try self.recheck.check(connection.peer, now: Date())
        } catch {
            connection.onRevoked?(error)
            Self.close(connection.channel)
        }
    }

    /// Closes below TLS: a farewell would wait for the peer, who could go on talking.
    private static func close(_ channel: any Channel) {
        channel.eventLoop.execute {
            let pipeline = channel.pipeline.syncOperations
            let context =
                (try? pipeline.context(handlerType: NIOSSLServerHandler.self))
                ?? (try? pipeline.context(handlerType: NIOSSLClientHandler.self))
            if let context { context.close(promise: nil) } else { channel.close(promise: nil) }
        }
    }
}
