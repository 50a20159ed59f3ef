import NIOCore
import NIOTLS

/// Closes a connection whose TLS handshake does not end in time: who says nothing has no identity yet, and must not
/// hold a descriptor for ever.
final class HandshakeDeadline: ChannelInboundHandler, RemovableChannelHandler {
    typealias InboundIn = ByteBuffer

    private let timeout: TimeAmount
    private let onRefused: (@Sendable (any Error) -> Void)?
    private var timer: Scheduled<Void>?

    init(_ timeout: Duration, onRefused: (@Sendable (any Error) -> Void)?) {
        self.timeout = TimeAmount(timeout)
        self.onRefused = onRefused
    }

    func handlerAdded(context: ChannelHandlerContext) {
        let channel = context.channel
        let onRefused = self.onRefused
        self.timer = context.eventLoop.scheduleTask(in: self.timeout) {
            onRefused?(HandshakeTimeout())
            channel.close(promise: nil)
        }
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if case .handshakeCompleted = event as? TLSUserEvent {
            self.stop()
            context.pipeline.syncOperations.removeHandler(self, promise: nil)
        }
        context.fireUserInboundEventTriggered(event)
    }

    func channelInactive(context: ChannelHandlerContext) {
        self.stop()
        context.fireChannelInactive()
    }

    func handlerRemoved(context: ChannelHandlerContext) { self.stop() }

    private func stop() {
        self.timer?.cancel()
        self.timer = nil
    }
}

/// Why a connection was closed before its client had shown who it is.
struct HandshakeTimeout: Error, CustomStringConvertible {
    let description = "the TLS handshake took too long"
}
