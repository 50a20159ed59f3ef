import NIOConcurrencyHelpers
package import ServerCore
package import Transparency

/// Keeps events in memory, and refuses them when told to.
package final class MemoryEvents: EventRecorder {
    private struct State {
        var events: [LeafEvent] = []
        var failure: ServerError?
    }

    private let state = NIOLockedValueBox(State())

    package init() {}

    package var events: [LeafEvent] { self.state.withLockedValue { $0.events } }
    package func fail(_ error: ServerError?) { self.state.withLockedValue { $0.failure = error } }

    package func append(_ events: [LeafEvent]) async throws {
        try self.state.withLockedValue { state in
            if let failure = state.failure { throw failure }
            state.events += events
        }
    }

    package func enqueue(_ events: [LeafEvent]) {
        self.state.withLockedValue { $0.events += events }
    }

    /// The leaves of revocations, in order.
    package var revocations: [LeafEvent] {
        self.events.filter { event in
            switch event {
            case .revocationCreated, .revocationLifted: true
            default: false
            }
        }
    }
}

/// Holders of revocations that answer what the test says.
package final class ScriptedHolders: RevocationHolders {
    private struct State {
        var published: UInt64 = 0
        var asked: [(number: UInt64, timeout: Duration)] = []
        var answer = RevocationConfirmations(
            agents: 0, confirmed: 0, lastConfirmation: nil, waitingFor: [])
    }

    private let state = NIOLockedValueBox(State())

    package init() {}

    /// The number that the next flush gives.
    package var published: UInt64 {
        get { self.state.withLockedValue { $0.published } }
        set { self.state.withLockedValue { $0.published = newValue } }
    }

    package var asked: [(number: UInt64, timeout: Duration)] {
        self.state.withLockedValue { $0.asked }
    }

    package func answer(_ answer: RevocationConfirmations) {
        self.state.withLockedValue { $0.answer = answer }
    }

    package func wait(number: UInt64, timeout: Duration) async -> RevocationConfirmations {
        self.state.withLockedValue { state in
            state.asked.append((number, timeout))
            return state.answer
        }
    }
}
