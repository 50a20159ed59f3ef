import NIOConcurrencyHelpers

/// Tells those who wait for connected agents that a session was opened, has ended, or has confirmed a bundle.
///
/// Nobody waits most of the time; then an event costs a lock that nobody else holds.
final class SessionEvents: Sendable {
    typealias Observer = @Sendable (SyncSession) -> Void

    private struct State {
        var observers: [UInt64: Observer] = [:]
        var nextID: UInt64 = 0
    }

    private let state = NIOLockedValueBox(State())

    /// Calls `observer` on any thread, until ``remove(_:)``, after something has changed of a session. It must be quick,
    /// and must not call the directory.
    ///
    /// - Returns: what ``remove(_:)`` takes.
    func add(_ observer: @escaping Observer) -> UInt64 {
        self.state.withLockedValue { state in
            state.nextID += 1
            state.observers[state.nextID] = observer
            return state.nextID
        }
    }

    func remove(_ id: UInt64) { self.state.withLockedValue { $0.observers[id] = nil } }

    /// How many wait.
    var count: Int { self.state.withLockedValue { $0.observers.count } }

    func tell(of session: SyncSession) {
        for observer in self.state.withLockedValue({ $0.observers.values.map { $0 } }) {
            observer(session)
        }
    }
}
