import Logging
import NIOConcurrencyHelpers
package import SPIFFE

#if canImport(FoundationEssentials)
    import FoundationEssentials
#else
    import Foundation
#endif

/// The side towards the server: what it tells us, and what it is asked for.
extension WorkloadIdentities: SyncSession {
    package var digest: EntryDigest? {
        self.state.withLockedValue { $0.cache.hasEntries ? $0.cache.entries.digest : nil }
    }

    package func outdated(
        against revisions: [(id: String, revision: Int64, createdAt: Int64)]
    ) -> (needed: [String], removed: [String]) {
        self.state.withLockedValue { $0.cache.entries }.outdated(against: revisions)
    }

    package var federatedTrustDomains: Set<TrustDomain> {
        let (entries, own) = self.state.withLockedValue { ($0.cache.entries, $0.cache.trustDomain) }
        return entries.federatedTrustDomains.subtracting([own])
    }

    package func begin(isPush: Bool) -> AsyncStream<Void> {
        let (stream, continuation) = AsyncStream.makeStream(
            of: Void.self, bufferingPolicy: .bufferingNewest(1))
        self.mutate { state in
            state.work?.finish()
            state.work = continuation
            state.custody.isOffered = isPush
            state.confirmation = BundleConfirmation()
            state.owedRevocations = 0
            continuation.yield()
            let untold = state.ends.begin(isPush: isPush)
            var effects = state.cache.connected()
            if !untold.isEmpty { effects.join(state.cache.release(untold)) }
            return ((), effects)
        }
        self.record()
        self.events?.record(.connected(isPush: isPush))
        return stream
    }

    package func takeRequests(limit: Int) -> [SessionRequest] {
        var requests: [SessionRequest] = []
        let (jobs, witJobs) = self.mutate { state in
            if state.wantsResync {
                state.wantsResync = false
                requests.append(.resync)
            }
            let isReplaced =
                state.confirmation.isOpen && !state.cache.restsOnTaintedAuthority
            if let (number, isReplaced) = state.confirmation.take(isReplaced: isReplaced) {
                requests.append(.confirmBundle(number: number, isReplaced: isReplaced))
            }
            if state.owedRevocations != 0, state.cache.hasAppliedRevocations {
                requests.append(.confirmRevocations(number: state.owedRevocations))
                state.owedRevocations = 0
            }
            // First of what is asked for: nothing more is signed for an entry before the server has heard.
            requests += state.ends.takeQueue()
            var withheld: [UInt64] = []
            for id in state.jwtQueue {
                guard let (entry, audience) = state.jwt.request(id) else { continue }
                if state.cache.withheld.contains(entry.id) {
                    withheld.append(id)
                    continue
                }
                requests.append(.jwt(requestID: id, entryID: entry.id, audience: audience))
            }
            state.jwtQueue = withheld
            requests += state.custody.takeQueue()
            let now = self.now()
            return (
                (
                    state.cache.takeSigningBatch(limit: limit, now: now),
                    state.cache.takeWITSigningBatch(limit: limit, now: now)
                ), SVIDCache.Effects()
            )
        }
        let batch = self.keys(for: jobs)
        if !batch.isEmpty { requests.append(.x509(batch)) }
        let witBatch = self.keys(forWIT: witJobs)
        if !witBatch.isEmpty { requests.append(.wit(witBatch)) }
        return requests
    }

    /// Makes a key for each job and keeps it until the answer comes.
    private func keys(for jobs: [SigningQueue.Job]) -> [SessionRequest.X509] {
        if jobs.isEmpty { return [] }
        var batch: [SessionRequest.X509] = []
        var failed: [UInt64] = []
        for job in jobs {
            do {
                batch.append(
                    SessionRequest.X509(
                        requestID: job.requestID, entryID: job.entry.id,
                        key: try WorkloadKey(type: self.settings.keyType)))
            } catch {
                self.logger.error(
                    "cannot generate a workload's key", metadata: [LogKeys.error: "\(error)"])
                failed.append(job.requestID)
            }
        }
        self.mutate { state in
            for request in batch { state.keys[request.requestID] = request.key }
            return ((), SVIDCache.Effects())
        }
        for id in failed {
            self.mutate { state in ((), state.cache.signingFailed(id, now: self.now())) }
        }
        return batch
    }

    /// The same for WIT-SVIDs. Every validator can check ES256 proofs.
    private func keys(forWIT jobs: [SigningQueue.Job]) -> [SessionRequest.WIT] {
        if jobs.isEmpty { return [] }
        var batch: [SessionRequest.WIT] = []
        var failed: [UInt64] = []
        for job in jobs {
            do {
                batch.append(
                    SessionRequest.WIT(
                        requestID: job.requestID, entryID: job.entry.id,
                        key: try ProofKey(generatingFor: .es256)))
            } catch {
                self.logger.error(
                    "cannot generate a workload's key", metadata: [LogKeys.error: "\(error)"])
                failed.append(job.requestID)
            }
        }
        self.mutate { state in
            for request in batch { state.witKeys[request.requestID] = request.key }
            return ((), SVIDCache.Effects())
        }
        for id in failed {
            self.mutate { state in ((), state.cache.witSigningFailed(id, now: self.now())) }
        }
        return batch
    }

    package func receive(_ event: ServerEvent) {
        switch event {
        case .entries(let change):
            self.mutate { state in
                // Before anything of these entries is asked for.
                var effects = self.endUnknown(change, &state)
                effects.join(state.cache.apply(change, now: self.now()))
                return ((), effects)
            }
            self.record()
            self.logger.debug(
                "applied a change of entries",
                metadata: [
                    "upserted": "\(change.upserted.count)", "removed": "\(change.removedIDs.count)",
                ])
        case .bundles(let change):
            self.mutate { state in
                if change.confirmation != 0 { state.confirmation.ask(change.confirmation) }
                return ((), state.cache.apply(change, now: self.now()))
            }
            self.checkRevocations(
                again: Set(change.upserted.map(\.trustDomain)).union(change.removed))
        case .revocations(let change):
            self.receive(change)
        case .x509(let requestID, let result):
            self.receiveX509(requestID, result)
        case .jwt(let requestID, let result):
            self.receiveJWT(requestID, result)
        case .wit(let requestID, let result):
            self.receiveWIT(requestID, result)
        case .custody(let requestID, let result):
            self.receiveCustody(requestID, result)
        case .workloadEnd(let requestID, let result):
            self.receiveWorkloadEnd(requestID, result)
        case .heartbeat(let digest, let serverTime):
            self.receiveHeartbeat(digest, serverTime)
        }
    }

    private func receiveX509(_ requestID: UInt64, _ result: Result<[[UInt8]], IssuanceRefusal>) {
        let (entry, key) = self.state.withLockedValue { state in
            (state.cache.entry(forRequest: requestID), state.keys.removeValue(forKey: requestID))
        }
        guard let entry, let key else { return }
        do {
            let svid = try IssuedX509SVID(chain: result.get(), key: key, expectedID: entry.spiffeID)
            let isRotation = self.mutate { state in
                let isRotation = state.cache.records[entry.id] != nil
                return (isRotation, state.cache.signed(requestID, svid, now: self.now()))
            }
            self.logger.debug(
                "received X509-SVID",
                metadata: [
                    LogKeys.spiffeID: "\(entry.spiffeID)", LogKeys.entryID: "\(entry.id)",
                    LogKeys.serialNumber: "\(svid.serialNumber)",
                ])
            self.events?.record(
                .issued(
                    spiffeID: entry.spiffeID, serialNumber: svid.serialNumber,
                    expiresAt: svid.expiresAt, isRotation: isRotation))
        } catch {
            let isRevoked = Self.isRevocation(error)
            self.mutate { state in
                let now = self.now()
                return ((), state.cache.signingFailed(requestID, isRevoked: isRevoked, now: now))
            }
            self.logger.warning(
                "no X509-SVID from the server",
                metadata: [
                    LogKeys.spiffeID: "\(entry.spiffeID)", LogKeys.entryID: "\(entry.id)",
                    LogKeys.error: "\(error)",
                ])
        }
    }

    private func receiveJWT(_ requestID: UInt64, _ result: Result<IssuedJWTSVID, IssuanceRefusal>) {
        let (entry, audience) = self.mutate {
            state -> ((AuthorizedEntry?, [String]), SVIDCache.Effects) in
            let request = state.jwt.request(requestID)
            let waiters = state.jwtWaiters.removeValue(forKey: requestID) ?? []
            switch result {
            case .success(let svid)
            where svid.spiffeID == request?.entry.spiffeID
                && !state.cache.isRevoked(token: svid.token):
                if let request { state.cache.blocked[request.entry.id] = nil }
                if svid.keyID.map(state.cache.bundles.isTaintedJWT) ?? false {
                    // Signed before its authority was tainted: for who waits, not for keeping.
                    state.jwt.failed(requestID)
                } else {
                    state.jwt.signed(requestID, svid)
                }
                for (waiter, _) in waiters { waiter.resume(returning: .success(svid)) }
            case .success, .failure:
                state.jwt.failed(requestID)
                var refusal = WorkloadRefusal.notIssuedYet
                if case .failure(let error) = result, let request, Self.isRevocation(error) {
                    refusal = .noIdentity
                    state.cache.block(request.entry.id, now: self.now())
                }
                for (waiter, fallback) in waiters {
                    let usable = refusal == .noIdentity ? nil : state.cache.unlessRevoked(fallback)
                    waiter.resume(returning: usable.map { .success($0) } ?? .failure(refusal))
                }
            }
            return ((request?.entry, request?.audience ?? []), SVIDCache.Effects())
        }
        guard let entry else { return }
        switch result {
        case .success(let svid):
            self.events?.record(
                .issuedJWT(spiffeID: svid.spiffeID, audience: audience, expiresAt: svid.expiresAt))
        case .failure(let refusal):
            self.logger.warning(
                "no JWT-SVID from the server",
                metadata: [
                    LogKeys.spiffeID: "\(entry.spiffeID)", LogKeys.entryID: "\(entry.id)",
                    LogKeys.error: "\(refusal)",
                ])
        }
    }

    private func receiveWIT(_ requestID: UInt64, _ result: Result<String, IssuanceRefusal>) {
        let (entry, key) = self.state.withLockedValue { state in
            (
                state.cache.entry(forWITRequest: requestID),
                state.witKeys.removeValue(forKey: requestID)
            )
        }
        guard let entry, let key else { return }
        let metadata: Logger.Metadata = [
            LogKeys.spiffeID: "\(entry.spiffeID)", LogKeys.entryID: "\(entry.id)",
        ]
        do {
            let now = self.now()
            let svid = try IssuedWITSVID(
                token: try result.get(), key: key, expectedID: entry.spiffeID, receivedAt: now)
            self.mutate { state in ((), state.cache.witSigned(requestID, svid, now: now)) }
            self.logger.debug("received WIT-SVID", metadata: metadata)
        } catch {
            let isRevoked = Self.isRevocation(error)
            self.mutate { state in
                let now = self.now()
                return (
                    (), state.cache.witSigningFailed(requestID, isRevoked: isRevoked, now: now)
                )
            }
            self.logger.warning(
                "no WIT-SVID from the server",
                metadata: metadata.merging([LogKeys.error: "\(error)"]) { $1 })
        }
    }

    private func receiveHeartbeat(_ digest: EntryDigest?, _ serverTime: Date?) {
        if let digest {
            let isCurrent = self.mutate { state in
                let isCurrent = state.cache.isCurrent(digest)
                var effects = SVIDCache.Effects()
                effects.needsResync = !isCurrent
                return (isCurrent, effects)
            }
            if !isCurrent {
                self.logger.info("entries differ from the server's; asking for all of them")
            }
        }
        if let serverTime, abs(serverTime.timeIntervalSince(self.now())) > 30 {
            self.logger.warning(
                "clock differs from the server's by more than 30 s",
                metadata: ["server_time": "\(serverTime)"])
        }
    }
}
