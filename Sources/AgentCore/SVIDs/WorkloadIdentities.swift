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
