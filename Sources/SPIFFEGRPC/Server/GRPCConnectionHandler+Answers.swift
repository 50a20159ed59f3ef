import GRPCCore
import HTTP2
import NIOCore

// What calls send, and how they end.
extension GRPCConnectionHandler {
    func isBlocked(_ id: HTTP2ServerConnection.StreamID) -> Bool {
        !self.isWritable || self.http2.isBlocked(id)
    }

    func send(block: ByteBuffer, on id: HTTP2ServerConnection.StreamID, endsStream: Bool) {
        self.http2.send(block: block, on: id, endsStream: endsStream)
        self.scheduleFlush()
    }

    func send(_ bytes: ByteBuffer, on id: HTTP2ServerConnection.StreamID) {
        self.http2.send(bytes, on: id)
        self.scheduleFlush()
    }

    /// Sends a message that is kept for this call alone, unless the client does not take it and there is too much
    /// of that already.
    func send(own bytes: ByteBuffer, for call: GRPCCall) {
        let leaves =
            self.isWritable && self.http2.hasRoom(for: bytes.readableBytes, on: call.streamID)
        if !leaves, self.report(self.currentLoad).holdsTooMuch {
            self.calls[call.streamID] = nil
            call.finish(
                Status(
                    code: .resourceExhausted,
                    message: "too many answers wait to be read; read them and try again"))
            self.release(call)?.cancelled()
            return
        }
        call.sendHead()
        self.http2.send(bytes, on: call.streamID, isOwn: true)
        self.scheduleFlush()
    }

    func finish(_ call: GRPCCall, _ block: ByteBuffer) {
        self.send(block: block, on: call.streamID, endsStream: true)
        if self.calls[call.streamID] === call {
            self.calls[call.streamID] = nil
            _ = self.release(call)
        }
    }

    /// Lets go of a call that has left `calls`; gives its handler, for the caller to say why.
    func release(_ call: GRPCCall) -> (any GRPCCallHandler)? {
        self.count(call, 0)
        call.reader = MessageReader()
        call.deadline?.cancel()
        call.deadline = nil
        call.connection = nil
        let handler = call.handler
        call.handler = nil
        return handler
    }
}
