package import Foundation
package import Logging
package import SPIFFE

/// Keeps the bundles of partners fresh: one loop for each, so that none waits for another.
///
/// The last good bundle stays until a better one was checked and stored. Attempts at the same time are bounded; a
/// partner that has let an attempt time out goes to a smaller lane until it answers again, so that those that hang
/// hold up each other only.
///
/// An endpoint that holds answers back until its bundle changes has one such request at all times, outside the lanes; see
/// ``PartnerPush``.
package actor FederationUpdater {
    /// How much at a time, and for how long.
    package struct Settings: Sendable {
        /// Attempts at a time with partners that answer.
        package var concurrency = 64
        /// Attempts at a time with partners that timed out last.
        package var slowConcurrency = 16
        /// How long an attempt may take, the time that a request asks to be held back not counted.
        package var timeout = Duration.seconds(30)
        /// Requests that wait for a change, of all partners; the others are asked at their refresh hint.
        package var maximumWaiting = 1_024

        package init() {}
    }

    struct Partner {
        let generation: UInt64
        var status: FederationStatus
        var entityTag: String?
        /// The store's number of the bundle that ``entityTag`` names: after an operator's change it names another.
        var taggedSequence: UInt64?
        var lane = FetchLanes.Lane.normal
        var loop: Task<Void, Never>?
        var attempt: Task<Result<Void, ServerError>, Never>?
        var push = PartnerPush()
        var waiting: Task<Outcome, Never>?
        var sleep: Task<Void, Never>?
    }

    /// How a pause has ended.
    private enum Pause { case over, interrupted, ended }

    /// What came of one request.
    struct Outcome: Sendable {
        var result: Result<Void, ServerError>
        /// Whether another bundle is stored now.
        var isChanged = false
        var appliedWait: Duration?
        var timedOut = false
    }

    let directory: Directory
    let store: any BundleStore
    let fetcher: any BundleFetching
    let settings: Settings
    let logger: Logger
    private let now: @Sendable () -> Date
    private let jitter: @Sendable () -> Double
    var partners: [TrustDomain: Partner] = [:]
    private var generation: UInt64 = 0
    let lanes: FetchLanes
    var waitingCount = 0

    package init(
        directory: Directory, store: any BundleStore, fetcher: any BundleFetching,
        settings: Settings = Settings(), logger: Logger,
        now: @escaping @Sendable () -> Date = { Date() },
        jitter: @escaping @Sendable () -> Double = { .random(in: 0...1) }
    ) {
        self.directory = directory
        self.store = store
        self.fetcher = fetcher
        self.settings = settings
        self.logger = logger
        self.now = now
        self.jitter = jitter
        self.lanes = FetchLanes(normal: settings.concurrency, slow: settings.slowConcurrency)
    }

    // MARK: Running

    /// Follows the relationships until cancelled.
    package func run() async throws {
        let (changes, continuation) = AsyncStream.makeStream(
            of: Void.self, bufferingPolicy: .bufferingNewest(1))
        self.directory.onRelationshipChange { continuation.yield() }
        await self.forgetEnded()
        self.reconcile()
        for await _ in changes { self.reconcile() }
        for trustDomain in self.partners.keys { self.stop(trustDomain) }
        try Task.checkCancellation()
    }

    /// Removes bundles that came through a relationship which the configuration has no more: ending a relationship
    /// ends the trust (SPIFFE Federation §6.3).
    private func forgetEnded() async {
        for bundle in self.directory.foreignBundles
        where bundle.isFetched && self.directory.relationship(bundle.trustDomain) == nil {
            do {
                _ = try await self.store.deleteBundle(bundle.trustDomain, mode: .leave)
                self.logger.notice(
                    "removed the bundle of a partner without relationship",
                    metadata: [LogKeys.partner: "\(bundle.trustDomain)"])
            } catch {
                self.logger.error(
                    "cannot remove the bundle of a partner without relationship",
                    metadata: [
                        LogKeys.partner: "\(bundle.trustDomain)", LogKeys.error: "\(error)",
                    ])
            }
        }
    }

    /// Starts loops for new and changed relationships, and ends those of the others.
    private func reconcile() {
        let wanted = Dictionary(
            self.directory.relationships.map { ($0.trustDomain, $0) }
        ) { first, _ in first }
        for (trustDomain, partner) in self.partners
        where wanted[trustDomain] != partner.status.relationship {
            self.stop(trustDomain)
        }
        for (trustDomain, relationship) in wanted where self.partners[trustDomain] == nil {
            self.generation += 1
            let generation = self.generation
            var partner = Partner(
                generation: generation,
                status: FederationStatus(
                    relationship,
                    isConfigured: self.directory.configuredRelationships[trustDomain] != nil))
            partner.loop = Task { await self.follow(trustDomain, generation) }
            self.partners[trustDomain] = partner
        }
    }

    private func stop(_ trustDomain: TrustDomain) {
        let partner = self.partners.removeValue(forKey: trustDomain)
        partner?.loop?.cancel()
        partner?.attempt?.cancel()
        partner?.waiting?.cancel()
    }

    private func follow(_ trustDomain: TrustDomain, _ generation: UInt64) async {
        var step = PartnerPush.Step.ask(after: .zero)
        while !Task.isCancelled {
            let isWait: Bool
            let pause: Duration
            switch step {
            case .ask(let after): (isWait, pause) = (false, after)
            case .wait(let after): (isWait, pause) = (true, after)
            }
            switch await self.pause(pause, trustDomain, generation) {
            case .over where isWait: await self.wait(trustDomain, generation)
            case .over: _ = await self.poll(trustDomain, generation)
            case .interrupted: break
            case .ended: return
            }
            guard let partner = self.partners[trustDomain], partner.generation == generation else {
                return
            }
            let ordinary = FederationSchedule.wait(
                hint: self.directory.bundle(trustDomain)?.refreshHint,
                failures: partner.status.failures, jitter: self.jitter())
            step = partner.push.next(
                ordinary: ordinary, jitter: self.jitter(),
                canWait: self.entityTag(partner) != nil
                    && self.waitingCount < self.settings.maximumWaiting)
        }
    }

    private func pause(
        _ pause: Duration, _ trustDomain: TrustDomain, _ generation: UInt64
    ) async -> Pause {
        guard self.partners[trustDomain]?.generation == generation else { return .ended }
        var end = Pause.over
        if pause > .zero {
            let sleep = Task<Void, Never> { try? await Task.sleep(for: pause) }
            self.partners[trustDomain]?.sleep = sleep
            self.partners[trustDomain]?.status.nextAttempt =
                self.unixNow + pause.components.seconds
            await withTaskCancellationHandler {
                await sleep.value
            } onCancel: {
                sleep.cancel()
            }
            guard !Task.isCancelled, self.partners[trustDomain]?.generation == generation else {
                return .ended
            }
            self.partners[trustDomain]?.sleep = nil
            if sleep.isCancelled { end = .interrupted }
        }
        self.partners[trustDomain]?.status.nextAttempt = nil
        return end
    }

    // MARK: Asking

    /// What is known of every partner, ordered by name.
    package func status() -> [FederationStatus] {
        self.reconcile()
        return self.partners.values.map(\.status).sorted {
            $0.relationship.trustDomain < $1.relationship.trustDomain
        }
    }

    /// Fetches the partner's bundle now; done when it is stored.
    ///
    /// - Throws: ``ServerError`` `notFound` without a relationship, `unavailable` when the bundle cannot be
    ///   fetched, what is wrong with it otherwise.
    package func refresh(_ trustDomain: TrustDomain) async throws {
        self.reconcile()
        guard let partner = self.partners[trustDomain] else {
            throw ServerError(.notFound, "no relationship with \(quoted(trustDomain.name))")
        }
        // The loop takes up waiting again after this attempt.
        partner.waiting?.cancel()
        // One that is under way may have been answered before the change that the caller has in mind.
        if let attempt = partner.attempt { _ = await attempt.value }
        try await self.poll(trustDomain, partner.generation).get()
        // What comes next depends on what was found out now.
        self.partners[trustDomain]?.sleep?.cancel()
    }

    /// Unix seconds of the clock that the status goes by.
    package nonisolated var unixNow: Int64 { Int64(self.now().timeIntervalSince1970) }

    static func ended(_ trustDomain: TrustDomain) -> ServerError {
        ServerError(
            .notFound, "the relationship with \(quoted(trustDomain.name)) was changed or ended")
    }
}
