package import GRPCCore
import HTTP2
package import NIOCore
package import NIOHPACK

/// Serves the calls of one gRPC service on the event loop of their connection.
///
/// For services whose answers are at hand: nothing here may wait. What takes time is done elsewhere
/// and comes back with the event loop's `execute`.
package protocol EventLoopService: Sendable {
    /// The service's full name, such as `SpiffeWorkloadAPI`.
    var name: String { get }

    /// Whether calls of the method come here; those of others go to gRPC's router. True unless a service says
    /// otherwise.
    func serves(_ method: String) -> Bool

    /// Takes a call, or gives nil when there is no such method. A call may be finished right here: then nothing is
    /// called on its handler.
    ///
    /// - Parameter fields: The request's header section. Not to be kept: a stream may stay open for days.
    func handler(for call: GRPCCall, fields: HPACKHeaders) -> (any GRPCCallHandler)?
}

extension EventLoopService {
    package func serves(_ method: String) -> Bool { true }
}

/// What becomes of one call; everything is called on its event loop.
package protocol GRPCCallHandler: AnyObject {
    /// A message of the request.
    func receive(_ message: ByteBuffer)
    /// The request is complete.
    func receiveEnd()
    /// Nobody waits for an answer any more: the client cancelled, the deadline passed, or the connection
    /// is gone. Nothing is called after it.
    func cancelled()
    /// After ``GRPCCall/isBlocked`` was true: more may be sent.
    func unblocked()
}

/// One call, seen from the server. Belongs to the event loop of its connection and may only be used
/// there.
package final class GRPCCall {
    let streamID: HTTP2ServerConnection.StreamID
    package let eventLoop: any EventLoop
    /// Who calls.
    package let peer: PeerContext
    /// The full name of the service, and the method's.
    package let service: String
    package let method: String
    /// Let go of when the call ends.
    var connection: GRPCConnectionHandler?
    var handler: (any GRPCCallHandler)?
    var reader = MessageReader()
    /// Bytes in `reader` as the connection has counted them.
    var countedBytes = 0
    var deadline: Scheduled<Void>?
    /// Bytes that were received and wait for the handler before the client may send as many again.
    var withheld = 0
    private var hasSentHead = false

    init(
        streamID: HTTP2ServerConnection.StreamID, eventLoop: any EventLoop, peer: PeerContext,
        service: String, method: String, connection: GRPCConnectionHandler
    ) {
        self.streamID = streamID
        self.eventLoop = eventLoop
        self.peer = peer
        self.service = service
        self.method = method
        self.connection = connection
    }

    /// Whether what was sent last still waits for the client to read. A handler that can wait sends no
    /// more until ``GRPCCallHandler/unblocked()``.
    package var isBlocked: Bool { self.connection?.isBlocked(self.streamID) ?? false }

    /// Sends initial metadata; without it an empty one goes before the first message.
    package func sendHead(_ metadata: Metadata = [:]) {
        if self.hasSentHead { return }
        self.hasSentHead = true
        self.connection?.send(
            block: HeaderBlocks.head(metadata), on: self.streamID, endsStream: false)
    }

    /// Sends one message.
    package func send(_ message: some Collection<UInt8>) {
        self.connection?.send(own: MessageReader.framed(message), for: self)
    }

    /// Sends one message that has its prefix already: what many streams send is framed once.
    package func send(framed message: ByteBuffer) {
        self.sendHead()
        self.connection?.send(message, on: self.streamID)
    }

    /// Ends the call. Nothing may be sent after it.
    package func finish(_ status: Status, metadata: Metadata = [:]) {
        guard let connection = self.connection else { return }
        let block =
            self.hasSentHead
            ? HeaderBlocks.trailers(status, metadata) : HeaderBlocks.trailersOnly(status, metadata)
        connection.finish(self, block)
    }

    /// Asks the client to make its next calls on a new connection, with a new handshake. Calls that are open
    /// go on. Does nothing once this call has ended.
    package func renewConnection() { self.connection?.renew() }

    /// A message with its prefix, for ``send(framed:)``.
    package static func framed(_ message: some Collection<UInt8>) -> ByteBuffer {
        MessageReader.framed(message)
    }
}
