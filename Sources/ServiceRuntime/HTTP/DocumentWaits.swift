import NIOConcurrencyHelpers

/// The requests of a listener that wait for a document to become another one (RFC 7240 §4.3), counted.
///
/// A waiting request is a row in this table and a timer of its event loop: no task and no thread. Whoever changes a
/// document says so with ``changed()``; each waiting request then looks for itself.
package final class DocumentWaits: Sendable {
    /// One waiting request.
    struct Place: Sendable, Hashable {
        fileprivate let number: UInt64
        fileprivate let client: String?
    }

    /// Why a waiting request is called.
    enum Call: Sendable {
        /// Documents may be other ones.
        case changed
        /// The listener ends.
        case ending
    }

    private struct State {
        var calls: [UInt64: @Sendable (Call) -> Void] = [:]
        var perClient: [String: Int] = [:]
        var next: UInt64 = 0
        var isEnding = false
    }

    private let state = NIOLockedValueBox(State())

    /// Nobody waits.
    package init() {}

    /// How many requests wait now.
    package var count: Int { self.state.withLockedValue { $0.calls.count } }

    /// Tells the waiting requests that documents may be other ones. Quick: each of them looks on its event loop.
    package func changed() { self.call(.changed) }

    /// Answers those that wait, and lets nobody wait any more.
    func end() {
        self.state.withLockedValue { $0.isEnding = true }
        self.call(.ending)
    }

    /// Takes a place.
    ///
    /// - Parameters:
    ///   - client: Whom the place counts for; nil counts in the total only.
    ///   - call: Called from any thread.
    /// - Returns: Nil when one of the limits is reached.
    func enter(
        _ client: String?, _ limits: DocumentLimits, call: @escaping @Sendable (Call) -> Void
    ) -> Place? {
        self.state.withLockedValue { state in
            let ofClient = client.flatMap { state.perClient[$0] } ?? 0
            guard !state.isEnding, state.calls.count < limits.maximumWaiting,
                ofClient < limits.maximumWaitingPerAddress
            else { return nil }
            let place = Place(number: state.next, client: client)
            state.next &+= 1
            state.calls[place.number] = call
            if let client { state.perClient[client] = ofClient + 1 }
            return place
        }
    }

    /// Gives a place back; once for each that was taken.
    func leave(_ place: Place) {
        self.state.withLockedValue { state in
            guard state.calls.removeValue(forKey: place.number) != nil, let client = place.client
            else { return }
            let left = (state.perClient[client] ?? 1) - 1
            state.perClient[client] = left > 0 ? left : nil
        }
    }

    private func call(_ reason: Call) {
        let calls = self.state.withLockedValue { Array($0.calls.values) }
        for call in calls { call(reason) }
    }
}
