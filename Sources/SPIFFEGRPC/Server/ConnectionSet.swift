import NIOConcurrencyHelpers
import NIOCore

/// The open connections and running calls of one listener.
final class ConnectionSet: Sendable {
    private struct State {
        var connections: [ObjectIdentifier: (any Channel, NIOLoopBound<GRPCConnectionHandler>)] =
            [:]
        var counts: [ConnectionOrigin: Int] = [:]
        /// Running calls; nil until the task is known.
        var calls: [UInt64: Task<Void, Never>?] = [:]
        var nextCall: UInt64 = 1
        var isStopping = false
        var isStopped = false
        var waiters: [CheckedContinuation<Void, Never>] = []
        var isEmpty: Bool { self.connections.isEmpty && self.calls.isEmpty }
    }

    private let state = NIOLockedValueBox(State())
    private let maxPerUser: Int?
    private let maxPerAddress: Int?
    private let max: Int?

    /// - Parameters:
    ///   - maxPerUser: Connections of one user; nil means any number, as for all of them.
    ///   - maxPerAddress: Connections of one IPv4 address or IPv6 network.
    ///   - max: Connections altogether.
    init(maxPerUser: Int?, maxPerAddress: Int? = nil, max: Int? = nil) {
        self.maxPerUser = maxPerUser
        self.maxPerAddress = maxPerAddress
        self.max = max
    }

    /// How many connections are open.
    var count: Int { self.state.withLockedValue { $0.connections.count } }

    /// Enters a connection for as long as it is open. False: it is one too many.
    func add(
        _ channel: any Channel, _ handler: GRPCConnectionHandler, from origin: ConnectionOrigin?
    ) -> Bool {
        let id = ObjectIdentifier(channel)
        let bound = NIOLoopBound(handler, eventLoop: channel.eventLoop)
        let isTaken = self.state.withLockedValue { state in
            if state.isStopping { return false }
            if let max = self.max, state.connections.count >= max { return false }
            if let origin {
                let count = state.counts[origin, default: 0]
                if let max = self.limit(of: origin), count >= max { return false }
                state.counts[origin] = count + 1
            }
            state.connections[id] = (channel, bound)
            return true
        }
        if isTaken { channel.closeFuture.whenComplete { _ in self.remove(id, origin) } }
        return isTaken
    }

    private func limit(of origin: ConnectionOrigin) -> Int? {
        switch origin {
        // Root too: it is the usual user in a container.
        case .user: self.maxPerUser
        case .ipv4, .ipv6Network: self.maxPerAddress
        }
    }

    private func remove(_ id: ObjectIdentifier, _ origin: ConnectionOrigin?) {
        self.change { state in
            state.connections[id] = nil
            if let origin, let count = state.counts[origin] {
                state.counts[origin] = count > 1 ? count - 1 : nil
            }
        }
    }

    /// Runs a call in a task of its own, which ``stop()`` cancels also when its connection is long gone.
    ///
    /// - Returns: The task, for who wants to cancel it earlier.
    @discardableResult
    func run(
        on executor: (any TaskExecutor)?, _ call: @escaping @Sendable () async -> Void
    ) -> Task<Void, Never> {
        let id = self.state.withLockedValue { state in
            defer { state.nextCall += 1 }
            state.calls[state.nextCall] = .some(nil)
            return state.nextCall
        }
        // Ends with the call, whose end `waitUntilEmpty` waits for.
        let task = Task(executorPreference: executor) {
            await call()
            self.change { $0.calls[id] = nil }
        }
        let isStopped = self.state.withLockedValue { state in
            if state.calls[id] != nil { state.calls[id] = .some(task) }
            return state.isStopped
        }
        if isStopped { task.cancel() }
        return task
    }

    private func change(_ change: (inout State) -> Void) {
        let waiters = self.state.withLockedValue { state in
            change(&state)
            if !state.isEmpty || state.waiters.isEmpty {
                return [CheckedContinuation<Void, Never>]()
            }
            defer { state.waiters = [] }
            return state.waiters
        }
        for waiter in waiters { waiter.resume() }
    }

    /// Lets connections come to an end: clients are told to go elsewhere, handlers to finish.
    func beginStopping() {
        let connections = self.state.withLockedValue { state in
            state.isStopping = true
            return state.connections.values.map { $0 }
        }
        for (channel, handler) in connections {
            channel.eventLoop.execute { handler.value.beginClosing(cancelsCalls: true) }
        }
    }

    /// Closes all connections and cancels all calls.
    func stop() {
        let (connections, calls) = self.state.withLockedValue { state in
            state.isStopping = true
            state.isStopped = true
            return (state.connections.values.map { $0 }, state.calls.values.map { $0 })
        }
        for (channel, _) in connections { channel.close(promise: nil) }
        for call in calls { call?.cancel() }
    }

    /// Waits until there is no connection and no call left.
    func waitUntilEmpty() async {
        await withCheckedContinuation { waiter in
            let isEmpty = self.state.withLockedValue { state in
                if state.isEmpty { return true }
                state.waiters.append(waiter)
                return false
            }
            if isEmpty { waiter.resume() }
        }
    }
}
