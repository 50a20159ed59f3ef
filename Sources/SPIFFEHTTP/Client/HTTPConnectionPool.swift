import NIOConcurrencyHelpers
import NIOCore

/// The connections of a client that are open, and those of them that wait for a request.
final class HTTPConnectionPool: Sendable {
    private struct Idle {
        let connection: HTTPConnection
        let since: NIODeadline
    }

    private struct State {
        var idle: [HTTPSURL.Origin: [Idle]] = [:]
        var counts: [HTTPSURL.Origin: Int] = [:]
        var isShutDown = false
    }

    private let state = NIOLockedValueBox(State())
    private let limits: SPIFFEHTTPClient.Limits

    init(limits: SPIFFEHTTPClient.Limits) { self.limits = limits }

    /// An open connection, the one that was used last; nil when there is none.
    func reuse(_ origin: HTTPSURL.Origin) throws(SPIFFEHTTPError) -> HTTPConnection? {
        let (found, tooOld, isShutDown) = self.state.withLockedValue {
            state -> (HTTPConnection?, [HTTPConnection], Bool) in
            if state.isShutDown { return (nil, [], true) }
            var tooOld: [HTTPConnection] = []
            while let last = state.idle[origin]?.popLast() {
                if last.connection.channel.isActive, !self.isTooOld(last.connection) {
                    return (last.connection, tooOld, false)
                }
                tooOld.append(last.connection)
            }
            state.idle[origin] = nil
            return (nil, tooOld, false)
        }
        for connection in tooOld { connection.channel.close(promise: nil) }
        if isShutDown { throw Self.closed }
        return found
    }

    /// Counts a connection that is about to be opened.
    func reserve(_ origin: HTTPSURL.Origin) throws(SPIFFEHTTPError) {
        let error = self.state.withLockedValue { state -> SPIFFEHTTPError? in
            if state.isShutDown { return Self.closed }
            let count = state.counts[origin, default: 0]
            guard count < self.limits.maximumConnectionsPerServer else {
                return SPIFFEHTTPError(
                    .tooManyConnections,
                    "\(count) connections to \(origin.host):\(origin.port) are in use, which is all "
                        + "that may be")
            }
            state.counts[origin] = count + 1
            return nil
        }
        if let error { throw error }
    }

    /// Takes ``reserve(_:)`` back.
    func unreserve(_ origin: HTTPSURL.Origin) {
        self.state.withLockedValue { Self.release(origin, &$0) }
    }

    /// Forgets a connection that has ended.
    func closed(_ connection: HTTPConnection) {
        self.state.withLockedValue { state in
            Self.release(connection.origin, &state)
            state.idle[connection.origin]?.removeAll {
                $0.connection.channel === connection.channel
            }
            if state.idle[connection.origin]?.isEmpty == true {
                state.idle[connection.origin] = nil
            }
        }
    }

    private static func release(_ origin: HTTPSURL.Origin, _ state: inout State) {
        guard let count = state.counts[origin] else { return }
        state.counts[origin] = count > 1 ? count - 1 : nil
    }

    /// Keeps a connection for the next request, for a while.
    func release(_ connection: HTTPConnection) {
        let since = NIODeadline.now()
        let isKept = self.state.withLockedValue { state in
            if state.isShutDown || self.isTooOld(connection) || !connection.channel.isActive {
                return false
            }
            state.idle[connection.origin, default: []].append(
                Idle(connection: connection, since: since))
            return true
        }
        guard isKept else { return connection.channel.close(promise: nil) }
        let timeout = TimeAmount(self.limits.idleTimeout)
        connection.channel.eventLoop.scheduleTask(in: timeout) { [weak self] in
            self?.expire(connection, since)
        }
    }

    /// Closes a connection that nobody has used since.
    private func expire(_ connection: HTTPConnection, _ since: NIODeadline) {
        let isIdle = self.state.withLockedValue { state in
            let before = state.idle[connection.origin]?.count
            state.idle[connection.origin]?.removeAll {
                $0.connection.channel === connection.channel && $0.since == since
            }
            return state.idle[connection.origin]?.count != before
        }
        if isIdle { connection.channel.close(promise: nil) }
    }

    /// Closes what is idle and keeps nothing from now on.
    func shutDown() {
        let idle = self.state.withLockedValue { state in
            state.isShutDown = true
            defer { state.idle = [:] }
            return state.idle.values.flatMap { $0 }
        }
        for entry in idle { entry.connection.channel.close(promise: nil) }
    }

    private func isTooOld(_ connection: HTTPConnection) -> Bool {
        NIODeadline.now() - connection.openedAt > TimeAmount(self.limits.maximumConnectionAge)
    }

    private static var closed: SPIFFEHTTPError {
        SPIFFEHTTPError(.closed, "the HTTP client has been shut down")
    }
}
