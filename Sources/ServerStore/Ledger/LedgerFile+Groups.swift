import Dispatch
import Foundation
import NIOConcurrencyHelpers
import ServerCore
import Transparency

#if canImport(Glibc)
    import Glibc
#elseif canImport(Darwin)
    import Darwin
#endif

extension LedgerFile {
    /// How many leaves, and about how many bytes, one group has at most.
    private static let maximumGroup = (leaves: 8192, bytes: 8 << 20)
    /// How many leaves that nobody waits for are kept while the disk cannot be written.
    private static let maximumCarried = (leaves: 65_536, bytes: 64 << 20)

    /// Writes one group, on the queue.
    func drain() {
        let (group, refusal) = self.gatherGroup()
        var leaves: [[UInt8]] = []
        for pending in group { leaves += pending.leaves }
        do {
            try self.core.withLockedValue { core in
                try self.recoverIfNeeded(&core)
                leaves = core.carried + leaves
                if !leaves.isEmpty {
                    core.doubtful = (core.journal.size + UInt64(leaves.count), nil)
                    try core.journal.append(leaves)
                }
                core.carried = []
                core.doubtful = nil
                let size = core.journal.size
                self.state.withLockedValue { state in
                    state.size = size
                    state.failure = nil
                }
            }
        } catch {
            return self.refuse(group, error)
        }
        for pending in group {
            if let refusal {
                pending.continuation?.resume(throwing: refusal)
            } else {
                pending.continuation?.resume()
            }
        }
        if !leaves.isEmpty { self.schedulePublication() }
    }

    /// Takes what is in line, after a wait for company.
    private func gatherGroup() -> (group: [Pending], refusal: ServerError?) {
        let gathering = self.core.withLockedValue { $0.gathering }
        var before: Int?
        var waited: UInt64 = 0
        while true {
            let count = self.state.withLockedValue { state in
                let count = state.waiting.count
                state.isGathering = gathering.waits(count, before: before, waited: waited)
                return state.isGathering ? count : nil
            }
            guard let count else { break }
            let quiet = DispatchTimeInterval.nanoseconds(Int(GroupGathering.quiet))
            if self.company.wait(timeout: .now() + quiet) == .timedOut {
                let isComplete = self.state.withLockedValue { state in
                    defer { state.isGathering = false }
                    return !state.isGathering
                }
                // Told in this very moment: what was said is heard, so that the next wait does not hear it.
                if isComplete { self.company.wait() }
            }
            before = count
            waited += GroupGathering.quiet
        }
        let taken = self.takeGroup()
        self.core.withLockedValue { $0.gathering.note(taken.group.count) }
        return taken
    }

    private func takeGroup() -> (group: [Pending], refusal: ServerError?) {
        let (group, refusal, isMore) = self.state.withLockedValue { state in
            var count = (groups: 0, leaves: 0, bytes: 0)
            for pending in state.waiting {
                if count.leaves > Self.maximumGroup.leaves || count.bytes > Self.maximumGroup.bytes
                {
                    break
                }
                count.groups += 1
                count.leaves += pending.leaves.count
                count.bytes += pending.leaves.reduce(0) { $0 + $1.count }
            }
            let group = Array(state.waiting.prefix(count.groups))
            state.waiting.removeFirst(count.groups)
            state.isScheduled = !state.waiting.isEmpty
            // Somebody who waits is told.
            var refusal: ServerError?
            if group.contains(where: { $0.continuation != nil }) {
                refusal = state.refusal
                state.refusal = nil
            }
            return (group, refusal, state.isScheduled)
        }
        if isMore { self.queue.async { self.drain() } }
        return (group, refusal)
    }

    /// Tells those who wait, and keeps the leaves of those who do not.
    private func refuse(_ group: [Pending], _ error: any Error) {
        let refusal = self.refusal(error)
        let own = group.filter { $0.continuation == nil }.flatMap(\.leaves)
        let dropped = self.core.withLockedValue { core in
            var bytes = core.carried.reduce(0) { $0 + $1.count }
            var kept = 0
            for leaf in own {
                guard core.carried.count < Self.maximumCarried.leaves,
                    bytes + leaf.count <= Self.maximumCarried.bytes
                else { break }
                core.carried.append(leaf)
                bytes += leaf.count
                kept += 1
            }
            if !core.journal.isInDoubt { core.doubtful = nil }
            if core.doubtful?.carried == nil { core.doubtful?.carried = core.carried.count }
            return own.count - kept
        }
        self.state.withLockedValue { state in
            state.failure = refusal.message
            if dropped > 0 {
                state.refusal = ServerError(
                    .unavailable,
                    "\(refusal.message); \(dropped) events are not recorded: too many while it failed"
                )
            }
        }
        for pending in group { pending.continuation?.resume(throwing: refusal) }
        self.scheduleRetry()
    }

    /// Reads the state from disk again when a write had failed, not more often than the settings say.
    private func recoverIfNeeded(_ core: inout Core) throws {
        guard core.journal.isInDoubt else { return }
        let now = ContinuousClock.now
        if let last = core.lastRecovery, last.duration(to: now) < self.settings.retryInterval {
            throw Waiting()
        }
        core.lastRecovery = now
        try self.files.withLockedValue { generation in
            generation += 1
            try core.journal.recover()
        }
        core.lastRecovery = nil
        if let doubtful = core.doubtful, core.journal.size >= doubtful.size {
            core.carried.removeFirst(min(doubtful.carried ?? 0, core.carried.count))
        }
        core.doubtful = nil
        let size = core.journal.size
        self.state.withLockedValue { $0.publishedSize = size }
    }

    /// The disk was asked a moment ago.
    private struct Waiting: Error {}

    private func refusal(_ error: any Error) -> ServerError {
        if error is Waiting, let failure = self.health { return ServerError(.unavailable, failure) }
        return ServerError(
            .unavailable,
            "issuance refused: cannot write ledger \(self.folder): \(error); free space or repair the disk, the "
                + "server tries again by itself")
    }

    /// Tries again later even when nobody asks.
    private func scheduleRetry() {
        let isFirst = self.state.withLockedValue { state in
            defer { state.isRetryScheduled = true }
            return !state.isRetryScheduled
        }
        guard isFirst else { return }
        self.queue.asyncAfter(deadline: .now() + self.settings.retryInterval.dispatchInterval) {
            [weak self] in
            self?.state.withLockedValue { $0.isRetryScheduled = false }
            self?.drain()
        }
    }

    /// Notes that files which others read could not be written; the next group repairs them.
    func publicationFailed(_ error: any Error) {
        let message = self.refusal(error).message
        self.core.withLockedValue { $0.journal.doubt() }
        self.state.withLockedValue { $0.failure = message }
        self.scheduleRetry()
    }
}

extension Duration {
    /// As Dispatch has it; at most some years.
    var dispatchInterval: DispatchTimeInterval {
        let (seconds, attoseconds) = self.components
        guard seconds < 1_000_000_000 else { return .seconds(1_000_000_000) }
        return .nanoseconds(Int(seconds) * 1_000_000_000 + Int(attoseconds / 1_000_000_000))
    }
}
