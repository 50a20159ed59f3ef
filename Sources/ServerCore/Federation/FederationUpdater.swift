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

    private enum Lane: Hashable { case normal, slow }

    private struct Partner {
        let generation: UInt64
        var status: FederationStatus
        var entityTag: String?
        /// The store's number of the bundle that ``entityTag`` names: after an operator's change it names another.
        var taggedSequence: UInt64?
        var lane = Lane.normal
        var loop: Task<Void, Never>?
        var attempt: Task<Result<Void, ServerError>, Never>?
        var push = PartnerPush()
        var waiting: Task<Outcome, Never>?
        var sleep: Task<Void, Never>?
    }

    /// How a pause has ended.
    private enum Pause { case over, interrupted, ended }

    /// What came of one request.
    private struct Outcome: Sendable {
        var result: Result<Void, ServerError>
        /// Whether another bundle is stored now.
        var isChanged = false
        var appliedWait: Duration?
        var timedOut = false
    }

    private let directory: Directory
    private let store: any BundleStore
    private let fetcher: any BundleFetching
    private let settings: Settings
    private let logger: Logger
    private let now: @Sendable () -> Date
    private let jitter: @Sendable () -> Double
    private var partners: [TrustDomain: Partner] = [:]
    private var generation: UInt64 = 0
    private var free: [Lane: Int]
    private var queues: [Lane: [CheckedContinuation<Void, Never>]] = [:]
    private var waitingCount = 0

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
        self.free = [
            .normal: max(1, settings.concurrency), .slow: max(1, settings.slowConcurrency),
        ]
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

    // MARK: Attempts

    /// Makes an attempt, or waits for the one that is under way.
    private func poll(
        _ trustDomain: TrustDomain, _ generation: UInt64
    ) async -> Result<Void, ServerError> {
        guard let partner = self.partners[trustDomain], partner.generation == generation else {
            return .failure(Self.ended(trustDomain))
        }
        if let attempt = partner.attempt { return await attempt.value }
        let attempt = Task { await self.attempt(trustDomain, generation) }
        self.partners[trustDomain]?.attempt = attempt
        return await attempt.value
    }

    private func attempt(
        _ trustDomain: TrustDomain, _ generation: UInt64
    ) async -> Result<Void, ServerError> {
        let lane = self.partners[trustDomain]?.lane ?? .normal
        await self.enter(lane)
        let outcome = await self.exchange(trustDomain, generation, patience: .zero, lane: lane)
        if self.partners[trustDomain]?.generation == generation {
            self.partners[trustDomain]?.attempt = nil
            self.partners[trustDomain]?.lane = outcome.timedOut ? .slow : .normal
            if case .success = outcome.result {
                self.partners[trustDomain]?.push.asked(applied: outcome.appliedWait)
            } else {
                self.partners[trustDomain]?.push.askingFailed()
            }
            self.finish(trustDomain, outcome, isLogged: true)
        }
        return outcome.result
    }

    /// Sends a request that is answered when the bundle changes, and waits for the answer.
    private func wait(_ trustDomain: TrustDomain, _ generation: UInt64) async {
        let request = Task {
            await self.exchange(
                trustDomain, generation, patience: PartnerPush.patience, lane: nil)
        }
        self.partners[trustDomain]?.waiting = request
        self.partners[trustDomain]?.status.isWaiting = true
        self.waitingCount += 1
        let start = ContinuousClock.now
        let outcome = await request.value
        let elapsed = ContinuousClock.now - start
        self.waitingCount -= 1
        guard self.partners[trustDomain]?.generation == generation else { return }
        self.partners[trustDomain]?.waiting = nil
        self.partners[trustDomain]?.status.isWaiting = false
        if request.isCancelled {
            // Somebody wanted an answer at once; it is the answer to both.
            _ = await self.poll(trustDomain, generation)
            return
        }
        if case .success = outcome.result {
            self.partners[trustDomain]?.push.waited(
                isChanged: outcome.isChanged, applied: outcome.appliedWait, elapsed: elapsed)
        } else {
            self.partners[trustDomain]?.push.waitingFailed(elapsed: elapsed)
        }
        self.finish(trustDomain, outcome, isLogged: outcome.isChanged)
    }

    /// The tag of the bundle that is stored. One that names another bundle must not keep the endpoint's away.
    private func entityTag(_ partner: Partner) -> String? {
        let stored = self.directory.bundle(partner.status.relationship.trustDomain)
        guard stored?.isFetched == true, stored?.sequenceNumber == partner.taggedSequence else {
            return nil
        }
        return partner.entityTag
    }

    /// One request, and what comes of it.
    ///
    /// - Parameter lane: is left once the endpoint has answered.
    private func exchange(
        _ trustDomain: TrustDomain, _ generation: UInt64, patience: Duration, lane: Lane?
    ) async -> Outcome {
        guard let partner = self.partners[trustDomain], partner.generation == generation else {
            if let lane { self.leave(lane) }
            return Outcome(result: .failure(Self.ended(trustDomain)))
        }
        do {
            let fetched = try await self.fetch(
                partner.status.relationship, entityTag: self.entityTag(partner), patience: patience)
            if let lane { self.leave(lane) }
            let before = self.directory.bundle(trustDomain)?.sequenceNumber
            let result = await self.take(fetched, trustDomain, generation)
            return Outcome(
                result: result,
                isChanged: self.directory.bundle(trustDomain)?.sequenceNumber != before,
                appliedWait: fetched.appliedWait)
        } catch {
            if let lane { self.leave(lane) }
            return Outcome(
                result: .failure(
                    ServerError(
                        .unavailable, "failed to refresh bundle: \(Self.bounded("\(error)"))")),
                timedOut: error is TimedOut)
        }
    }

    private struct TimedOut: Error, CustomStringConvertible {
        let limit: Duration
        var description: String { "the endpoint did not answer within \(self.limit)" }
    }

    /// Fetches within the time limit; an attempt that does not heed its cancellation is left behind.
    private func fetch(
        _ relationship: FederationRelationship, entityTag: String?, patience: Duration
    ) async throws -> FetchedBundle {
        let fetcher = self.fetcher
        let limit = self.settings.timeout + patience
        let answers = AsyncThrowingStream<FetchedBundle, any Error>.makeStream()
        let work = Task {
            do {
                answers.continuation.yield(
                    try await fetcher.fetch(
                        relationship, entityTag: entityTag, waitingUpTo: patience))
                answers.continuation.finish()
            } catch {
                answers.continuation.finish(throwing: error)
            }
        }
        let timer = Task {
            try await Task.sleep(for: limit)
            answers.continuation.finish(throwing: TimedOut(limit: limit))
        }
        defer {
            work.cancel()
            timer.cancel()
        }
        for try await answer in answers.stream { return answer }
        throw CancellationError()
    }

    /// Checks what was fetched and stores it.
    private func take(
        _ fetched: FetchedBundle, _ trustDomain: TrustDomain, _ generation: UInt64
    ) async -> Result<Void, ServerError> {
        guard let partner = self.partners[trustDomain], partner.generation == generation else {
            return .failure(Self.ended(trustDomain))
        }
        guard case .bundle(let bundle) = fetched.content else {
            guard self.directory.bundle(trustDomain) != nil else {
                return .failure(
                    ServerError(
                        .unavailable,
                        "failed to refresh bundle: the endpoint says that nothing is new, but there is no bundle"
                    ))
            }
            return .success(())
        }
        do {
            guard bundle.trustDomain == trustDomain else {
                throw ServerError(.internal, "fetched a bundle of \(bundle.trustDomain)")
            }
            let candidate = try ForeignBundle.checked(
                TrustBundle(fetched: bundle), own: self.directory.trustDomain,
                ownBundle: self.directory.ownBundle)
            // A relationship of the configuration cannot end while the server runs.
            let stored = try await self.store.writeBundle(
                trustDomain,
                requiring: partner.status.isConfigured ? nil : partner.status.relationship
            ) { (old: TrustBundle?) throws(ServerError) -> TrustBundle? in
                try ForeignBundle.replacement(of: old, by: candidate)
            }
            if self.partners[trustDomain]?.generation == generation {
                self.partners[trustDomain]?.entityTag = fetched.entityTag
                self.partners[trustDomain]?.taggedSequence = stored?.sequenceNumber
            }
            return .success(())
        } catch let error as ServerError {
            return .failure(error)
        } catch {
            return .failure(ServerError(.internal, "\(error)"))
        }
    }

    /// Notes the outcome and logs it (SPIFFE Federation §7.6).
    ///
    /// - Parameter isLogged: whether success is worth a line: that nothing is new after a minute of waiting is not.
    private func finish(_ trustDomain: TrustDomain, _ outcome: Outcome, isLogged: Bool) {
        guard var partner = self.partners[trustDomain] else { return }
        partner.status.lastAttempt = self.unixNow
        let relationship = partner.status.relationship
        let bundle = self.directory.bundle(trustDomain)
        var metadata: Logger.Metadata = [
            LogKeys.partner: "\(trustDomain)",
            LogKeys.endpointURL: "\(relationship.bundleEndpointURL)",
        ]
        if let id = relationship.endpointID { metadata[LogKeys.endpointID] = "\(id)" }
        if let number = bundle?.foreignSequence { metadata[LogKeys.foreignSequence] = "\(number)" }
        switch outcome.result {
        case .success:
            partner.status.lastSuccess = partner.status.lastAttempt
            partner.status.lastError = nil
            partner.status.failures = 0
            self.logger.log(
                level: isLogged ? .info : .debug, "fetched the bundle of a partner",
                metadata: metadata)
            if isLogged, bundle?.hasNoAuthorities == true {
                self.logger.warning(
                    "the partner's bundle has no authorities: nothing of it is trusted",
                    metadata: metadata)
            }
        case .failure(let error):
            partner.status.lastError = error.message
            partner.status.failures += 1
            metadata[LogKeys.error] = "\(error.message)"
            self.logger.warning(
                bundle == nil
                    ? "cannot fetch the bundle of a partner; there is none yet"
                    : "cannot fetch the bundle of a partner; the last one stays",
                metadata: metadata)
        }
        self.partners[trustDomain] = partner
    }

    // MARK: Lanes

    private func enter(_ lane: Lane) async {
        if let count = self.free[lane], count > 0 {
            self.free[lane] = count - 1
            return
        }
        await withCheckedContinuation { self.queues[lane, default: []].append($0) }
    }

    private func leave(_ lane: Lane) {
        if self.queues[lane]?.isEmpty == false, let next = self.queues[lane]?.removeFirst() {
            next.resume()
        } else {
            self.free[lane, default: 0] += 1
        }
    }

    /// Unix seconds of the clock that the status goes by.
    package nonisolated var unixNow: Int64 { Int64(self.now().timeIntervalSince1970) }

    private static func ended(_ trustDomain: TrustDomain) -> ServerError {
        ServerError(
            .notFound, "the relationship with \(quoted(trustDomain.name)) was changed or ended")
    }

    /// Errors may carry what the partner sent.
    private static func bounded(_ text: String) -> String {
        String(
            String.UnicodeScalarView(
                text.unicodeScalars.prefix(400).map { scalar in
                    scalar.value < 0x20 || scalar.value == 0x7F ? " " : scalar
                }))
    }
}
