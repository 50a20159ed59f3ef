import NIOConcurrencyHelpers
import NIOCore
import NIOSSL
import NIOTLS
import SPIFFE

/// A connection whose handshake may still be going on.
struct PendingConnection: Sendable {
    typealias OnVerified = @Sendable (VerifiedX509SVID) -> Void
    typealias OnRefused = @Sendable (any Error) -> Void

    private let channel: NIOAsyncChannel<ByteBuffer, ByteBuffer>
    private let handshake: EventLoopFuture<Void>
    private let peer: NIOLockedValueBox<Result<VerifiedX509SVID, any Error>?>

    /// Puts TLS on a new connection; call it on its event loop.
    ///
    /// Without an identity of our own the connection comes about and its handshake fails: an error at this
    /// place would end a whole server.
    init(
        _ channel: any Channel, timeout: Duration,
        _ makeHandler: (@escaping OnVerified, @escaping OnRefused) throws -> NIOSSLHandler
    ) throws {
        let peer = NIOLockedValueBox<Result<VerifiedX509SVID, any Error>?>(nil)
        let promise = channel.eventLoop.makePromise(of: Void.self)
        self.peer = peer
        self.handshake = promise.futureResult
        do {
            let pipeline = channel.pipeline.syncOperations
            do {
                try pipeline.addHandler(
                    try makeHandler(
                        { verified in peer.withLockedValue { $0 = .success(verified) } },
                        { error in peer.withLockedValue { $0 = .failure(error) } }))
                try pipeline.addHandler(HandshakeHandler(promise, timeout: TimeAmount(timeout)))
            } catch {
                promise.fail(
                    MTLSConnectionError(.noIdentity, "there is no X509-SVID to present", error))
                channel.close(promise: nil)
            }
            self.channel = try NIOAsyncChannel(wrappingChannelSynchronously: channel)
        } catch {
            promise.fail(error)
            throw error
        }
    }

    /// Waits for the handshake, runs the body and closes the connection.
    nonisolated(nonsending) func serve<Result: Sendable>(
        _ body: (MTLSConnection) async throws -> Result
    ) async throws -> Result {
        var result: Result?
        do {
            try await self.channel.executeThenClose { inbound, outbound in
                let connection = MTLSConnection(
                    peer: try await self.verifiedPeer(), inbound: inbound, outbound: outbound)
                result = try await body(connection)
            }
        } catch {
            // The body is done: many programs hang up without TLS's farewell, and that harms nobody now.
            if let result { return result }
            throw error
        }
        guard let result else { throw ChannelError.ioOnClosedChannel }
        return result
    }

    /// Closes the connection, whatever became of its handshake.
    func close() async throws { try await self.channel.executeThenClose { _, _ in } }

    private func verifiedPeer() async throws -> VerifiedX509SVID {
        do {
            try await self.handshake.get()
        } catch let error as MTLSConnectionError {
            throw error
        } catch {
            if case .failure(let refusal) = self.peer.withLockedValue({ $0 }) {
                throw MTLSConnectionError(.refusedPeer, "the peer is refused", refusal)
            }
            throw MTLSConnectionError(.handshake, "the TLS handshake failed", error)
        }
        // Verification comes before the end of the handshake, so there is an answer.
        guard case .success(let peer) = self.peer.withLockedValue({ $0 }) else {
            throw MTLSConnectionError(.noCertificate, "the peer showed no X509-SVID")
        }
        return peer
    }
}

/// Tells when the handshake has ended, one way or the other, and ends one that takes too long.
private final class HandshakeHandler: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    private var promise: EventLoopPromise<Void>?
    private let timeout: TimeAmount
    private var timer: Scheduled<Void>?

    init(_ promise: EventLoopPromise<Void>, timeout: TimeAmount) {
        self.promise = promise
        self.timeout = timeout
    }

    private func complete(_ result: Result<Void, any Error>) {
        self.timer?.cancel()
        self.timer = nil
        self.promise?.completeWith(result)
        self.promise = nil
    }

    func handlerAdded(context: ChannelHandlerContext) {
        let channel = context.channel
        let promise = self.promise
        self.timer = context.eventLoop.scheduleTask(in: self.timeout) {
            promise?.fail(MTLSConnectionError(.handshake, "the TLS handshake took too long"))
            channel.close(promise: nil)
        }
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if case .handshakeCompleted = event as? TLSUserEvent { self.complete(.success(())) }
        context.fireUserInboundEventTriggered(event)
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        self.complete(.failure(error))
        context.fireErrorCaught(error)
    }

    func channelInactive(context: ChannelHandlerContext) {
        self.complete(.failure(ChannelError.eof))
        context.fireChannelInactive()
    }

    func handlerRemoved(context: ChannelHandlerContext) {
        self.complete(.failure(ChannelError.ioOnClosedChannel))
    }
}
