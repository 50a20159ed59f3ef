package import Transparency

/// Where everything that must be provable later is recorded: the ledger.
///
/// `append` returns only when all the events are durable, in the order given and after every event of an append that
/// was called earlier. When it throws, the caller must not release what it wanted to record; whether the events are
/// there afterwards is open (a record of something that did not happen does no harm). Appends of several callers are made
/// durable together.
package protocol EventRecorder: Sendable {
    /// - Throws: ``ServerError`` `unavailable` when the events cannot be made durable.
    func append(_ events: [LeafEvent]) async throws

    /// Puts events in line without waiting: they are durable when a later ``append(_:)`` returns, or soon. A
    /// failure is told to the next append.
    func enqueue(_ events: [LeafEvent])

    /// Why nothing can be recorded now; nil when all is well. Must not wait.
    var health: String? { get }
}

extension EventRecorder {
    package var health: String? { nil }
}
