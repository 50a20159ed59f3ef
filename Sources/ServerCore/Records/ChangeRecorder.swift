package import Logging
import NIOConcurrencyHelpers
package import Transparency

/// Carries the changes of the store into the ledger, in the order in which they were committed.
///
/// The change feed keeps the leaf of each change until it is recorded. So a change that was committed is recorded for
/// certain: at once as a rule, and otherwise when the ledger can be written again or the server starts again. A leaf
/// may then be there twice, with the same number.
package final class ChangeRecorder: ChangeLeafConsumer {
    /// Tells the one who waits what became of it.
    private typealias Outcome = NIOLockedValueBox<Result<Void, any Error>?>

    private struct Waiting: Sendable {
        let events: [LeafEvent]
        /// The position after these changes; nil for what is no change.
        let seq: UInt64?
        let outcome: Outcome?
    }

    private struct State {
        var waiting: [Waiting] = []
        /// Everything up to here is in the ledger.
        var recorded: UInt64 = 0
        /// Changes after `recorded` are to be read from the store.
        var isBehind = false
        /// The position of changes that came while it was behind, and that only the store has.
        var left: UInt64 = 0
        /// Numbers after `recorded` that the ledger had at start.
        var known: Set<Int64> = []
        /// The store knows that everything up to here is in the ledger.
        var saved: UInt64 = 0
    }

    private static let batch = 500
    /// After so many changes the store is told what is recorded; the next start looks for the rest in the ledger.
    private static let changesPerSave: UInt64 = 2_000
    private static let pause = Duration.seconds(5)

    private let recorder: any EventRecorder
    private let store: any ChangeLeafStore
    private let logger: Logger
    private let state = NIOLockedValueBox(State())
    /// One at a time hands events to the ledger; meanwhile others gather.
    private let turn = Turn()
    private let (signals, signal) = AsyncStream.makeStream(
        of: Void.self, bufferingPolicy: .bufferingNewest(1))

    package init(recorder: any EventRecorder, store: any ChangeLeafStore, logger: Logger) {
        self.recorder = recorder
        self.store = store
        self.logger = logger
    }

    /// Records what an earlier run did not. Call it before the first write to the store.
    ///
    /// - Parameter inLedger: gives the numbers of the changes in the ledger's leaves since that time. It is asked only
    ///   when there are rows that may be missing.
    /// - Throws: when the store cannot be read or the ledger not written.
    package func start(
        inLedger: @Sendable (LeafTime) async throws -> Set<Int64>
    ) async throws {
        let position = try await self.store.recordedPosition()
        let first = try await self.store.changeLeaves(after: position, limit: Self.batch)
            .lazy.compactMap(\.leaf?.time).min()
        let known = if let first { try await inLedger(first) } else { Set<Int64>() }
        self.state.withLockedValue { state in
            state.recorded = position
            state.saved = position
            state.isBehind = true
            state.known = known
        }
        try await self.flush()
        try await self.save()
    }

    /// Tells the store what is recorded, so that the next start need not look for it.
    ///
    /// - Throws: when the store cannot be written; nothing is lost then.
    package func save() async throws { try await self.save(after: 1) }

    /// The same once so many changes have been recorded since the last time.
    private func save(after count: UInt64) async throws {
        let (recorded, saved) = self.state.withLockedValue { ($0.recorded, $0.saved) }
        guard recorded >= saved, recorded - saved >= count else { return }
        try await self.store.setRecordedPosition(recorded)
        self.state.withLockedValue { $0.saved = max($0.saved, recorded) }
    }

    /// Everything up to this position of the feed is in the ledger.
    package var recorded: UInt64 { self.state.withLockedValue { $0.recorded } }

    package func committed(_ events: [LeafEvent], seq: UInt64) {
        self.state.withLockedValue { state in
            if state.isBehind {
                state.left = seq
            } else {
                state.waiting.append(Waiting(events: events, seq: seq, outcome: nil))
            }
        }
        self.signal.yield()
    }

    /// Records an event after all changes that were committed before.
    ///
    /// - Throws: ``ServerError`` `unavailable` when it cannot be made durable.
    package func append(_ event: LeafEvent) async throws {
        let outcome = Outcome(nil)
        self.state.withLockedValue {
            $0.waiting.append(Waiting(events: [event], seq: nil, outcome: outcome))
        }
        try await self.turn.taken {
            // Somebody before may have taken it along.
            if outcome.withLockedValue({ $0 == nil }) { try await self.drain() }
            try outcome.withLockedValue { $0 }?.get()
        }
    }

    /// Records all changes that were committed before.
    ///
    /// - Throws: ``ServerError`` `unavailable` when they cannot be made durable.
    package func flush() async throws { try await self.turn.taken { try await self.drain() } }

    /// Records changes as they come, until cancelled. A failure is logged and tried again.
    package func run() async throws {
        for await _ in self.signals {
            do {
                try await self.flush()
                try await self.save(after: Self.changesPerSave)
            } catch {
                self.logger.error(
                    "cannot record changes in the ledger", metadata: [LogKeys.error: "\(error)"])
                try await Task.sleep(for: Self.pause)
                self.signal.yield()
            }
        }
    }

    /// Only in one's turn.
    private func drain() async throws {
        var taken: [Waiting] = []
        do {
            try await self.catchUp()
            let recorded: UInt64
            (taken, recorded) = self.state.withLockedValue { state in
                defer { state.waiting = [] }
                return (state.waiting, state.recorded)
            }
            // What was read from the store meanwhile is not to be recorded twice.
            let events = taken.filter { ($0.seq ?? .max) > recorded }.flatMap(\.events)
            if !events.isEmpty { try await self.recorder.append(events) }
            let seq = taken.compactMap(\.seq).last ?? 0
            self.state.withLockedValue { $0.recorded = max($0.recorded, seq) }
            for one in taken { one.outcome?.withLockedValue { $0 = .success(()) } }
        } catch {
            self.state.withLockedValue { state in
                taken += state.waiting
                state.waiting = []
                if let seq = taken.compactMap(\.seq).last {
                    state.isBehind = true
                    state.left = max(state.left, seq)
                }
            }
            for one in taken { one.outcome?.withLockedValue { $0 = .failure(error) } }
            throw error
        }
    }

    /// Records what only the store has.
    private func catchUp() async throws {
        while self.state.withLockedValue({ $0.isBehind }) {
            let (recorded, known) = self.state.withLockedValue { ($0.recorded, $0.known) }
            let rows = try await self.store.changeLeaves(after: recorded, limit: Self.batch)
            let events = rows.compactMap { row in
                known.contains(Int64(clamping: row.seq)) ? nil : row.leaf?.event
            }
            if !events.isEmpty { try await self.recorder.append(events) }
            self.state.withLockedValue { state in
                state.recorded = rows.last?.seq ?? max(state.recorded, state.left)
                guard rows.count < Self.batch, state.left <= state.recorded else { return }
                state.isBehind = false
                state.known = []
            }
        }
    }
}
