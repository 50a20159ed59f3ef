package import Foundation
package import Logging
package import SPIFFE

/// Keeps what partners have taken back at hand: one loop for each partner with a bundle, so that none waits for another.
///
/// What there is stands in a partner's listing beside its bundle; a partner that has none publishes none. Each list is checked
/// against the partner's bundle, see ``PartnerLists``; what is good goes to the agents whose entries federate with the partner. An
/// endpoint that holds answers back has one such request at all times, so that a revocation arrives as it happens.
///
/// What is kept is in memory only: after a start the lists are fetched anew.
package actor PartnerRevocationsUpdater {
    /// How much at a time, and for how long.
    package struct Settings: Sendable {
        /// Partners of which something is fetched at a time.
        package var concurrency = 32
        /// The same for those that timed out last.
        package var slowConcurrency = 8
        /// How long a listing may take, the time that a request asks to be held back not counted; and all lists of a
        /// partner together.
        package var timeout = Duration.seconds(30)
        /// Requests that wait for a change, of all partners.
        package var maximumWaiting = 1_024
        /// The most bytes of lists of all partners.
        package var maximumBytes = 256 * 1024 * 1024
        /// What every partner may keep, whatever the others take up.
        package var reservedBytes = 64 * 1024
        /// Bytes of lists that one partner may have fetched, or sent to each agent, at once: all its lists twice.
        package var burstBytes = 2 * PartnerLists.maximumBytes
        /// The same all the time, in a second.
        package var bytesPerSecond = 64 * 1024
        /// For how long a partner whose bytes are used up is not asked, at the least.
        package var leastDeferral = Duration.seconds(10)

        package init() {}
    }

    struct Partner {
        let generation: UInt64
        let relationship: FederationRelationship
        var lists: PartnerLists
        var status = PartnerRevocationStatus()
        /// Of the bundle with the number ``bundleSequence``.
        var authorities: PartnerAuthorities?
        var bundleSequence: UInt64?
        var listing: RevocationListing?
        /// Of ``listing``.
        var entityTag: String?
        var budget: FetchBudget
        /// When what is to be fetched was fetched last: by turns, so that a list that always changes keeps no other out.
        var turns: [RevocationDocument: UInt64] = [:]
        /// How long nothing is fetched, because the budget is used up.
        var deferral: Duration?
        var lane = FetchLanes.Lane.normal
        var push = PartnerPush()
        var loop: Task<Void, Never>?
        var waiting: Task<Outcome, Never>?
        var sleep: Task<Void, Never>?
    }

    /// What came of one round.
    struct Outcome: Sendable {
        /// What went wrong; nil when all is good.
        var failure: String?
        /// Whether there is another listing.
        var isChanged = false
        var appliedWait: Duration?
        var timedOut = false
        /// How long the rest of the lists has to wait, because the partner's budget is used up.
        var deferral: Duration?
    }

    let directory: Directory
    let fetcher: any RevocationListFetching
    let settings: Settings
    let logger: Logger
    private let now: @Sendable () -> Date
    private let jitter: @Sendable () -> Double
    /// The time since some fixed moment.
    let uptime: @Sendable () -> Duration
    let lanes: FetchLanes
    var partners: [TrustDomain: Partner] = [:]
    private var generation: UInt64 = 0
    private var waitingCount = 0
    var number: UInt64 = 0
    var turn: UInt64 = 0

    /// - Parameter uptime: the time since some fixed moment; nil is now.
    package init(
        directory: Directory, fetcher: any RevocationListFetching,
        settings: Settings = Settings(), logger: Logger,
        now: @escaping @Sendable () -> Date = { Date() },
        jitter: @escaping @Sendable () -> Double = { .random(in: 0...1) },
        uptime: (@Sendable () -> Duration)? = nil
    ) {
        self.directory = directory
        self.fetcher = fetcher
        self.settings = settings
        self.logger = logger
        self.now = now
        self.jitter = jitter
        let start = ContinuousClock.now
        self.uptime = uptime ?? { ContinuousClock.now - start }
        self.lanes = FetchLanes(normal: settings.concurrency, slow: settings.slowConcurrency)
    }

    /// Unix seconds.
    nonisolated var unixNow: Int64 { Int64(self.now().timeIntervalSince1970) }

    // MARK: Running

    /// Follows the relationships and their bundles until cancelled.
    package func run() async throws {
        let (changes, continuation) = AsyncStream.makeStream(
            of: Void.self, bufferingPolicy: .bufferingNewest(1))
        self.directory.onRelationshipChange { continuation.yield() }
        self.directory.onBundleChange { _ in continuation.yield() }
        self.reconcile()
        for await _ in changes { self.reconcile() }
        for trustDomain in self.partners.keys { self.stop(trustDomain) }
        try Task.checkCancellation()
    }

    /// What is known, by partner.
    package func status() -> [TrustDomain: PartnerRevocationStatus] {
        self.partners.mapValues { partner in
            var status = partner.status
            status.crls = partner.lists.crls.count
            status.hasStatusList = partner.lists.statusList != nil
            status.nextUpdate = partner.lists.nextUpdate
            return status
        }
    }

    /// Has a partner asked now; returns before the answer.
    package func ask(_ trustDomain: TrustDomain) {
        self.partners[trustDomain]?.sleep?.cancel()
        self.partners[trustDomain]?.waiting?.cancel()
    }

    /// Starts loops for new and changed relationships, ends those of the others, and wakes those with another bundle.
    private func reconcile() {
        let wanted = Dictionary(
            self.directory.relationships.map { ($0.trustDomain, $0) }
        ) { first, _ in first }
        var kept: [TrustDomain: PartnerLists] = [:]
        for (trustDomain, partner) in self.partners
        where wanted[trustDomain] != partner.relationship {
            self.stop(trustDomain)
            // Another address makes good lists no worse.
            if wanted[trustDomain] != nil {
                kept[trustDomain] = partner.lists
            } else {
                self.directory.withdrawRevocations(of: trustDomain)
            }
        }
        let keyIDs = self.directory.authorityKeyIDs
        for (trustDomain, relationship) in wanted {
            guard let partner = self.partners[trustDomain] else {
                self.generation += 1
                let generation = self.generation
                var partner = Partner(
                    generation: generation, relationship: relationship,
                    lists: kept[trustDomain] ?? PartnerLists(),
                    budget: FetchBudget(
                        burst: self.settings.burstBytes,
                        bytesPerSecond: self.settings.bytesPerSecond))
                partner.loop = Task { await self.follow(trustDomain, generation) }
                self.partners[trustDomain] = partner
                continue
            }
            let hasRival =
                partner.authorities.map { partner.lists.hasRival($0, keyIDs: keyIDs) } ?? false
            if self.hasOtherBundle(partner) || hasRival { self.ask(trustDomain) }
        }
    }

    private func stop(_ trustDomain: TrustDomain) {
        let partner = self.partners.removeValue(forKey: trustDomain)
        partner?.loop?.cancel()
        partner?.waiting?.cancel()
        partner?.sleep?.cancel()
    }

    func isCurrent(_ trustDomain: TrustDomain, _ generation: UInt64) -> Bool {
        self.partners[trustDomain]?.generation == generation
    }

    private func hasOtherBundle(_ partner: Partner) -> Bool {
        self.directory.bundle(partner.relationship.trustDomain)?.sequenceNumber
            != partner.bundleSequence
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
            let isInterrupted = await self.pause(pause, trustDomain, generation)
            guard !Task.isCancelled, self.isCurrent(trustDomain, generation) else { return }
            guard await self.readBundle(trustDomain, generation) else {
                // Nothing to verify anything with: a bundle that comes interrupts the pause.
                step = .ask(after: .seconds(PartnerRevocationSchedule.absent))
                continue
            }
            if isWait, !isInterrupted {
                if await self.wait(trustDomain, generation) {
                    step = .ask(after: .zero)
                    continue
                }
            } else {
                await self.poll(trustDomain, generation)
            }
            guard let partner = self.partners[trustDomain], partner.generation == generation else {
                return
            }
            let now = self.unixNow
            let ordinary = PartnerRevocationSchedule.wait(
                hint: self.directory.bundle(trustDomain)?.refreshHint ?? 0,
                isAbsent: partner.status.isPublished == false,
                remaining: partner.lists.nextUpdate.map { $0 - now },
                failures: partner.status.failures, jitter: self.jitter())
            step = partner.push.next(
                ordinary: ordinary, jitter: self.jitter(),
                canWait: partner.entityTag != nil
                    && self.waitingCount < self.settings.maximumWaiting)
            if let deferral = partner.deferral {
                step = .ask(after: max(deferral, self.settings.leastDeferral))
            }
        }
    }

    /// - Returns: whether somebody does not want to wait longer.
    private func pause(
        _ pause: Duration, _ trustDomain: TrustDomain, _ generation: UInt64
    ) async -> Bool {
        guard pause > .zero, let partner = self.partners[trustDomain],
            partner.generation == generation
        else { return false }
        // What has changed during the last attempt has woken nobody.
        if self.hasOtherBundle(partner) { return true }
        let sleep = Task<Void, Never> { try? await Task.sleep(for: pause) }
        self.partners[trustDomain]?.sleep = sleep
        await withTaskCancellationHandler {
            await sleep.value
        } onCancel: {
            sleep.cancel()
        }
        if self.isCurrent(trustDomain, generation) { self.partners[trustDomain]?.sleep = nil }
        return sleep.isCancelled
    }

    // MARK: Rounds

    private func poll(_ trustDomain: TrustDomain, _ generation: UInt64) async {
        let lane = self.partners[trustDomain]?.lane ?? .normal
        let outcome = await self.lanes.taken(lane) {
            await self.round(trustDomain, generation, patience: .zero)
        }
        guard self.isCurrent(trustDomain, generation), !Task.isCancelled else { return }
        self.partners[trustDomain]?.lane = outcome.timedOut ? .slow : .normal
        if outcome.failure == nil {
            self.partners[trustDomain]?.push.asked(applied: outcome.appliedWait)
        } else {
            self.partners[trustDomain]?.push.askingFailed()
        }
        self.finish(trustDomain, outcome)
    }

    /// Sends a request that is answered when there is another listing, and waits for the answer.
    ///
    /// - Returns: whether somebody wants an answer at once.
    private func wait(_ trustDomain: TrustDomain, _ generation: UInt64) async -> Bool {
        let request = Task {
            await self.round(trustDomain, generation, patience: PartnerPush.patience)
        }
        self.partners[trustDomain]?.waiting = request
        self.partners[trustDomain]?.status.isWaiting = true
        self.waitingCount += 1
        let start = ContinuousClock.now
        let outcome = await request.value
        let elapsed = ContinuousClock.now - start
        self.waitingCount -= 1
        guard self.isCurrent(trustDomain, generation) else { return false }
        self.partners[trustDomain]?.waiting = nil
        self.partners[trustDomain]?.status.isWaiting = false
        if request.isCancelled { return true }
        if outcome.failure == nil {
            self.partners[trustDomain]?.push.waited(
                isChanged: outcome.isChanged, applied: outcome.appliedWait, elapsed: elapsed)
        } else {
            self.partners[trustDomain]?.push.waitingFailed(elapsed: elapsed)
        }
        self.finish(trustDomain, outcome)
        return false
    }

    private func finish(_ trustDomain: TrustDomain, _ outcome: Outcome) {
        guard var partner = self.partners[trustDomain] else { return }
        let now = self.unixNow
        let lastError = partner.status.lastError
        partner.status.lastAttempt = now
        partner.status.lastError = outcome.failure
        partner.deferral = outcome.deferral
        if outcome.failure == nil {
            partner.status.lastSuccess = now
            partner.status.failures = 0
        } else {
            partner.status.failures += 1
        }
        self.partners[trustDomain] = partner
        var metadata: Logger.Metadata = [LogKeys.partner: "\(trustDomain)"]
        guard let failure = outcome.failure else {
            if lastError != nil || outcome.isChanged {
                metadata["crls"] = "\(partner.lists.crls.count)"
                metadata["status_list"] = "\(partner.lists.statusList != nil)"
                self.logger.info("fetched the revocations of a partner", metadata: metadata)
            }
            return
        }
        metadata[LogKeys.error] = "\(failure)"
        let isOverdue = partner.lists.nextUpdate.map { $0 <= now } ?? false
        // The same trouble again is worth a line only when it has begun to hurt.
        self.logger.log(
            level: failure == lastError && !isOverdue ? .debug : .warning,
            isOverdue
                ? "cannot fetch the revocations of a partner, and those at hand are overdue: verifiers will refuse its SVIDs"
                : "cannot fetch the revocations of a partner; those at hand stay",
            metadata: metadata)
    }
}
