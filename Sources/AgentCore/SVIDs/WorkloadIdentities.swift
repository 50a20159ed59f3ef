package import Logging
import NIOConcurrencyHelpers
package import PluginAPI
package import SPIFFE

#if canImport(FoundationEssentials)
    package import FoundationEssentials
#else
    package import Foundation
#endif

/// The agent's working memory: joins the state machines to streams of workloads on one side and to
/// the session with the server on the other.
///
/// One lock guards all state. Streams are fed while it is held, so that what a stream hears last is
/// what was true last; feeding never waits and never calls back. Keys are made and certificates
/// parsed outside it.
package final class WorkloadIdentities: Sendable {
    package struct Settings: Sendable {
        package var cache = SVIDCache.Settings()
        package var maximumJWTSVIDs = 1000
        package var keyType = KeyType.ecP256
        /// How long a call for a token waits for the server.
        package var jwtTimeout: TimeInterval = 10

        package init() {}
    }

    /// Takes what a stream is told. Called under the lock, so it must neither wait nor call back; what is
    /// not passed on in time is to be replaced by what came later.
    package typealias Sink = @Sendable (SVIDCache.Delivery) -> Void

    private typealias JWTWaiter = CheckedContinuation<Result<IssuedJWTSVID, WorkloadRefusal>, Never>

    private struct State {
        var cache: SVIDCache
        var jwt: JWTSVIDCache
        var streams: [SVIDCache.SubscriberID: Sink] = [:]
        var nextSubscriber: SVIDCache.SubscriberID = 1
        /// Keys of requests under way.
        var keys: [UInt64: WorkloadKey] = [:]
        var jwtQueue: [UInt64] = []
        var jwtWaiters: [UInt64: [(JWTWaiter, fallback: IssuedJWTSVID?)]] = [:]
        var jwtDeadlines = DeadlineQueue<UInt64>()
        var wantsResync = false
        var work: AsyncStream<Void>.Continuation?
        var timer: (at: Date, task: Task<Void, Never>)?
        var isStopped = false
    }

    private let state: NIOLockedValueBox<State>
    private let settings: Settings
    private let now: @Sendable () -> Date
    private let logger: Logger
    private let events: (any AgentEvents)?
    private let onOwnBundle: @Sendable (AgentBundle) -> Void

    /// - Parameters:
    ///   - onOwnBundle: Called, outside any lock, whenever the own trust domain's X.509 authorities
    ///     change.
    package init(
        trustDomain: TrustDomain, settings: Settings = Settings(), logger: Logger,
        events: (any AgentEvents)? = nil, now: @escaping @Sendable () -> Date = { Date() },
        onOwnBundle: @escaping @Sendable (AgentBundle) -> Void = { _ in }
    ) {
        self.settings = settings
        self.now = now
        self.logger = logger
        self.events = events
        self.onOwnBundle = onOwnBundle
        self.state = NIOLockedValueBox(
            State(
                cache: SVIDCache(trustDomain: trustDomain, settings: settings.cache),
                jwt: JWTSVIDCache(maximum: settings.maximumJWTSVIDs)))
    }

    // MARK: For workloads

    /// Opens a stream. What can be said at once is returned; all else goes to `sink`.
    ///
    /// The caller must call ``unsubscribe(_:)`` in all cases.
    package func subscribe(
        _ kind: SVIDCache.Kind, _ selectors: Set<Selector>, sink: @escaping Sink
    ) -> (id: SVIDCache.SubscriberID, first: SVIDCache.Delivery?) {
        self.mutate { state in
            let id = state.nextSubscriber
            state.nextSubscriber += 1
            if state.isStopped { return ((id, .end(.shuttingDown)), SVIDCache.Effects()) }
            var effects = state.cache.subscribe(
                id, kind: kind, selectors: selectors, now: self.now())
            let own = effects.deliveries.lastIndex { $0.to == id }
            let first = own.map { effects.deliveries.remove(at: $0).1 }
            if case .end? = first { return ((id, first), effects) }
            state.streams[id] = sink
            return ((id, first), effects)
        }
    }

    /// Nothing is told to the stream after this returns.
    package func unsubscribe(_ id: SVIDCache.SubscriberID) {
        self.state.withLockedValue { state in
            state.cache.unsubscribe(id)
            state.streams[id] = nil
        }
    }

    /// The same as ``jwtSVIDs(_:audience:spiffeID:)`` if it needs no waiting; nil if it does.
    ///
    /// - Throws: ``WorkloadRefusal``.
    package func heldJWTSVIDs(
        _ selectors: Set<Selector>, audience: [String], spiffeID: SPIFFEID?
    ) throws(WorkloadRefusal) -> [(entry: AuthorizedEntry, svid: IssuedJWTSVID)]? {
        let entries = try self.entries(selectors, spiffeID: spiffeID)
        let now = self.now()
        return self.state.withLockedValue { state in
            var tokens: [(entry: AuthorizedEntry, svid: IssuedJWTSVID)] = []
            for entry in entries {
                guard
                    let svid = state.jwt.held(
                        entry, audience: audience, isConnected: state.cache.isConnected, now: now)
                else { return nil }
                tokens.append((entry, svid))
            }
            return tokens
        }
    }

    private func entries(
        _ selectors: Set<Selector>, spiffeID: SPIFFEID?
    ) throws(WorkloadRefusal) -> [AuthorizedEntry] {
        let found: Result<[AuthorizedEntry], WorkloadRefusal> = self.state.withLockedValue {
            state in
            do throws(WorkloadRefusal) {
                return .success(try state.cache.identities(selectors))
            } catch {
                return .failure(error)
            }
        }
        let entries = try found.get().filter { spiffeID == nil || $0.spiffeID == spiffeID }
        if entries.isEmpty { throw .noIdentity }
        return entries
    }

    /// Tokens for the workload's identities, in order; only the one for `spiffeID` if given.
    ///
    /// - Throws: ``WorkloadRefusal``.
    package func jwtSVIDs(
        _ selectors: Set<Selector>, audience: [String], spiffeID: SPIFFEID?
    ) async throws(WorkloadRefusal) -> [(entry: AuthorizedEntry, svid: IssuedJWTSVID)] {
        let entries = try self.entries(selectors, spiffeID: spiffeID)
        if entries.count == 1 {
            return [(entries[0], try await self.jwtSVID(entries[0], audience).get())]
        }
        let results = await withTaskGroup(
            of: (Int, Result<IssuedJWTSVID, WorkloadRefusal>).self
        ) { group in
            for (index, entry) in entries.enumerated() {
                group.addTask { (index, await self.jwtSVID(entry, audience)) }
            }
            return await group.reduce(into: [:]) { $0[$1.0] = $1.1 }
        }
        var tokens: [(entry: AuthorizedEntry, svid: IssuedJWTSVID)] = []
        for (index, entry) in entries.enumerated() {
            guard let result = results[index] else { continue }
            tokens.append((entry, try result.get()))
        }
        return tokens
    }

    private func jwtSVID(
        _ entry: AuthorizedEntry, _ audience: [String]
    ) async -> Result<IssuedJWTSVID, WorkloadRefusal> {
        await withCheckedContinuation { waiter in
            let known: IssuedJWTSVID? = self.mutate { state in
                let now = self.now()
                let answer = state.jwt.ask(
                    entry, audience: audience, isConnected: state.cache.isConnected, now: now)
                switch answer {
                case .token(let svid):
                    return (svid, SVIDCache.Effects())
                case .wait(let id, let isNew, let fallback):
                    state.jwtWaiters[id, default: []].append((waiter, fallback))
                    if isNew {
                        state.jwtQueue.append(id)
                        let wait =
                            state.cache.isConnected
                            ? self.settings.jwtTimeout
                            : self.settings.cache.disconnectedAnswerTimeout
                        state.jwtDeadlines.add(id, at: now.addingTimeInterval(wait))
                        state.work?.yield()
                    }
                    return (nil, SVIDCache.Effects())
                }
            }
            if let known { waiter.resume(returning: .success(known)) }
        }
    }

    /// The bundles a workload may verify others with.
    ///
    /// - Throws: ``WorkloadRefusal`` before the first synchronisation.
    package func bundles(_ selectors: Set<Selector>) throws(WorkloadRefusal) -> [AgentBundle] {
        let found: Result<[AgentBundle], WorkloadRefusal> = self.state.withLockedValue { state in
            do throws(WorkloadRefusal) { return .success(try state.cache.bundles(selectors)) } catch
            {
                return .failure(error)
            }
        }
        return try found.get()
    }

    /// The entry that came closest to matching; for the log only.
    package func nearestEntry(to selectors: Set<Selector>) -> EntrySet.NearMiss? {
        let entries = self.state.withLockedValue { $0.cache.entries }
        return entries.nearest(to: selectors)
    }

    package var ownBundle: AgentBundle? { self.state.withLockedValue { $0.cache.bundles.own } }
    package var isSynchronised: Bool { self.state.withLockedValue { $0.cache.isSynchronised } }
    package var isConnected: Bool { self.state.withLockedValue { $0.cache.isConnected } }

    /// Numbers for the debug service and the log.
    package var counts: (entries: Int, x509SVIDs: Int, jwtSVIDs: Int, streams: Int) {
        self.state.withLockedValue {
            ($0.cache.entries.count, $0.cache.x509SVIDCount, $0.jwt.count, $0.cache.subscriberCount)
        }
    }

    // MARK: For the agent

    /// The connection is gone. Everything held is served on.
    package func disconnected(reason: String) {
        let held: Int? = self.mutate { state in
            let wasConnected = state.cache.isConnected
            let now = self.now()
            state.cache.disconnected(now: now)
            state.keys = [:]
            state.work?.finish()
            state.work = nil
            // Calls for tokens get a moment for a new connection, then what there is.
            state.jwtQueue = state.jwtWaiters.keys.sorted()
            for id in state.jwtQueue {
                state.jwtDeadlines.add(
                    id, at: now.addingTimeInterval(self.settings.cache.disconnectedAnswerTimeout))
            }
            return (wasConnected ? state.cache.x509SVIDCount : nil, SVIDCache.Effects())
        }
        if let held { self.events?.record(.disconnected(reason: reason, heldSVIDs: held)) }
    }

    /// The server took the agent's own identity back: streams end, nothing is served until a new
    /// session.
    package func suspend(_ refusal: WorkloadRefusal) {
        self.mutate { state in ((), state.cache.suspend(refusal)) }
        self.events?.record(.suspended(reason: refusal.message))
    }

    /// Ends all streams and timers; the object is of no use afterwards.
    package func stop() {
        self.mutate { state in
            state.isStopped = true
            for sink in state.streams.values { sink(.end(.shuttingDown)) }
            state.streams = [:]
            for (id, waiters) in state.jwtWaiters {
                state.jwt.failed(id)
                for (waiter, _) in waiters { waiter.resume(returning: .failure(.shuttingDown)) }
            }
            state.jwtWaiters = [:]
            state.work?.finish()
            state.timer?.task.cancel()
            state.timer = nil
            return ((), SVIDCache.Effects())
        }
    }

    // MARK: One place where effects take effect

    /// Runs a change under the lock and carries out what follows from it.
    @discardableResult
    private func mutate<Value>(
        _ change: (inout State) -> (Value, SVIDCache.Effects)
    ) -> Value {
        let (value, bundle) = self.state.withLockedValue { state -> (Value, AgentBundle?) in
            let (value, effects) = change(&state)
            for (id, delivery) in effects.deliveries {
                guard let sink = state.streams[id] else { continue }
                sink(delivery)
                if case .end = delivery { state.streams[id] = nil }
            }
            state.jwt.drop(entryIDs: effects.changedEntryIDs)
            state.jwt.drop(keyIDs: effects.withdrawnJWTKeyIDs)
            if effects.needsResync { state.wantsResync = true }
            if effects.wantsSigning || effects.needsResync { state.work?.yield() }
            self.armTimer(&state)
            return (value, effects.ownBundleChanged ? state.cache.bundles.own : nil)
        }
        if let bundle { self.onOwnBundle(bundle) }
        return value
    }

    /// Sees to it that the one timer goes off when the next thing is due.
    private func armTimer(_ state: inout State) {
        if state.isStopped { return }
        let candidates = [state.cache.nextDeadline, state.jwtDeadlines.next].compactMap { $0 }
        guard let next = candidates.min() else { return }
        if let timer = state.timer, timer.at <= next { return }
        state.timer?.task.cancel()
        // At most an hour: the wall clock may be set while we sleep. At least a moment: the dates
        // of certificates have whole seconds, and a late tick is better than a loop of early ones.
        let wait = min(max(next.timeIntervalSince(self.now()), 0.001), 3600)
        // Owned by `state.timer`; ends when it fires or when another takes its place; cannot fail.
        let task = Task { [weak self] in
            do { try await Task.sleep(for: .seconds(wait)) } catch { return }
            self?.timerFired()
        }
        state.timer = (next, task)
    }

    private func timerFired() {
        self.mutate { state in
            state.timer = nil
            let now = self.now()
            while let id = state.jwtDeadlines.takeDue(now) {
                state.jwt.failed(id)
                for (waiter, fallback) in state.jwtWaiters.removeValue(forKey: id) ?? [] {
                    waiter.resume(
                        returning: fallback.map { .success($0) } ?? .failure(.notIssuedYet))
                }
            }
            return ((), state.cache.tick(now))
        }
    }
}

// MARK: - The session with the server

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
            continuation.yield()
            return ((), state.cache.connected())
        }
        self.events?.record(.connected(isPush: isPush))
        return stream
    }

    package func takeRequests(limit: Int) -> [SessionRequest] {
        var requests: [SessionRequest] = []
        let jobs = self.mutate { state in
            if state.wantsResync {
                state.wantsResync = false
                requests.append(.resync)
            }
            for id in state.jwtQueue {
                guard let (entry, audience) = state.jwt.request(id) else { continue }
                requests.append(.jwt(requestID: id, entryID: entry.id, audience: audience))
            }
            state.jwtQueue = []
            return (
                state.cache.takeSigningBatch(limit: limit, now: self.now()), SVIDCache.Effects()
            )
        }
        if jobs.isEmpty { return requests }
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
        if !batch.isEmpty { requests.append(.x509(batch)) }
        return requests
    }

    package func receive(_ event: ServerEvent) {
        switch event {
        case .entries(let change):
            self.mutate { state in ((), state.cache.apply(change, now: self.now())) }
            self.logger.debug(
                "applied a change of entries",
                metadata: [
                    "upserted": "\(change.upserted.count)", "removed": "\(change.removedIDs.count)",
                ])
        case .bundles(let change):
            self.mutate { state in ((), state.cache.apply(change, now: self.now())) }
        case .x509(let requestID, let result):
            self.receiveX509(requestID, result)
        case .jwt(let requestID, let result):
            self.receiveJWT(requestID, result)
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
            self.mutate { state in
                ((), state.cache.signingFailed(requestID, now: self.now()))
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
            case .success(let svid) where svid.spiffeID == request?.entry.spiffeID:
                state.jwt.signed(requestID, svid)
                for (waiter, _) in waiters { waiter.resume(returning: .success(svid)) }
            case .success, .failure:
                state.jwt.failed(requestID)
                for (waiter, fallback) in waiters {
                    waiter.resume(
                        returning: fallback.map { .success($0) } ?? .failure(.notIssuedYet))
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
