import Foundation
import Logging
import SPIFFE

// Requests to partners' endpoints, and what comes of them.
extension FederationUpdater {
    /// Makes an attempt, or waits for the one that is under way.
    func poll(
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
    func wait(_ trustDomain: TrustDomain, _ generation: UInt64) async {
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
    func entityTag(_ partner: Partner) -> String? {
        let stored = self.directory.bundle(partner.status.relationship.trustDomain)
        guard stored?.isFetched == true, stored?.sequenceNumber == partner.taggedSequence else {
            return nil
        }
        return partner.entityTag
    }

    /// One request, and what comes of it.
    ///
    /// - Parameter lane: whose place it takes until the endpoint has answered; nil for none.
    private func exchange(
        _ trustDomain: TrustDomain, _ generation: UInt64, patience: Duration,
        lane: FetchLanes.Lane?
    ) async -> Outcome {
        do {
            let answer =
                if let lane {
                    try await self.lanes.taken(lane) {
                        try await self.fetch(trustDomain, generation, patience: patience)
                    }
                } else {
                    try await self.fetch(trustDomain, generation, patience: patience)
                }
            guard let fetched = answer else {
                return Outcome(result: .failure(Self.ended(trustDomain)))
            }
            let before = self.directory.bundle(trustDomain)?.sequenceNumber
            let result = await self.take(fetched, trustDomain, generation)
            return Outcome(
                result: result,
                isChanged: self.directory.bundle(trustDomain)?.sequenceNumber != before,
                appliedWait: fetched.appliedWait)
        } catch {
            return Outcome(
                result: .failure(
                    ServerError(
                        .unavailable, "failed to refresh bundle: \(PartnerMessage.text(of: error))")
                ),
                timedOut: error is TimeLimit.Exceeded)
        }
    }

    /// Fetches within the time limit; nil when the relationship has ended meanwhile.
    private func fetch(
        _ trustDomain: TrustDomain, _ generation: UInt64, patience: Duration
    ) async throws -> FetchedBundle? {
        guard let partner = self.partners[trustDomain], partner.generation == generation else {
            return nil
        }
        let (fetcher, relationship) = (self.fetcher, partner.status.relationship)
        let entityTag = self.entityTag(partner)
        return try await TimeLimit.within(self.settings.timeout + patience) {
            try await fetcher.fetch(relationship, entityTag: entityTag, waitingUpTo: patience)
        }
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
                ownBundle: self.directory.ownBundle,
                keyIDs: self.directory.authorityKeyIDs)
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
}
