public import SPIFFE

/// The WIT-SVIDs of this process, with their keys, and the bundles to verify those of others, always fresh.
///
/// Incubating. Holds two streams while ``run()`` runs; rules of withdrawal as ``X509Source``. Present an
/// identity with `WorkloadProofSigner`; check others' with `WorkloadProofVerifier` and this as the source of
/// bundles. Knows which tokens were taken back and what partners are trusted with where the agent tells; for the status
/// lists, which JWT authorities sign, it then holds the stream of JWT bundles too.
public final class WITSource: WITSVIDSource, WITBundleSource, RevocationSource, PartnerLimitSource,
    Sendable
{
    private let client: WorkloadAPIClient
    private let ownsClient: Bool
    private let svids = LatestValue<[WITSVID]>(withdrawn: [])
    private let latestBundles = LatestValue<WITBundleSet>(withdrawn: WITBundleSet())
    private let news: SourceNews

    /// Makes a source with a connection of its own; does not connect.
    ///
    /// - Parameters:
    ///   - address: Nil takes `SPIFFE_ENDPOINT_SOCKET`.
    ///   - configuration: Waits, limits and logging.
    /// - Throws: ``WorkloadAPIError`` `noAddress` or `invalidAddress`.
    public init(
        address: WorkloadAPIAddress? = nil,
        configuration: WorkloadAPIConfiguration = WorkloadAPIConfiguration()
    ) throws(WorkloadAPIError) {
        self.client = try WorkloadAPIClient(address: address, configuration: configuration)
        self.ownsClient = true
        self.news = SourceNews { [latestBundles] in latestBundles.report($0) }
    }

    /// Makes a source that shares a connection; the caller runs the client.
    public init(client: WorkloadAPIClient) {
        self.client = client
        self.ownsClient = false
        self.news = SourceNews { [latestBundles] in latestBundles.report($0) }
    }

    /// Keeps SVIDs and bundles fresh until the task is cancelled; then returns. May be called once.
    ///
    /// - Throws: ``WorkloadAPIError`` for which waiting does not help, as ``X509Source/run()``;
    ///   `notSupported` when the server has no WIT profile.
    public func run() async throws {
        try self.svids.begin()
        do {
            try await withThrowingTaskGroup(of: Void.self) { group in
                defer { group.cancelAll() }
                if self.ownsClient { group.addTask { try await self.client.run() } }
                group.addTask {
                    try await self.client.watchWITSVIDs(
                        onUpdate: { self.svids.update($0) },
                        onError: { WITSource.failed($0, self.svids) })
                }
                group.addTask {
                    try await self.client.watchWITBundles(
                        onUpdate: { bundles in
                            self.news.arrived(handOut: { self.latestBundles.update(bundles) })
                        },
                        onError: { error in
                            self.news.broke()
                            WITSource.failed(error, self.latestBundles)
                        })
                }
                group.addTask {
                    await self.news.watch(self.client, fetchesJWTBundles: true)
                }
                // Each lasts until it is cancelled or fails for good, and then so does the whole.
                try await group.next()
            }
            self.end(WorkloadAPIError(.stopped, "the WIT source has ended"))
        } catch {
            let reason =
                error as? WorkloadAPIError
                ?? WorkloadAPIError(.failed, "the WIT source has ended", cause: error)
            self.end(reason)
            throw reason
        }
    }

    private func end(_ error: WorkloadAPIError) {
        self.news.end(error)
        self.svids.end(error)
        self.latestBundles.end(error)
    }

    private static func failed<Value: Sendable>(
        _ error: WorkloadAPIError, _ latest: LatestValue<Value>
    ) {
        if error.code == .noIdentity { latest.withdraw(error) } else { latest.report(error) }
    }

    /// Returns as soon as SVIDs and bundles are there; rules as ``X509Source/ready(within:)``, the limit for SVIDs and
    /// for all else.
    public func ready(within limit: Duration? = nil) async throws {
        try await self.svids.ready(within: limit)
        try await self.news.ready(within: limit) {
            try await self.latestBundles.ready(within: $0)
        }
    }

    /// The identities of this moment; the first is the default.
    ///
    /// - Throws: ``WorkloadAPIError`` with the reason why there are none.
    public func witSVIDs() throws(WorkloadAPIError) -> [WITSVID] { try self.svids.current() }

    /// The WIT-SVID of an identity.
    ///
    /// - Parameter id: Whom it speaks for; nil takes the default identity, the first.
    /// - Throws: ``WorkloadAPIError`` with the reason why there are none; `noIdentity` when none of them is of
    ///   this identity.
    public func witSVID(id: SPIFFEID? = nil) throws(WorkloadAPIError) -> WITSVID {
        let all = try self.svids.current()
        if let id {
            if let found = all.first(where: { $0.id == id }) { return found }
            throw WorkloadAPIError(.noIdentity, "there is no WIT-SVID of \(id)")
        }
        // There is never a message without SVIDs; what was withdrawn has thrown already.
        guard let first = all.first else {
            throw WorkloadAPIError(.noIdentity, "there is no WIT-SVID")
        }
        return first
    }

    /// The bundle of exactly this trust domain; nil when there is none, then no token of it is trusted.
    public func witBundle(for trustDomain: TrustDomain) -> WITBundle? {
        try? self.latestBundles.current().witBundle(for: trustDomain)
    }

    /// What is known about SVIDs of this trust domain that were taken back; nil when nothing is.
    public func revocations(for trustDomain: TrustDomain) -> TrustDomainRevocations? {
        self.news.revocations.revocations(for: trustDomain)
    }

    /// Tells of changes to what was taken back, as long as the result is held.
    public func observeRevocations(
        _ onChange: @escaping @Sendable () -> Void
    ) -> RevocationObservation? { self.news.revocations.observeRevocations(onChange) }

    /// The limits of this trust domain; nil when it has none, unknown while the agent has not told them.
    public func partnerLimits(for trustDomain: TrustDomain) -> TrustDomainLimits? {
        let own = try? self.svids.current()
        if own?.contains(where: { $0.id.trustDomain == trustDomain }) == true { return nil }
        return self.news.limits.partnerLimits(for: trustDomain)
    }

    /// Tells of changes to partners' limits, as long as the result is held.
    public func observePartnerLimits(
        _ onChange: @escaping @Sendable () -> Void
    ) -> RevocationObservation? { self.news.limits.observePartnerLimits(onChange) }

    /// The bundles of this moment.
    ///
    /// - Throws: ``WorkloadAPIError`` with the reason why there are none.
    public func bundles() throws(WorkloadAPIError) -> WITBundleSet {
        try self.latestBundles.current()
    }

    /// The identities from now on; rules as ``X509Source/updates``.
    public var updates: AsyncStream<[WITSVID]> { self.svids.follow { $0 } }

    /// The bundles from now on.
    public var bundleUpdates: AsyncStream<WITBundleSet> { self.latestBundles.follow { $0 } }
}

/// Runs a source as long as the body, which begins when SVIDs and bundles are there; rules as
/// ``withX509Source(address:choosing:readyWithin:configuration:_:)``.
///
/// Incubating, like ``WITSource``.
public nonisolated(nonsending) func withWITSource<Result: Sendable>(
    address: WorkloadAPIAddress? = nil, readyWithin limit: Duration? = .seconds(30),
    configuration: WorkloadAPIConfiguration = WorkloadAPIConfiguration(),
    _ body: (WITSource) async throws -> Result
) async throws -> Result {
    let source = try WITSource(address: address, configuration: configuration)
    return try await withThrowingTaskGroup(of: Void.self) { group in
        defer { group.cancelAll() }
        // Its error reaches the body through the source.
        group.addTask { try await source.run() }
        try await source.ready(within: limit)
        return try await body(source)
    }
}
