import NIOConcurrencyHelpers
import SPIFFE

/// Only agents with a sync session are asked. Those of stock servers' kind, which poll, confirm nothing and are not
/// counted. Agents of our own that are too old to know revocations are asked, named at the end as not having
/// confirmed, and not waited for: nobody can say what they still use.
extension ConnectedAgents: RevocationHolders {
    /// How long an agent that has never confirmed anything may take for its first confirmation.
    private static let grace = Duration.seconds(2)

    package func wait(number: UInt64, timeout: Duration) async -> RevocationConfirmations {
        let sessions = self.directory.sessions
        let count = ConfirmationCount(waitingFor: sessions.count)
        var waits: [(session: SyncSession, id: UInt64)] = []
        for session in sessions {
            let isAwaited = session.confirmsRevocations(within: Self.grace)
            if !isAwaited { count.leave() }
            let id = session.whenHolding(revocations: number) { isConfirmed in
                count.answer(isConfirmed: isConfirmed, isAwaited: isAwaited)
            }
            if let id { waits.append((session, id)) }
        }
        await count.wait(timeout: timeout)
        for wait in waits { wait.session.forgetWait(wait.id) }
        let (confirmed, last) = count.result
        let pending = sessions.filter { !$0.hasEnded && !$0.holds(revocations: number) }
        return RevocationConfirmations(
            agents: sessions.count, confirmed: confirmed, lastConfirmation: last,
            waitingFor: Set(pending.map(\.agent)).sorted())
    }
}

/// Counts answers and wakes the one who waits for them.
private final class ConfirmationCount: Sendable {
    private struct State {
        var awaited: Int
        var confirmed = 0
        var last: Duration?
    }

    private let start = ContinuousClock.now
    private let state: NIOLockedValueBox<State>
    private let done: AsyncStream<Void>
    private let doneFeed: AsyncStream<Void>.Continuation

    init(waitingFor awaited: Int) {
        self.state = NIOLockedValueBox(State(awaited: awaited))
        (self.done, self.doneFeed) = AsyncStream.makeStream()
        if awaited == 0 { self.doneFeed.finish() }
    }

    /// How many have confirmed, and when the last one did.
    var result: (confirmed: Int, last: Duration?) {
        self.state.withLockedValue { ($0.confirmed, $0.last) }
    }

    /// One that was counted is not waited for after all.
    func leave() {
        let isOver = self.state.withLockedValue { state in
            state.awaited -= 1
            return state.awaited <= 0
        }
        if isOver { self.doneFeed.finish() }
    }

    func answer(isConfirmed: Bool, isAwaited: Bool) {
        let isOver = self.state.withLockedValue { state in
            if isConfirmed {
                state.confirmed += 1
                state.last = self.start.duration(to: .now)
            }
            if isAwaited { state.awaited -= 1 }
            return state.awaited <= 0
        }
        if isOver { self.doneFeed.finish() }
    }

    /// Returns when all have answered, the time is over or the task is cancelled.
    func wait(timeout: Duration) async {
        await withTaskGroup(of: Void.self) { group in
            group.addTask { [done = self.done] in for await _ in done {} }
            group.addTask { try? await Task.sleep(for: timeout) }
            await group.next()
            group.cancelAll()
        }
    }
}
