package import Logging
import NIOConcurrencyHelpers
package import SPIFFE

/// The partners as holders of the own bundle: a new authority waits for those that have just been waiting for it.
///
/// Only before an authority signs. When one is revoked nobody but the own agents is waited for: partners have had its
/// successor since that one signs, and what they need not do cannot hold up an emergency.
package final class PartnerHolders: BundleHolders {
    /// How long partners may take, by default.
    package static let defaultBound = Duration.seconds(5)

    private let bound: Duration
    private let logger: Logger
    private let start = ContinuousClock.now
    private let state = NIOLockedValueBox(State())

    private struct State {
        var holdings = PartnerHoldings()
        /// Those who wait; called within the lock, after each request.
        var waiters: [UInt64: AsyncStream<Void>.Continuation] = [:]
        var nextWaiter: UInt64 = 0
    }

    /// - Parameter bound: how long partners may take; zero waits for none.
    package init(bound: Duration = PartnerHolders.defaultBound, logger: Logger) {
        self.bound = bound
        self.logger = logger
    }

    /// Notes a request for the own bundle that waits for its next version.
    ///
    /// - Parameters:
    ///   - trustDomain: in whose name it comes.
    ///   - address: where it comes from.
    ///   - held: the sequence number of the version that it names; nil when it names none that is current.
    ///   - patience: for how long it may wait.
    package func note(
        _ trustDomain: TrustDomain, at address: String, holds held: UInt64?, patience: Duration
    ) {
        guard self.bound > .zero else { return }
        let now = self.uptime
        self.state.withLockedValue { state in
            state.holdings.note(trustDomain, at: address, holds: held, patience: patience, now: now)
            for waiter in state.waiters.values { waiter.yield() }
        }
    }

    package func awaitBundle(_ sequenceNumber: UInt64) async {
        guard self.bound > .zero else { return }
        let deadline = self.uptime + self.bound
        let (events, continuation) = AsyncStream.makeStream(
            of: Void.self, bufferingPolicy: .bufferingNewest(1))
        let waiter = self.state.withLockedValue { state in
            state.nextWaiter += 1
            state.waiters[state.nextWaiter] = continuation
            return state.nextWaiter
        }
        defer { self.state.withLockedValue { $0.waiters[waiter] = nil } }
        var iterator = events.makeAsyncIterator()
        while true {
            let now = self.uptime
            let end = self.state.withLockedValue { $0.holdings.end(sequenceNumber, now: now) }
            guard let end else { return }
            guard now < deadline else { break }
            // Somebody who does not come back is gone without a word.
            let next = min(end, deadline) - now
            let timer = Task {
                try await Task.sleep(for: next)
                continuation.yield()
            }
            defer { timer.cancel() }
            guard await iterator.next() != nil, !Task.isCancelled else { return }
        }
        let now = self.uptime
        let pending = self.state.withLockedValue { $0.holdings.pending(sequenceNumber, now: now) }
        self.logger.warning(
            "partners have not said in time that they have the bundle; going on without them",
            metadata: [
                LogKeys.partner: "\(pending.prefix(10).joined(separator: ", "))",
                LogKeys.count: "\(pending.count)",
            ])
    }

    /// Whether somebody keeps the bundle and is not known to have that version.
    package func isAwaited(_ sequenceNumber: UInt64) -> Bool { !self.isDone(sequenceNumber) }

    package func awaitReplacement(_ sequenceNumber: UInt64, x509AuthorityID: String?) async {}

    package func disconnect(x509AuthorityID: String) {}

    /// How many wait.
    var waiting: Int { self.state.withLockedValue { $0.waiters.count } }

    private var uptime: Duration { ContinuousClock.now - self.start }

    private func isDone(_ sequenceNumber: UInt64) -> Bool {
        let now = self.uptime
        return self.state.withLockedValue { $0.holdings.isDone(sequenceNumber, now: now) }
    }
}

/// Holders of several kinds, waited for at the same time.
package struct AllBundleHolders: BundleHolders {
    private let holders: [any BundleHolders]

    package init(_ holders: [any BundleHolders]) { self.holders = holders }

    package func awaitBundle(_ sequenceNumber: UInt64) async {
        await self.each { await $0.awaitBundle(sequenceNumber) }
    }

    package func awaitReplacement(_ sequenceNumber: UInt64, x509AuthorityID: String?) async {
        await self.each {
            await $0.awaitReplacement(sequenceNumber, x509AuthorityID: x509AuthorityID)
        }
    }

    package func disconnect(x509AuthorityID: String) {
        for holder in self.holders { holder.disconnect(x509AuthorityID: x509AuthorityID) }
    }

    private func each(_ body: @escaping @Sendable (any BundleHolders) async -> Void) async {
        await withTaskGroup(of: Void.self) { group in
            for holder in self.holders { group.addTask { await body(holder) } }
        }
    }
}
