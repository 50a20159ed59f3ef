import NIOConcurrencyHelpers
package import ServerCore
package import Transparency

/// Keeps the ledger's events in memory, and refuses them when told to.
package final class MemoryRecorder: EventRecorder {
    private struct State {
        var events: [LeafEvent] = []
        var enqueued: [LeafEvent] = []
        var appends = 0
        var error: ServerError?
        var storesFailed = false
    }

    private let state = NIOLockedValueBox(State())

    package init() {}

    /// Everything in its order, appended or enqueued.
    package var events: [LeafEvent] { self.state.withLockedValue { $0.events } }

    /// What was enqueued only.
    package var enqueued: [LeafEvent] { self.state.withLockedValue { $0.enqueued } }

    /// How often something was appended.
    package var appends: Int { self.state.withLockedValue { $0.appends } }

    /// The leaves of SVIDs that were issued.
    package var issued: [SVIDIssuedLeaf] {
        self.events.compactMap { if case .svidIssued(let leaf) = $0 { leaf } else { nil } }
    }

    /// The leaves of SVIDs that were refused.
    package var refused: [SVIDRefusedLeaf] {
        self.events.compactMap { if case .svidRefused(let leaf) = $0 { leaf } else { nil } }
    }

    /// The leaves of changes, authorities' steps among them.
    package var changes: [ChangeLeaf] {
        self.events.compactMap { if case .change(let leaf) = $0 { leaf } else { nil } }
    }

    /// The steps of authorities.
    package var authorities: [ChangeLeaf] { self.changes.filter { $0.kind == .authority } }

    /// The leaves of nodes.
    package var nodes: [NodeLeaf] {
        self.events.compactMap { if case .node(let leaf) = $0 { leaf } else { nil } }
    }

    /// The leaves of operators' calls.
    package var calls: [AdminCallLeaf] {
        self.events.compactMap { if case .adminCall(let leaf) = $0 { leaf } else { nil } }
    }

    /// Makes every append fail with this error until it is set to nil; what is enqueued meanwhile is lost.
    ///
    /// - Parameter isStored: whether what fails is recorded all the same.
    package func fail(_ error: ServerError?, isStored: Bool = false) {
        self.state.withLockedValue {
            $0.error = error
            $0.storesFailed = isStored
        }
    }

    package var health: String? { self.state.withLockedValue { $0.error?.message } }

    package func append(_ events: [LeafEvent]) async throws {
        try self.state.withLockedValue { state in
            if state.error == nil || state.storesFailed { state.events.append(contentsOf: events) }
            if let error = state.error { throw error }
            state.appends += 1
        }
    }

    package func enqueue(_ events: [LeafEvent]) {
        self.state.withLockedValue { state in
            guard state.error == nil || state.storesFailed else { return }
            state.events.append(contentsOf: events)
            state.enqueued.append(contentsOf: events)
        }
    }
}
