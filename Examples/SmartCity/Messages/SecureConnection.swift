import NIOConcurrencyHelpers
package import NIOCore
package import NIOSSL
import NIOTLS
package import SPIFFE

/// A connection over mutual TLS, and who is at its other end.
package struct SecureConnection: Sendable {
    /// The messages, encrypted on the way.
    package let channel: NIOAsyncChannel<ByteBuffer, ByteBuffer>
    private let handshake: EventLoopFuture<Void>
    private let peer: NIOLockedValueBox<Result<SPIFFEID, any Error>?>

    /// What a handler of SPIFFETLS tells while it verifies the peer.
    package typealias OnVerified = @Sendable (VerifiedX509SVID) -> Void
    package typealias OnRefused = @Sendable (any Error) -> Void

    /// Puts TLS on a new connection; call it on its event loop.
    ///
    /// - Parameter makeHandler: Makes the handler for this one connection, so with the identity and the
    ///   bundles of this moment.
    package init(
        on channel: any Channel,
        _ makeHandler: (@escaping OnVerified, @escaping OnRefused) throws -> NIOSSLHandler
    ) throws {
        let peer = NIOLockedValueBox<Result<SPIFFEID, any Error>?>(nil)
        let promise = channel.eventLoop.makePromise(of: Void.self)
        do {
            let pipeline = channel.pipeline.syncOperations
            try pipeline.addHandler(
                try makeHandler(
                    { verified in peer.withLockedValue { $0 = .success(verified.id) } },
                    { error in peer.withLockedValue { $0 = .failure(error) } }))
            try pipeline.addHandler(HandshakeHandler(promise))
            self.channel = try NIOAsyncChannel(wrappingChannelSynchronously: channel)
        } catch {
            promise.fail(error)
            throw error
        }
        self.peer = peer
        self.handshake = promise.futureResult
    }

    /// Who the peer is, once it has proven it.
    ///
    /// - Throws: Why the handshake failed: our reason when we refused, else what TLS says.
    package func verifiedPeer() async throws -> SPIFFEID {
        do {
            try await self.handshake.get()
        } catch {
            if case .failure(let refusal) = self.peer.withLockedValue({ $0 }) { throw refusal }
            throw Failure(2, Self.plain(error))
        }
        // Verification comes before the end of the handshake, so there is an answer.
        guard case .success(let id) = self.peer.withLockedValue({ $0 }) else {
            throw Failure(2, "the peer showed no X509-SVID")
        }
        return id
    }

    /// The reason of TLS in words.
    package static func plain(_ error: any Error) -> String {
        let text = "\(error)"
        let words = [
            ("WRONG_VERSION_NUMBER", "it does not speak TLS"),
            ("HTTP_REQUEST", "it does not speak TLS"),
            ("PEER_DID_NOT_RETURN_A_CERTIFICATE", "it shows no certificate"),
            ("UNSUPPORTED_PROTOCOL", "it does not speak TLS 1.3"),
            ("ALERT", "it refused our certificate"),
        ]
        guard let (word, meaning) = words.first(where: { text.contains($0.0) }) else { return text }
        return "\(meaning) (\(word))"
    }
}

/// Tells when the handshake has ended, one way or the other.
private final class HandshakeHandler: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    private var promise: EventLoopPromise<Void>?

    init(_ promise: EventLoopPromise<Void>) { self.promise = promise }

    private func complete(_ result: Result<Void, any Error>) {
        self.promise?.completeWith(result)
        self.promise = nil
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
        self.complete(.failure(Failure(2, "it hung up during the handshake")))
        context.fireChannelInactive()
    }

    func handlerRemoved(context: ChannelHandlerContext) {
        // There was no connection at all.
        self.complete(.failure(ChannelError.ioOnClosedChannel))
    }
}
