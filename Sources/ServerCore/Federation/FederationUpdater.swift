package import Foundation
package import Logging
package import SPIFFE

/// Keeps the bundles of partners fresh: one loop for each, so that none waits for another.
///
/// The last good bundle stays until a better one was checked and stored. Attempts at the same time are bounded; a
/// partner that has let an attempt time out goes to a smaller lane until it answers again, so that those that hang
/// hold up each other only.
package actor FederationUpdater {
    package struct Settings: Sendable {
        /// Attempts at a time with partners that answer.
        package var concurrency = 64
        /// Attempts at a time with partners that timed out last.
        package var slowConcurrency = 16
        /// How long an attempt may take.
        package var timeout = Duration.seconds(30)

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
    }

    private func follow(_ trustDomain: TrustDomain, _ generation: UInt64) async {
        while !Task.isCancelled {
            if self.partners[trustDomain]?.generation == generation {
                self.partners[trustDomain]?.status.nextAttempt = nil
            }
            _ = await self.poll(trustDomain, generation)
            guard let partner = self.partners[trustDomain], partner.generation == generation else {
                return
            }
            let wait = FederationSchedule.wait(
                hint: self.directory.bundle(trustDomain)?.refreshHint,
                failures: partner.status.failures, jitter: self.jitter())
            self.partners[trustDomain]?.status.nextAttempt =
                self.unixNow + wait.components.seconds
            do { try await Task.sleep(for: wait) } catch { return }
        }
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
        // One that is under way may have been answered before the change that the caller has in mind.
        if let attempt = partner.attempt { _ = await attempt.value }
        try await self.poll(trustDomain, partner.generation).get()
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
        let result: Result<Void, ServerError>
        var timedOut = false
        do {
            guard let partner = self.partners[trustDomain], partner.generation == generation else {
                self.leave(lane)
                return .failure(Self.ended(trustDomain))
            }
            // A tag that names another bundle than the stored one must not keep the endpoint's away.
            let stored = self.directory.bundle(trustDomain)
            let isTagged =
                stored?.isFetched == true && stored?.sequenceNumber == partner.taggedSequence
            let fetched = try await self.fetch(
                partner.status.relationship, entityTag: isTagged ? partner.entityTag : nil)
            self.leave(lane)
            result = await self.take(fetched, trustDomain, generation)
        } catch {
            self.leave(lane)
            timedOut = error is TimedOut
            result = .failure(
                ServerError(
                    .unavailable, "failed to refresh bundle: \(Self.bounded("\(error)"))"))
        }
        self.finish(trustDomain, generation, result, timedOut: timedOut)
        return result
    }

    private struct TimedOut: Error, CustomStringConvertible {
        let limit: Duration
        var description: String { "the endpoint did not answer within \(self.limit)" }
    }

    /// Fetches within the time limit; an attempt that does not heed its cancellation is left behind.
    private func fetch(
        _ relationship: FederationRelationship, entityTag: String?
    ) async throws -> FetchedBundle {
        let fetcher = self.fetcher
        let limit = self.settings.timeout
        let answers = AsyncThrowingStream<FetchedBundle, any Error>.makeStream()
        let work = Task {
            do {
                answers.continuation.yield(
                    try await fetcher.fetch(relationship, entityTag: entityTag))
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
    private func finish(
        _ trustDomain: TrustDomain, _ generation: UInt64, _ result: Result<Void, ServerError>,
        timedOut: Bool
    ) {
        guard var partner = self.partners[trustDomain], partner.generation == generation else {
            return
        }
        partner.attempt = nil
        partner.lane = timedOut ? .slow : .normal
        partner.status.lastAttempt = self.unixNow
        let relationship = partner.status.relationship
        let bundle = self.directory.bundle(trustDomain)
        var metadata: Logger.Metadata = [
            LogKeys.partner: "\(trustDomain)",
            LogKeys.endpointURL: "\(relationship.bundleEndpointURL)",
        ]
        if let id = relationship.endpointID { metadata[LogKeys.endpointID] = "\(id)" }
        if let number = bundle?.foreignSequence { metadata[LogKeys.foreignSequence] = "\(number)" }
        switch result {
        case .success:
            partner.status.lastSuccess = partner.status.lastAttempt
            partner.status.lastError = nil
            partner.status.failures = 0
            self.logger.info("fetched the bundle of a partner", metadata: metadata)
            if bundle?.hasNoAuthorities == true {
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
