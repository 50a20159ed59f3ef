public import SPIFFE

/// The X.509 identity of this process and the bundles to verify peers with, always fresh.
///
/// Holds a stream to the Workload API while ``run()`` runs and hands out the newest state without
/// blocking, so that it can be asked at every handshake. Simplest inside
/// ``withX509Source(address:choosing:readyWithin:configuration:_:)``.
///
/// What the server withdraws is gone at once: an identity or bundle that a message leaves out, and all
/// of it when the server says that there is no identity any more. A server that is away or sends
/// nonsense changes nothing: the last state stays in force, even beyond the end of its SVID, which
/// peers then refuse. When the run ends, nothing is handed out any more.
///
/// It also knows which SVIDs were taken back, from the CRLs of its messages and from the stream that Cygnet's agents
/// have for it; verifiers and TLS configurations that take their bundles from here refuse those. In the same way it knows
/// what partners are trusted with; what lies outside is refused too.
public final class X509Source: X509SVIDSource, X509BundleSource, RevocationSource,
    PartnerLimitSource,
    Sendable
{
    private struct Snapshot: Sendable {
        let context: X509Context
        let chosen: Result<X509SVID, WorkloadAPIError>
    }

    private let client: WorkloadAPIClient
    private let ownsClient: Bool
    private let picker: X509SVIDPicker
    private let latest = LatestValue<Snapshot>(
        withdrawn: Snapshot(
            context: .empty, chosen: .failure(WorkloadAPIError(.noIdentity, "withdrawn"))))
    private let news: SourceNews

    /// Makes a source with a connection of its own; does not connect.
    ///
    /// - Parameters:
    ///   - address: Nil takes `SPIFFE_ENDPOINT_SOCKET`.
    ///   - picker: Which identity to present when there are several.
    ///   - configuration: Waits and limits of the connection.
    /// - Throws: ``WorkloadAPIError`` `noAddress` or `invalidAddress`.
    public init(
        address: WorkloadAPIAddress? = nil, choosing picker: X509SVIDPicker = .first,
        configuration: WorkloadAPIConfiguration = WorkloadAPIConfiguration()
    ) throws(WorkloadAPIError) {
        self.client = try WorkloadAPIClient(address: address, configuration: configuration)
        self.ownsClient = true
        self.picker = picker
        self.news = SourceNews { [latest] in latest.report($0) }
    }

    /// Makes a source that shares a connection; the caller runs the client.
    public init(client: WorkloadAPIClient, choosing picker: X509SVIDPicker = .first) {
        self.client = client
        self.ownsClient = false
        self.picker = picker
        self.news = SourceNews { [latest] in latest.report($0) }
    }

    // MARK: Running

    /// Keeps the source fresh until the task is cancelled; then returns. May be called once.
    ///
    /// - Throws: ``WorkloadAPIError`` for which waiting does not help: `invalidRequest`, `notSupported`,
    ///   `stopped` when a shared client was closed, `alreadyRunning`.
    public func run() async throws {
        try self.latest.begin()
        do throws(WorkloadAPIError) {
            try await self.client.whileRunning(self.ownsClient) {
                () async throws(WorkloadAPIError) in
                try await self.news.whileWatching(self.client) {
                    () async throws(WorkloadAPIError) in
                    try await self.client.watchX509Context(
                        onUpdate: { self.update($0) }, onError: { self.failed($0) })
                }
            }
            self.end(WorkloadAPIError(.stopped, "the X.509 source has ended"))
        } catch {
            self.end(error)
            throw error
        }
    }

    private func end(_ error: WorkloadAPIError) {
        self.news.end(error)
        self.latest.end(error)
    }

    private func update(_ context: X509Context) {
        let chosen = Result { () throws(WorkloadAPIError) in try self.picker(context.svids) }
        self.news.arrived {
            $0.update(context)
        } handOut: {
            self.latest.update(Snapshot(context: context, chosen: chosen))
        }
    }

    private func failed(_ error: WorkloadAPIError) {
        self.news.broke()
        if error.code == .noIdentity {
            self.latest.withdraw(error)
        } else {
            self.latest.report(error)
        }
    }

    // MARK: Reading

    /// Returns as soon as the server has said who this process is, and what partners are trusted with if it knows that;
    /// at once when it has.
    ///
    /// Before, own identities and those of the own trust domain may be there already, but nobody of a partner is accepted.
    ///
    /// - Parameter limit: How long to wait; nil for as long as it takes.
    /// - Throws: After the limit the last failure, such as ``WorkloadAPIError`` `noIdentity`, or
    ///   `deadlineExceeded`; the error that ended the run; `CancellationError`.
    public func ready(within limit: Duration? = nil) async throws {
        try await self.news.ready(within: limit) { try await self.latest.ready(within: $0) }
    }

    /// The X509-SVID to present now.
    ///
    /// - Throws: ``WorkloadAPIError`` `notReady` before the first update, `noIdentity` when it was
    ///   withdrawn, `noMatchingSVID` when the picker takes none, or why the run ended.
    public func x509SVID() throws(WorkloadAPIError) -> X509SVID {
        try self.latest.current().chosen.get()
    }

    /// The bundle of exactly this trust domain; nil when there is none, then nobody of it is trusted.
    public func x509Bundle(for trustDomain: TrustDomain) -> X509Bundle? {
        try? self.latest.current().context.bundles.x509Bundle(for: trustDomain)
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
        let own = try? self.latest.current().context.svids
        if own?.contains(where: { $0.id.trustDomain == trustDomain }) == true { return nil }
        return self.news.limits.partnerLimits(for: trustDomain)
    }

    /// Tells of changes to partners' limits, as long as the result is held.
    public func observePartnerLimits(
        _ onChange: @escaping @Sendable () -> Void
    ) -> RevocationObservation? { self.news.limits.observePartnerLimits(onChange) }

    /// Everything of this moment.
    ///
    /// - Throws: As ``x509SVID()``, but never `noMatchingSVID`.
    public func context() throws(WorkloadAPIError) -> X509Context {
        try self.latest.current().context
    }

    /// The states from now on, the present one first; each call gives a sequence of its own.
    ///
    /// A slow reader gets the newest state and misses those between. ``X509Context/empty`` comes when
    /// everything was withdrawn. Ends with the run.
    public var updates: AsyncStream<X509Context> { self.latest.follow { $0.context } }

    /// The last failure since the newest update, for health checks; the state may be in force all the same.
    public var lastError: WorkloadAPIError? { self.latest.lastError }
}

/// Runs a source as long as the body, which begins when the identity is there.
///
/// ```swift
/// try await withX509Source { source in
///     print("I am \(try source.x509SVID().id)")
/// }
/// ```
///
/// - Parameters:
///   - address: Nil takes `SPIFFE_ENDPOINT_SOCKET`.
///   - picker: Which identity to present when there are several.
///   - limit: How long to wait for the first update; nil for as long as it takes.
///   - configuration: Waits and limits of the connection.
///   - body: What needs the identity; the source ends when it returns.
/// - Throws: ``WorkloadAPIError`` when there is no identity in time, or what the body throws.
public nonisolated(nonsending) func withX509Source<Result: Sendable>(
    address: WorkloadAPIAddress? = nil, choosing picker: X509SVIDPicker = .first,
    readyWithin limit: Duration? = .seconds(30),
    configuration: WorkloadAPIConfiguration = WorkloadAPIConfiguration(),
    _ body: (X509Source) async throws -> Result
) async throws -> Result {
    let source = try X509Source(address: address, choosing: picker, configuration: configuration)
    return try await withThrowingTaskGroup(of: Void.self) { group in
        defer { group.cancelAll() }
        // Its error reaches the body through the source.
        group.addTask { try await source.run() }
        try await source.ready(within: limit)
        return try await body(source)
    }
}
