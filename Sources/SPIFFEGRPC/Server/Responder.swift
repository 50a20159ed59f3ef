import GRPCCore
import NIOConcurrencyHelpers
import NIOCore

/// Writes an answer from a task: parts collect under a lock and go to the event loop together.
final class Responder: ClosableRPCWriterProtocol {
    typealias Element = RPCResponsePart<[UInt8]>

    /// Bytes that may wait for the event loop or the client; who writes more waits.
    private static let outboundBytes = 64 * 1024

    private struct State {
        var parts: [Element] = []
        var isScheduled = false
        /// Bytes written and not yet taken by the client's window.
        var waitingBytes = 0
        var isEnded = false
        var waiter: CheckedContinuation<Void, Never>?
        var cancellation: ServerContext.RPCCancellationHandle?
        var isCancelled = false
    }

    private let state = NIOLockedValueBox(State())
    private let call: NIOLoopBound<GRPCCall>
    private let eventLoop: any EventLoop

    init(_ call: NIOLoopBound<GRPCCall>, eventLoop: any EventLoop) {
        self.call = call
        self.eventLoop = eventLoop
    }

    // MARK: From the task

    func setCancellation(_ handle: ServerContext.RPCCancellationHandle) {
        let isCancelled = self.state.withLockedValue { state in
            state.cancellation = handle
            return state.isCancelled
        }
        if isCancelled { handle.cancel() }
    }

    /// - Throws: `RPCError` when the call has ended.
    func write(_ element: Element) async throws {
        try await self.write(contentsOf: CollectionOfOne(element))
    }

    func write(contentsOf elements: some Sequence<Element>) async throws {
        let (isEnded, isDue, isFull) = self.state.withLockedValue {
            state -> (Bool, Bool, Bool) in
            if state.isEnded { return (true, false, false) }
            for element in elements {
                state.parts.append(element)
                switch element {
                case .metadata: continue
                case .message(let bytes): state.waitingBytes += bytes.count
                case .status: state.isEnded = true
                }
            }
            // What follows before the event loop comes round goes with it.
            let isDue = !state.isScheduled
            state.isScheduled = true
            return (false, isDue, state.waitingBytes > Self.outboundBytes && !state.isEnded)
        }
        if isEnded { throw RPCError(code: .cancelled, message: "the call has ended") }
        if isDue { self.eventLoop.execute { self.deliver() } }
        if isFull { await self.waitForRoom() }
    }

    func finish() async { self.handlerReturned() }

    func finish(throwing error: any Error) async { self.handlerReturned() }

    /// The handler is done. A call without a status would leave its client waiting for ever.
    func handlerReturned() {
        let isDue = self.state.withLockedValue { state in
            if state.isEnded { return false }
            state.isEnded = true
            state.parts.append(
                .status(Status(code: .unknown, message: "the call ended without a status"), [:]))
            defer { state.isScheduled = true }
            return !state.isScheduled
        }
        if isDue { self.eventLoop.execute { self.deliver() } }
    }

    private func waitForRoom() async {
        await withCheckedContinuation { waiter in
            let isFree = self.state.withLockedValue { state in
                if state.isEnded || state.waitingBytes <= Self.outboundBytes { return true }
                state.waiter = waiter
                return false
            }
            if isFree { waiter.resume() }
        }
    }

    // MARK: On the event loop

    private func deliver() {
        let parts = self.state.withLockedValue { state in
            state.isScheduled = false
            defer { state.parts = [] }
            return state.parts
        }
        let call = self.call.value
        for part in parts {
            switch part {
            case .metadata(let metadata): call.sendHead(metadata)
            case .message(let bytes): call.send(bytes)
            case .status(let status, let metadata): call.finish(status, metadata: metadata)
            }
        }
        if !call.isBlocked { self.unblocked() }
    }

    func unblocked() {
        let waiter = self.state.withLockedValue { state in
            state.waitingBytes = state.parts.reduce(0) { sum, part in
                if case .message(let bytes) = part { sum + bytes.count } else { sum }
            }
            defer { state.waiter = nil }
            return state.waiter
        }
        waiter?.resume()
    }

    /// The client is gone.
    func cancel() {
        let (waiter, handle) = self.state.withLockedValue { state in
            state.isEnded = true
            state.isCancelled = true
            state.parts = []
            defer { state.waiter = nil }
            return (state.waiter, state.cancellation)
        }
        waiter?.resume()
        handle?.cancel()
    }

    /// The server is about to end; an answer is still welcome.
    func stop() {
        let handle = self.state.withLockedValue { state in
            state.isCancelled = true
            return state.cancellation
        }
        handle?.cancel()
    }
}
