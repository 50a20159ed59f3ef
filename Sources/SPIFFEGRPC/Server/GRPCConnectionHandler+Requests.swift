import GRPCCore
import HTTP2
import NIOCore
import NIOHPACK

// How a stream becomes a call, and its bytes messages.
extension GRPCConnectionHandler {
    /// Begins the call of a request, or refuses it.
    func begin(_ id: HTTP2ServerConnection.StreamID, _ head: RequestHead) {
        if self.report(self.currentLoad).hasTooManyCalls {
            return self.refuse(
                id, .resourceExhausted, "too many calls are open here; end some and try again")
        }
        guard head.method == "POST" else { return self.refuse(id, httpStatus: 405) }
        guard let type = head.fields.first(name: "content-type"), Self.isGRPC(type) else {
            return self.refuse(id, httpStatus: 415)
        }
        let path = head.path.utf8
        guard path.first == UInt8(ascii: "/"), let slash = path.dropFirst().firstIndex(of: 0x2f)
        else { return self.refuse(id, .unimplemented, "no such method") }
        let encoding = head.fields.first(name: "grpc-encoding") ?? "identity"
        if encoding != "identity" {
            return self.refuse(
                id, .unimplemented, "messages compressed as \(encoding) are not supported",
                ["grpc-accept-encoding": "identity"])
        }
        guard let context = self.context else { return }
        let call = GRPCCall(
            streamID: id, eventLoop: context.eventLoop, peer: self.peer,
            service: String(head.path[path.index(after: path.startIndex)..<slash]),
            method: String(head.path[path.index(after: slash)...]), connection: self)
        self.calls[id] = call
        if let service = self.listener.services[call.service], service.serves(call.method) {
            guard let handler = service.handler(for: call, fields: head.fields) else {
                return call.finish(Status(code: .unimplemented, message: "no such method"))
            }
            // It may have ended the call already.
            guard self.calls[id] === call else { return }
            call.handler = handler
        } else {
            call.handler = RoutedCall(call, fields: head.fields, listener: self.listener)
        }
        // gRPC's router keeps deadlines as well, but not of a call whose request never comes.
        self.armDeadline(call, head.fields)
    }

    /// Passes on what has come of a request's body.
    func receive(
        _ id: HTTP2ServerConnection.StreamID, _ bytes: ByteBuffer, isComplete: Bool
    ) {
        guard let call = self.calls[id], let handler = call.handler else { return }
        call.reader.append(bytes)
        do throws(RPCError) {
            while let message = try call.reader.next(
                maxBytes: self.listener.settings.maxRequestBytes)
            {
                handler.receive(message)
                if self.calls[id] == nil { return }
            }
            self.count(call, call.reader.bufferedBytes)
            if self.bufferedBytes > self.listener.settings.maxBufferedBytes {
                throw RPCError(
                    code: .resourceExhausted,
                    message: "too many incomplete requests on one connection")
            }
            if isComplete, call.reader.bufferedBytes > 0 {
                throw RPCError(code: .internalError, message: "request ends inside a message")
            }
        } catch {
            self.calls[id] = nil
            call.finish(Status(code: Status.Code(error.code), message: error.message))
            self.release(call)?.cancelled()
            return
        }
        self.credit(call, bytes.readableBytes)
        if isComplete { handler.receiveEnd() }
    }

    /// Lets the client send on, unless the handler is behind.
    private func credit(_ call: GRPCCall, _ count: Int) {
        if let routed = call.handler as? RoutedCall, routed.isBehind {
            call.withheld += count
        } else {
            self.http2.consumed(count, on: call.streamID)
        }
    }

    /// The handler has caught up.
    func creditWithheld(_ call: GRPCCall) {
        if call.withheld == 0 || self.calls[call.streamID] !== call { return }
        self.http2.consumed(call.withheld, on: call.streamID)
        call.withheld = 0
        self.scheduleFlush()
    }

    private static func isGRPC(_ contentType: String) -> Bool {
        let prefix = "application/grpc"
        guard contentType.hasPrefix(prefix) else { return false }
        let next = contentType.utf8.dropFirst(prefix.utf8.count).first
        return next == nil || next == UInt8(ascii: "+") || next == UInt8(ascii: ";")
    }

    private func refuse(_ id: HTTP2ServerConnection.StreamID, httpStatus: Int) {
        self.http2.send(block: HeaderBlocks.http(status: httpStatus), on: id, endsStream: true)
    }

    private func refuse(
        _ id: HTTP2ServerConnection.StreamID, _ code: Status.Code, _ message: String,
        _ metadata: Metadata = [:]
    ) {
        let block = HeaderBlocks.trailersOnly(Status(code: code, message: message), metadata)
        self.http2.send(block: block, on: id, endsStream: true)
    }

    private func armDeadline(_ call: GRPCCall, _ fields: HPACKHeaders) {
        guard let text = fields.first(name: "grpc-timeout"), let after = Timeout.parse(text)
        else { return }
        let id = call.streamID
        call.deadline = self.schedule(after: after) { handler in
            guard let call = handler.calls.removeValue(forKey: id) else { return }
            call.finish(Status(code: .deadlineExceeded, message: "deadline exceeded"))
            handler.release(call)?.cancelled()
        }
    }
}
