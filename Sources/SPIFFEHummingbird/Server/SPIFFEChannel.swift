import HummingbirdCore
import Logging
import NIOConcurrencyHelpers
import NIOCore
import NIOSSL
import SPIFFE
import SPIFFETLS

/// Puts TLS below HTTP, and what it learns of the client where contexts of requests find it.
struct SPIFFEChannel<Base: ServerChildChannel>: ServerChildChannel {
    struct Value: ServerChildChannelValue {
        let base: Base.Value
        let peer: ConnectionPeer
        var channel: any Channel { self.base.channel }
    }

    private let base: Base
    private let tls: MTLSServerConfiguration
    private let handshakeTimeout: Duration
    private let onRefused: (@Sendable (any Error) -> Void)?

    init(
        _ base: Base, tls: MTLSServerConfiguration, handshakeTimeout: Duration,
        onRefused: (@Sendable (any Error) -> Void)?
    ) {
        self.base = base
        self.tls = tls
        self.handshakeTimeout = handshakeTimeout
        self.onRefused = onRefused
    }

    func setup(channel: any Channel, logger: Logger) -> EventLoopFuture<Value> {
        let peer = ConnectionPeer()
        return channel.eventLoop.makeCompletedFuture {
            do {
                try channel.pipeline.syncOperations.addHandler(
                    try self.tls.makeHandler(
                        for: channel, onVerified: { peer.set($0) }, onRefused: self.onRefused))
                try channel.pipeline.syncOperations.addHandler(
                    HandshakeDeadline(self.handshakeTimeout, onRefused: self.onRefused))
            } catch {
                // Without an identity of our own this connection ends. An error from here would end the server.
                self.onRefused?(error)
                channel.close(promise: nil)
            }
        }.flatMap {
            self.base.setup(channel: channel, logger: logger)
        }.map { Value(base: $0, peer: peer) }
    }

    func handle(value: Value, logger: Logger) async {
        // All requests of the connection are handled in this task and its children.
        await ConnectionPeer.$current.withValue(value.peer) {
            await self.base.handle(value: value.base, logger: logger)
        }
    }
}

/// The client of one connection; known before its first request.
final class ConnectionPeer: Sendable {
    /// That of the connection whose request is being handled.
    @TaskLocal static var current: ConnectionPeer?

    private let verified = NIOLockedValueBox<VerifiedX509SVID?>(nil)

    func set(_ peer: VerifiedX509SVID) { self.verified.withLockedValue { $0 = peer } }

    var svid: VerifiedX509SVID? { self.verified.withLockedValue { $0 } }
}
