package import Foundation
import NIOConcurrencyHelpers
public import SPIFFE

/// Bundles of other trust domains, kept fresh from their bundle endpoints.
///
/// For programs that verify peers of other organisations and get no federated bundles from an agent. While ``run()``
/// runs, each endpoint is asked at the intervals that its bundle hints at. Reading never blocks. A bundle takes the place
/// of the one before at once and whole; a failure of any kind, an older sequence number included, leaves the last good
/// one in force, and ``status`` tells. When the run ends, nothing is handed out any more.
///
/// ```swift
/// let source = FederatedBundleSource(endpoints: [partner])
/// try await source.whileRunning { source in
///     try await source.ready(within: .seconds(30))
///     let verifier = X509SVIDVerifier(bundles: source)
///     print(try await verifier.verify(chainDER: chain).id)
/// }
/// ```
///
/// An `https_spiffe` endpoint is verified with the newest bundle that this source has of the endpoint's own trust domain.
/// The first contact needs one from elsewhere: `bootstrap`, or `endpointBundles` (SPIFFE Federation §5.2.2).
public final class FederatedBundleSource: X509BundleSource, JWTBundleSource, WITBundleSource,
    Sendable
{
    package typealias Fetch =
        @Sendable (BundleEndpoint, any X509BundleSource, String?) async throws(BundleEndpointError)
        -> BundleEndpointResponse

    struct State {
        var content: FederatedBundles
        var hasBegun = false
        var hasEnded = false
        /// Ends the loop of an endpoint.
        var stops: [UInt64: AsyncStream<Never>.Continuation] = [:]
        var followers: [UInt64: AsyncStream<[TrustDomain: SPIFFEBundle]>.Continuation] = [:]
        var nextFollower: UInt64 = 0

        /// Forgets an endpoint and returns what ends its loop.
        mutating func stop(_ trustDomain: TrustDomain) -> AsyncStream<Never>.Continuation? {
            self.content.remove(trustDomain).flatMap { self.stops.removeValue(forKey: $0) }
        }
    }

    /// An endpoint whose loop is to begin.
    private struct Start: Sendable {
        let trustDomain: TrustDomain
        let key: UInt64
        let stopped: AsyncStream<Never>
    }

    let state: NIOLockedValueBox<State>
    private let starts: AsyncStream<Start>
    private let start: AsyncStream<Start>.Continuation
    private let endpointBundles: (any X509BundleSource)?
    private let onFetch: (@Sendable (BundleFetchRecord) -> Void)?
    private let fetch: Fetch
    let sleep: @Sendable (Duration) async throws -> Void
    private let now: @Sendable () -> Date

    /// Makes a source; asks nobody yet.
    ///
    /// - Parameters:
    ///   - endpoints: Of two for one trust domain the last counts.
    ///   - bootstrap: Bundles that are in force until the endpoints of their trust domains have answered, such as those
    ///     stored before. Ones without endpoint here are left out.
    ///   - endpointBundles: Where bundles of endpoints' trust domains come from that this source has none of; an
    ///     `X509Source` for example.
    ///   - limits: Bounds of the intervals.
    ///   - client: What fetches.
    ///   - onFetch: Told what came of each fetch, for a log; must not block.
    public convenience init(
        endpoints: [BundleEndpoint], bootstrap: [SPIFFEBundle] = [],
        endpointBundles: (any X509BundleSource)? = nil,
        limits: BundleRefreshSchedule.Limits = BundleRefreshSchedule.Limits(),
        client: BundleEndpointClient = BundleEndpointClient(),
        onFetch: (@Sendable (BundleFetchRecord) -> Void)? = nil
    ) {
        self.init(
            endpoints: endpoints, bootstrap: bootstrap, endpointBundles: endpointBundles,
            limits: limits, onFetch: onFetch,
            fetch: { endpoint, bundles, entityTag throws(BundleEndpointError) in
                try await client.fetch(
                    endpoint, authenticatingWith: bundles, entityTag: entityTag)
            },
            sleep: { try await Task.sleep(for: $0, clock: .continuous) }, now: { Date() })
    }

    /// The same with the outside world given: fetching, waiting and the time of day.
    package init(
        endpoints: [BundleEndpoint], bootstrap: [SPIFFEBundle],
        endpointBundles: (any X509BundleSource)?, limits: BundleRefreshSchedule.Limits,
        onFetch: (@Sendable (BundleFetchRecord) -> Void)?, fetch: @escaping Fetch,
        sleep: @escaping @Sendable (Duration) async throws -> Void,
        now: @escaping @Sendable () -> Date
    ) {
        self.state = NIOLockedValueBox(State(content: FederatedBundles(limits: limits)))
        (self.starts, self.start) = AsyncStream.makeStream(of: Start.self)
        self.endpointBundles = endpointBundles
        self.onFetch = onFetch
        self.fetch = fetch
        self.sleep = sleep
        self.now = now
        for endpoint in endpoints {
            self.add(
                endpoint,
                bootstrap: bootstrap.last { $0.trustDomain == endpoint.trustDomain })
        }
    }

    // MARK: Running

    /// Keeps the bundles fresh until the task is cancelled; then returns. May be called once.
    ///
    /// - Throws: ``BundleEndpointError`` `alreadyRunning`.
    public func run() async throws(BundleEndpointError) {
        try self.begin()
        await self.keepFresh()
    }

    private func begin() throws(BundleEndpointError) {
        let isFirst = self.state.withLockedValue { state in
            defer { state.hasBegun = true }
            return !state.hasBegun
        }
        guard isFirst else {
            throw BundleEndpointError(.alreadyRunning, "a source runs once; make another one")
        }
    }

    private func keepFresh() async {
        await withDiscardingTaskGroup { group in
            for await start in self.starts {
                group.addTask { await self.keepFresh(start) }
            }
            group.cancelAll()
        }
        let followers = self.state.withLockedValue { state in
            state.hasEnded = true
            state.stops = [:]
            defer { state.followers = [:] }
            return Array(state.followers.values)
        }
        for follower in followers { follower.finish() }
    }

    /// Runs the source as long as the body.
    ///
    /// - Parameter body: What needs the bundles; the source ends when it returns.
    /// - Throws: What the body throws; ``BundleEndpointError`` `alreadyRunning`.
    public func whileRunning<Result: Sendable>(
        _ body: @Sendable (FederatedBundleSource) async throws -> Result
    ) async throws -> Result {
        try self.begin()
        return try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { await self.keepFresh() }
            defer { group.cancelAll() }
            return try await body(self)
        }
    }

    /// Asks one endpoint again and again, until it is removed or the run ends.
    private func keepFresh(_ start: Start) async {
        await withTaskGroup(of: Void.self) { group in
            group.addTask {
                while let wait = await self.ask(start.trustDomain, start.key)?.wait {
                    let next = self.now() + wait / .seconds(1)
                    self.state.withLockedValue {
                        $0.content.willRefresh(start.trustDomain, key: start.key, at: next)
                    }
                    // Ends early only because the task is cancelled.
                    guard (try? await self.sleep(wait)) != nil else { return }
                }
            }
            group.addTask { for await _ in start.stopped {} }
            await group.next()
            group.cancelAll()
        }
        self.state.withLockedValue {
            $0.content.willRefresh(start.trustDomain, key: start.key, at: nil)
        }
    }

    /// Asks an endpoint once and takes in the answer; nil when it was removed or the task is cancelled.
    private func ask(
        _ trustDomain: TrustDomain, _ key: UInt64
    ) async -> (record: BundleFetchRecord, wait: Duration)? {
        guard let partner = self.partner(trustDomain, key) else { return nil }
        let result: Result<BundleEndpointResponse, BundleEndpointError>
        do throws(BundleEndpointError) {
            result = .success(
                try await self.fetch(
                    partner.endpoint, EndpointAuthorities(source: self), partner.entityTag))
        } catch {
            // A cancellation is no failure of the endpoint.
            if error.code == .cancelled || Task.isCancelled { return nil }
            result = .failure(error)
        }
        let date = self.now()
        let answer = self.change { state in
            var generator = SystemRandomNumberGenerator()
            return state.content.answered(
                trustDomain, key: key, result, at: date, using: &generator)
        }
        if let answer { self.onFetch?(answer.record) }
        return answer
    }

    private func partner(_ trustDomain: TrustDomain, _ key: UInt64) -> FederatedBundles.Partner? {
        self.state.withLockedValue {
            $0.hasEnded ? nil : $0.content.partner(trustDomain, key: key)
        }
    }

    /// Changes the state and tells followers when the bundles are others; in this order for all.
    private func change<Value>(_ body: (inout State) -> Value) -> Value {
        self.state.withLockedValue { state in
            let before = state.content.bundles
            let value = body(&state)
            let after = state.content.bundles
            if after != before, !state.hasEnded {
                // Under the lock, so that two changes cannot overtake each other; it does not block.
                for follower in state.followers.values { follower.yield(after) }
            }
            return value
        }
    }

    // MARK: Endpoints

    /// Begins to ask an endpoint. One for the same trust domain is forgotten, and its bundle with it.
    ///
    /// - Parameters:
    ///   - endpoint: Where the bundle is, and how the endpoint proves itself.
    ///   - bootstrap: A bundle to begin with; of the endpoint's trust domain, else it is left out.
    public func add(_ endpoint: BundleEndpoint, bootstrap: SPIFFEBundle? = nil) {
        let own = bootstrap.flatMap { $0.trustDomain == endpoint.trustDomain ? $0 : nil }
        let (stopped, stop) = AsyncStream.makeStream(of: Never.self)
        let date = self.now()
        let (key, before) = self.change { state in
            let before = state.stop(endpoint.trustDomain)
            let key = state.content.add(endpoint, bootstrap: own, at: date)
            state.stops[key] = stop
            return (key, before)
        }
        before?.finish()
        self.start.yield(Start(trustDomain: endpoint.trustDomain, key: key, stopped: stopped))
    }

    /// Stops asking for a trust domain and forgets its bundle (SPIFFE Federation §6.3).
    public func remove(_ trustDomain: TrustDomain) {
        self.change { $0.stop(trustDomain) }?.finish()
    }

    /// Puts a bundle in force that came in another way, whatever its sequence number, until the next refresh brings
    /// another one (§4.2).
    ///
    /// - Throws: ``BundleEndpointError`` `unknownTrustDomain` when there is no endpoint for its trust domain.
    public func set(_ bundle: SPIFFEBundle) throws(BundleEndpointError) {
        let date = self.now()
        guard self.change({ $0.content.set(bundle, at: date) }) else {
            throw Self.unknown(bundle.trustDomain)
        }
    }

    /// Asks an endpoint now, beside its schedule; works without ``run()``, too.
    ///
    /// - Throws: ``BundleEndpointError``: why it failed; `unknownTrustDomain` when there is no endpoint for the trust
    ///   domain.
    public func refresh(_ trustDomain: TrustDomain) async throws(BundleEndpointError) {
        let key = self.state.withLockedValue { $0.content.partners[trustDomain]?.key }
        guard let key else { throw Self.unknown(trustDomain) }
        guard let answer = await self.ask(trustDomain, key) else {
            throw BundleEndpointError(
                .cancelled, "the refresh of \(trustDomain) was cancelled, or its endpoint removed")
        }
        if case .failed(let error) = answer.record.outcome { throw error }
    }

    private static func unknown(_ trustDomain: TrustDomain) -> BundleEndpointError {
        BundleEndpointError(
            .unknownTrustDomain,
            "there is no bundle endpoint for \(trustDomain); add one first")
    }

    /// What `https_spiffe` endpoints are verified with: never an older bundle when there is a newer one.
    private struct EndpointAuthorities: X509BundleSource {
        let source: FederatedBundleSource

        func x509Bundle(for trustDomain: TrustDomain) -> X509Bundle? {
            self.source.x509Bundle(for: trustDomain)
                ?? self.source.endpointBundles?.x509Bundle(for: trustDomain)
        }
    }
}
