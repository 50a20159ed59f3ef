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

    typealias JWTWaiter = CheckedContinuation<Result<IssuedJWTSVID, WorkloadRefusal>, Never>

    struct State {
        var cache: SVIDCache
        var jwt: JWTSVIDCache
        var streams: [SVIDCache.SubscriberID: Sink] = [:]
        var nextSubscriber: SVIDCache.SubscriberID = 1
        /// Keys of requests under way.
        var keys: [UInt64: WorkloadKey] = [:]
        var witKeys: [UInt64: ProofKey] = [:]
        var jwtQueue: [UInt64] = []
        var jwtWaiters: [UInt64: [(JWTWaiter, fallback: IssuedJWTSVID?)]] = [:]
        var jwtDeadlines = DeadlineQueue<UInt64>()
        var wantsResync = false
        /// What the server wants to hear of the own bundle, and what it has heard.
        var confirmation = BundleConfirmation()
        /// The number of revocations that the server waits to hear confirmed; 0 when none.
        var owedRevocations: UInt64 = 0
        var custody = CustodyRequests()
        var custodyAttempts = CustodyAttempts()
        /// Who has had what ends with its processes, and what the server is to hear of that.
        var served = ServedProcesses()
        var ends = WorkloadEndReports()
        /// How far the records of that on disk are.
        var recording: ServedRecording
        /// The records of before could not be read: the first entries tell what may have ended.
        var mayHaveEnded = false
        /// When processes are looked at whose end nobody tells; nil when there are none.
        var nextLook: Date?
        /// Until when the log says no more of processes that were one too many.
        var quietAboutFull: Date?
        var work: AsyncStream<Void>.Continuation?
        var timer: (at: Date, task: Task<Void, Never>)?
        var isStopped = false
    }

    let state: NIOLockedValueBox<State>
    let settings: Settings
    let now: @Sendable () -> Date
    let logger: Logger
    let events: (any AgentEvents)?
    let servedStore: (any ServedProcessStore)?
    private let onOwnBundle: @Sendable (AgentBundle) -> Void
    private let onOwnRevocations: @Sendable () -> Void

    /// - Parameters:
    ///   - servedStore: Where processes are recorded that have SVIDs which end with them; nil for nowhere.
    ///   - onOwnBundle: Called, outside any lock, whenever the own trust domain's X.509 authorities
    ///     change.
    ///   - onOwnRevocations: Called, outside any lock, whenever other SVIDs of the own trust domain are taken back.
    package init(
        trustDomain: TrustDomain, settings: Settings = Settings(), logger: Logger,
        events: (any AgentEvents)? = nil, now: @escaping @Sendable () -> Date = { Date() },
        servedStore: (any ServedProcessStore)? = nil,
        onOwnBundle: @escaping @Sendable (AgentBundle) -> Void = { _ in },
        onOwnRevocations: @escaping @Sendable () -> Void = {}
    ) {
        self.onOwnRevocations = onOwnRevocations
        self.settings = settings
        self.now = now
        self.logger = logger
        self.events = events
        self.servedStore = servedStore
        self.onOwnBundle = onOwnBundle
        self.state = NIOLockedValueBox(
            State(
                cache: SVIDCache(trustDomain: trustDomain, settings: settings.cache),
                jwt: JWTSVIDCache(maximum: settings.maximumJWTSVIDs),
                recording: ServedRecording(isOn: servedStore != nil)))
    }

    // MARK: For workloads

    /// Opens a stream. What can be said at once is returned; all else goes to `sink`.
    ///
    /// The caller must call ``unsubscribe(_:)`` in all cases.
    ///
    /// - Parameter spiffeID: Of WIT-SVIDs only those for this ID; nil for all.
    package func subscribe(
        _ kind: SVIDCache.Kind, _ selectors: Set<Selector>, spiffeID: SPIFFEID? = nil,
        sink: @escaping Sink
    ) -> (id: SVIDCache.SubscriberID, first: SVIDCache.Delivery?) {
        self.mutate { state in
            let id = state.nextSubscriber
            state.nextSubscriber += 1
            if state.isStopped { return ((id, .end(.shuttingDown)), SVIDCache.Effects()) }
            var effects = state.cache.subscribe(
                id, kind: kind, selectors: selectors, spiffeID: spiffeID, now: self.now())
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

    /// The same as ``jwtSVIDs(_:audience:spiffeID:for:)`` if it needs no waiting; nil if it does.
    ///
    /// - Throws: ``WorkloadRefusal``.
    package func heldJWTSVIDs(
        _ selectors: Set<Selector>, audience: [String], spiffeID: SPIFFEID?,
        for process: (any ServedProcess)?
    ) throws(WorkloadRefusal) -> [(entry: AuthorizedEntry, svid: IssuedJWTSVID)]? {
        let entries = try self.entries(selectors, spiffeID: spiffeID)
        if try self.hand(tokensOf: entries, to: process) == .pending { return nil }
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

    func entries(
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
    /// - Parameter process: Whom they are for; nil when they go nowhere.
    /// - Throws: ``WorkloadRefusal``.
    package func jwtSVIDs(
        _ selectors: Set<Selector>, audience: [String], spiffeID: SPIFFEID?,
        for process: (any ServedProcess)?
    ) async throws(WorkloadRefusal) -> [(entry: AuthorizedEntry, svid: IssuedJWTSVID)] {
        let entries = try self.entries(selectors, spiffeID: spiffeID)
        try await self.waitToHand(tokensOf: entries, to: process)
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
            let known: Result<IssuedJWTSVID, WorkloadRefusal>? = self.mutate { state in
                let now = self.now()
                if state.cache.isBlocked(entry.id, now: now) {
                    return (.failure(.noIdentity), SVIDCache.Effects())
                }
                let answer = state.jwt.ask(
                    entry, audience: audience, isConnected: state.cache.isConnected, now: now)
                switch answer {
                case .token(let svid):
                    return (.success(svid), SVIDCache.Effects())
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
            if let known { waiter.resume(returning: known) }
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
    /// The bundle of a trust domain, our own or one that an entry federates with; nil when it is not held.
    package func bundle(of trustDomain: TrustDomain) -> AgentBundle? {
        self.state.withLockedValue { $0.cache.bundles[trustDomain] }
    }
    /// A trust domain's CertificateLists as the server sent them, verified, in DER.
    package func crls(of trustDomain: TrustDomain) -> [[UInt8]] {
        self.state.withLockedValue { $0.cache.crls([trustDomain]) }
    }
    /// Whether a JWT- or WIT-SVID of our own trust domain was taken back.
    package func isRevoked(token: String) -> Bool {
        self.state.withLockedValue { $0.cache.isRevoked(token: token) }
    }
    /// A status list as the server sent it: a signed token that nobody has checked; nil when there is none.
    package func statusList(_ uri: String, of trustDomain: TrustDomain) -> String? {
        self.state.withLockedValue { $0.cache.revocations[trustDomain]?.statusLists[uri] }
    }
    /// The status lists of a trust domain by their names, as the server sent them: signed tokens that nobody has checked.
    package func statusLists(of trustDomain: TrustDomain) -> [String: String] {
        self.state.withLockedValue { $0.cache.revocations[trustDomain]?.statusLists ?? [:] }
    }
    /// Whether the agent's own SVID was taken back.
    func isRevoked(_ identity: AgentIdentity) -> Bool {
        self.state.withLockedValue { state in
            state.cache.revocations.isRevoked(
                identity.revocationName, of: state.cache.trustDomain)
        }
    }
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
            state.witKeys = [:]
            state.work?.finish()
            state.work = nil
            state.custody.disconnected(.serverAway)
            state.ends.disconnected()
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
            state.custody.disconnected(.shuttingDown)
            state.work?.finish()
            state.timer?.task.cancel()
            state.timer = nil
            return ((), SVIDCache.Effects())
        }
    }

    // MARK: One place where effects take effect

    /// Runs a change under the lock and carries out what follows from it.
    @discardableResult
    func mutate<Value>(
        _ change: (inout State) -> (Value, SVIDCache.Effects)
    ) -> Value {
        let (value, bundle, hasRevocations) = self.state.withLockedValue {
            state -> (Value, AgentBundle?, Bool) in
            let (value, effects) = change(&state)
            for (id, delivery) in effects.deliveries {
                guard let sink = state.streams[id] else { continue }
                sink(delivery)
                if case .end = delivery { state.streams[id] = nil }
            }
            state.jwt.drop(entryIDs: effects.changedEntryIDs)
            state.jwt.drop(keyIDs: effects.withdrawnJWTKeyIDs)
            if effects.ownRevocationsChanged {
                let cache = state.cache
                state.jwt.drop { cache.isRevoked(token: $0.token) }
            }
            if effects.needsResync { state.wantsResync = true }
            if effects.wantsSigning || effects.needsResync || Self.owesConfirmation(state) {
                state.work?.yield()
            }
            self.armTimer(&state)
            return (
                value, effects.ownBundleChanged ? state.cache.bundles.own : nil,
                effects.ownRevocationsChanged
            )
        }
        if let bundle { self.onOwnBundle(bundle) }
        if hasRevocations { self.onOwnRevocations() }
        return value
    }

    private static func owesConfirmation(_ state: State) -> Bool {
        (state.confirmation.isOpen
            && (!state.confirmation.isHeard || !state.cache.restsOnTaintedAuthority))
            || (state.owedRevocations != 0 && state.cache.hasAppliedRevocations)
    }

    /// Sees to it that the one timer goes off when the next thing is due.
    private func armTimer(_ state: inout State) {
        if state.isStopped { return }
        let candidates = [
            state.cache.nextDeadline, state.jwtDeadlines.next, state.custody.nextDeadline,
            state.ends.nextDeadline, state.nextLook,
        ].compactMap { $0 }
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
                    let usable = state.cache.unlessRevoked(fallback)
                    waiter.resume(
                        returning: usable.map { .success($0) } ?? .failure(.notIssuedYet))
                }
            }
            state.custody.expire(now: now)
            var effects = state.cache.tick(now)
            if state.ends.wake(now: now) { effects.wantsSigning = true }
            return ((), effects)
        }
        self.lookAtUnwatched()
    }
}

/// How far the server has been told about the own bundle.
struct BundleConfirmation: Sendable {
    /// What it asked for last; 0 when nothing.
    private(set) var asked: UInt64 = 0
    /// It has heard that the bundle was applied.
    private(set) var isHeard = false
    /// It has heard that everything was replaced.
    private(set) var isFinal = false

    /// Whether there may be something to say.
    var isOpen: Bool { self.asked != 0 && !self.isFinal }

    mutating func ask(_ number: UInt64) {
        self.asked = number
        self.isHeard = false
        self.isFinal = false
    }

    /// What to tell, if it is new.
    mutating func take(isReplaced: Bool) -> (number: UInt64, isReplaced: Bool)? {
        guard self.isOpen, !self.isHeard || isReplaced else { return nil }
        self.isHeard = true
        self.isFinal = isReplaced
        return (self.asked, isReplaced)
    }
}
