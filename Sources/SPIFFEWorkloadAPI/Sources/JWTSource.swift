public import SPIFFE

/// JWT-SVIDs of this process and the bundles to verify those of others, always fresh.
///
/// Holds the stream of JWT bundles while ``run()`` runs; rules of withdrawal as ``X509Source``. Tokens
/// are asked for one by one: the server keeps and renews them, so this keeps none. Knows which tokens were taken back
/// and what partners are trusted with where the agent tells, as ``X509Source`` does; which trust domain is its own only
/// the agent says, so before ``ready(within:)`` returns no token at all may be accepted.
public final class JWTSource: JWTBundleSource, JWTSVIDSource, RevocationSource, PartnerLimitSource,
    Sendable
{
    private let client: WorkloadAPIClient
    private let ownsClient: Bool
    private let latest = LatestValue<JWTBundleSet>(withdrawn: JWTBundleSet())
    private let news: SourceNews

    /// Makes a source with a connection of its own; does not connect.
    ///
    /// - Parameters:
    ///   - address: Nil takes `SPIFFE_ENDPOINT_SOCKET`.
    ///   - configuration: Waits and limits of the connection.
    /// - Throws: ``WorkloadAPIError`` `noAddress` or `invalidAddress`.
    public init(
        address: WorkloadAPIAddress? = nil,
        configuration: WorkloadAPIConfiguration = WorkloadAPIConfiguration()
    ) throws(WorkloadAPIError) {
        self.client = try WorkloadAPIClient(address: address, configuration: configuration)
        self.ownsClient = true
        self.news = SourceNews { [latest] in latest.report($0) }
    }

    /// Makes a source that shares a connection; the caller runs the client.
    public init(client: WorkloadAPIClient) {
        self.client = client
        self.ownsClient = false
        self.news = SourceNews { [latest] in latest.report($0) }
    }

    /// Keeps the bundles fresh until the task is cancelled; then returns. May be called once.
    ///
    /// - Throws: ``WorkloadAPIError`` for which waiting does not help, as ``X509Source/run()``.
    public func run() async throws {
        try self.latest.begin()
        do throws(WorkloadAPIError) {
            try await self.client.whileRunning(self.ownsClient) {
                () async throws(WorkloadAPIError) in
                try await self.news.whileWatching(self.client) {
                    () async throws(WorkloadAPIError) in
                    try await self.client.watchJWTBundles(
                        onUpdate: { bundles in
                            self.news.arrived {
                                $0.update(bundles)
                            } handOut: {
                                self.latest.update(bundles)
                            }
                        },
                        onError: { self.failed($0) })
                }
            }
            self.end(WorkloadAPIError(.stopped, "the JWT source has ended"))
        } catch {
            self.end(error)
            throw error
        }
    }

    private func end(_ error: WorkloadAPIError) {
        self.news.end(error)
        self.latest.end(error)
    }

    private func failed(_ error: WorkloadAPIError) {
        self.news.broke()
        if error.code == .noIdentity {
            self.latest.withdraw(error)
        } else {
            self.latest.report(error)
        }
    }

    /// Returns as soon as the bundles are there; rules as ``X509Source/ready(within:)``.
    public func ready(within limit: Duration? = nil) async throws {
        try await self.news.ready(within: limit) { try await self.latest.ready(within: $0) }
    }

    /// The bundle of exactly this trust domain; nil when there is none, then no token of it is trusted.
    public func jwtBundle(for trustDomain: TrustDomain) -> JWTBundle? {
        try? self.latest.current().jwtBundle(for: trustDomain)
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
        self.news.limits.partnerLimits(for: trustDomain)
    }

    /// Tells of changes to partners' limits, as long as the result is held.
    public func observePartnerLimits(
        _ onChange: @escaping @Sendable () -> Void
    ) -> RevocationObservation? { self.news.limits.observePartnerLimits(onChange) }

    /// The bundles of this moment.
    ///
    /// - Throws: ``WorkloadAPIError`` with the reason why there are none.
    public func bundles() throws(WorkloadAPIError) -> JWTBundleSet { try self.latest.current() }

    /// The bundles from now on; rules as ``X509Source/updates``.
    public var updates: AsyncStream<JWTBundleSet> { self.latest.follow { $0 } }

    /// Asks for a token; rules as ``WorkloadAPIClient/fetchJWTSVID(audience:id:)``.
    ///
    /// - Throws: ``WorkloadAPIError``.
    public func jwtSVID(
        audience: [String], id: SPIFFEID? = nil
    ) async throws(WorkloadAPIError) -> JWTSVID {
        try await self.client.fetchJWTSVID(audience: audience, id: id)
    }

    /// Lets the server check a token that a peer presented, as the standard prefers. To check it in this
    /// process pass the source to `JWTSVID.validate(_:audience:bundles:now:leeway:revocation:limits:)`.
    ///
    /// - Throws: ``WorkloadAPIError`` `invalidRequest` when the token is refused.
    public func validate(
        _ token: String, audience: String
    ) async throws(WorkloadAPIError) -> ValidatedJWTSVID {
        try await self.client.validateJWTSVID(token, audience: audience)
    }
}

/// Runs a source as long as the body, which begins when the bundles are there; rules as
/// ``withX509Source(address:choosing:readyWithin:configuration:_:)``.
public nonisolated(nonsending) func withJWTSource<Result: Sendable>(
    address: WorkloadAPIAddress? = nil, readyWithin limit: Duration? = .seconds(30),
    configuration: WorkloadAPIConfiguration = WorkloadAPIConfiguration(),
    _ body: (JWTSource) async throws -> Result
) async throws -> Result {
    let source = try JWTSource(address: address, configuration: configuration)
    return try await withThrowingTaskGroup(of: Void.self) { group in
        defer { group.cancelAll() }
        // Its error reaches the body through the source.
        group.addTask { try await source.run() }
        try await source.ready(within: limit)
        return try await body(source)
    }
}
