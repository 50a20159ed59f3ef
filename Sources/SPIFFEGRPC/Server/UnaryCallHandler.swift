import GRPCCore
package import NIOCore

/// Serves a call with one message each way: the work is a task on the event loop of the connection.
package final class UnaryCallHandler: GRPCCallHandler {
    /// Turns a request into an answer. What it throws becomes the call's status: an `RPCError` or what can be converted
    /// to one as it says, anything else UNKNOWN.
    package typealias Work =
        @Sendable (_ request: [UInt8], _ peer: PeerContext) async throws -> [UInt8]

    private let call: GRPCCall
    private let work: Work
    private var request: [UInt8]?
    private var isOver = false
    private var task: Task<Void, Never>?

    package init(_ call: GRPCCall, _ work: @escaping Work) {
        self.call = call
        self.work = work
    }

    package func receive(_ message: ByteBuffer) {
        if self.request != nil {
            return self.end(Status(code: .internalError, message: "more than one request message"))
        }
        self.request = Array(buffer: message)
    }

    package func receiveEnd() {
        if self.isOver { return }
        guard let request = self.request, let connection = self.call.connection else {
            return self.end(Status(code: .internalError, message: "request message is missing"))
        }
        let bound = NIOLoopBound(self, eventLoop: self.call.eventLoop)
        let (work, peer, eventLoop) = (self.work, self.call.peer, self.call.eventLoop)
        self.task = connection.listener.connections.run(on: EventLoopExecutor.of(eventLoop)) {
            let result: Result<[UInt8], any Error>
            do { result = .success(try await work(request, peer)) } catch {
                result = .failure(error)
            }
            if eventLoop.inEventLoop {
                bound.value.finish(result)
            } else {
                eventLoop.execute { bound.value.finish(result) }
            }
        }
    }

    /// The work is cancelled, and ends where it asks about that; nobody hears of its result.
    package func cancelled() {
        self.isOver = true
        self.task?.cancel()
        self.task = nil
    }

    package func unblocked() {}

    private func finish(_ result: Result<[UInt8], any Error>) {
        self.task = nil
        if self.isOver { return }
        switch result {
        case .success(let answer):
            self.call.send(answer)
            self.end(Status(code: .ok, message: ""))
        case .failure(let error):
            let error =
                error as? RPCError ?? (error as? any RPCErrorConvertible).map { RPCError($0) }
                ?? RPCError(code: .unknown, message: "the call failed")
            self.end(Status(code: Status.Code(error.code), message: error.message), error.metadata)
        }
    }

    private func end(_ status: Status, _ metadata: Metadata = [:]) {
        if self.isOver { return }
        self.isOver = true
        self.call.finish(status, metadata: metadata)
    }
}
