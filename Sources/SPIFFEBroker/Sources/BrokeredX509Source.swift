import Logging
import NIOConcurrencyHelpers
public import SPIFFE
public import SPIFFEWorkloadAPI

/// The X.509 identity and bundles of one workload that a broker acts for, always fresh.
///
/// Takes the place of an `X509Source` in TLS that a broker speaks for the workload. Each workload has a source of its
/// own and shares nothing with others; a broker that acts for both ends of a connection uses the one's source for the
/// client's side and the other's for the server's (Broker API §4.2).
///
/// What the server withdraws is gone at once: what a message leaves out, and everything when the workload has ended or
/// is entitled to nothing any more. A server that is away changes nothing. When the run ends, nothing is handed out any
/// more and nothing is kept.
///
/// It also knows which X509-SVIDs were taken back, from the CRLs of its messages; verifiers and TLS configurations that
/// take their bundles from here refuse those. A CRL that a message leaves out stays as long as its authority is in a
/// bundle, and comes to be overdue: there may have been no room for it.
public final class BrokeredX509Source: X509SVIDSource, X509BundleSource, RevocationSource, Sendable
{
    private struct State {
        var context: X509Context?
        /// Why there is none.
        var error = BrokerError(.notReady, "the Broker API has sent nothing yet")
        var hasBegun = false
        var hasEnded = false
        var followers: [UInt64: AsyncStream<X509Context>.Continuation] = [:]
        var nextKey: UInt64 = 0
    }

    /// Whose identity this is.
    public let workload: WorkloadReference
    private let client: BrokerClient
    private let picker: X509SVIDPicker
    private let state = NIOLockedValueBox(State())
    private let feed: RevocationFeed

    /// Makes a source; the caller runs the client.
    ///
    /// - Parameters:
    ///   - client: Must be running for the source to hear anything.
    ///   - workload: Whose identity it is to be.
    ///   - picker: Which identity to present when there are several: the default one, or one by hint.
    public init(
        client: BrokerClient, of workload: WorkloadReference,
        choosing picker: X509SVIDPicker = .first
    ) {
        self.client = client
        self.workload = workload
        self.picker = picker
        let logger = client.configuration.logger
        self.feed = RevocationFeed { error in
            logger?.warning(
                "a CRL of the Broker API is not used",
                metadata: [LogKeys.workload: "\(workload)", LogKeys.error: "\(error)"])
        }
    }

    /// Keeps the source fresh until the workload has ended or the task is cancelled. May be called once.
    ///
    /// - Throws: ``BrokerError`` for which waiting does not help, such as `workloadNotFound`; `alreadyRunning`.
    public func run() async throws(BrokerError) {
        let isFirst = self.state.withLockedValue { state in
            defer { state.hasBegun = true }
            return !state.hasBegun
        }
        guard isFirst else {
            throw BrokerError(.alreadyRunning, "a source runs once; make another one")
        }
        do throws(BrokerError) {
            try await self.client.watchX509Context(
                of: self.workload, onUpdate: { self.update($0) }, onError: { self.failed($0) })
            self.end(BrokerError(.stopped, "the source of \(self.workload) has ended"))
        } catch {
            self.end(error)
            throw error
        }
    }

    /// The X509-SVID to present now.
    ///
    /// - Throws: ``BrokerError`` `notReady` before the first update, `workloadNotFound` or `permissionDenied` when it was
    ///   withdrawn, `noMatchingSVID` when the picker takes none, or why the run ended.
    public func x509SVID() throws(BrokerError) -> X509SVID {
        let context = try self.context()
        do throws(WorkloadAPIError) { return try self.picker(context.svids) } catch {
            throw BrokerError(.noMatchingSVID, error.message, cause: error)
        }
    }

    /// The bundle of exactly this trust domain, for this workload's peers; nil when there is none.
    public func x509Bundle(for trustDomain: TrustDomain) -> X509Bundle? {
        try? self.context().bundles.x509Bundle(for: trustDomain)
    }

    /// What is known about X509-SVIDs of this trust domain that were taken back; nil when nothing is.
    public func revocations(for trustDomain: TrustDomain) -> TrustDomainRevocations? {
        self.feed.revocations(for: trustDomain)
    }

    /// Tells of changes to what was taken back, as long as the result is held.
    public func observeRevocations(
        _ onChange: @escaping @Sendable () -> Void
    ) -> RevocationObservation? { self.feed.observeRevocations(onChange) }

    /// Everything of this moment.
    ///
    /// - Throws: As ``x509SVID()``, but never `noMatchingSVID`.
    public func context() throws(BrokerError) -> X509Context {
        let (context, error) = self.state.withLockedValue { ($0.context, $0.error) }
        guard let context else { throw error }
        return context
    }

    /// The states from now on, the present one first; each call gives a sequence of its own.
    ///
    /// A slow reader gets the newest state and misses those between. `X509Context.empty` comes when everything was
    /// withdrawn: drop what was kept, files included. Ends with the run.
    public var updates: AsyncStream<X509Context> {
        let (stream, continuation) = AsyncStream.makeStream(
            of: X509Context.self, bufferingPolicy: .bufferingNewest(1))
        let key = self.state.withLockedValue { state -> UInt64? in
            if state.hasEnded { return nil }
            defer { state.nextKey += 1 }
            state.followers[state.nextKey] = continuation
            if let context = state.context { continuation.yield(context) }
            return state.nextKey
        }
        guard let key else {
            continuation.finish()
            return stream
        }
        continuation.onTermination = { [weak self] _ in
            _ = self?.state.withLockedValue { $0.followers.removeValue(forKey: key) }
        }
        return stream
    }

    func update(_ context: X509Context) {
        // Before the bundles can be asked for, so that nobody is let in between.
        self.feed.update(context)
        self.state.withLockedValue { state in
            if state.hasEnded { return }
            state.context = context
            // Under the lock, so that two updates cannot overtake each other; it does not block.
            for follower in state.followers.values { follower.yield(context) }
        }
    }

    func failed(_ error: BrokerError) {
        let isWithdrawn = self.state.withLockedValue { state in
            if state.hasEnded { return false }
            state.error = error
            guard error.withdrawsWorkload, state.context != nil else { return false }
            state.context = nil
            for follower in state.followers.values { follower.yield(.empty) }
            return true
        }
        if isWithdrawn { self.feed.update(.empty) }
    }

    private func end(_ error: BrokerError) {
        let followers = self.state.withLockedValue { state in
            state.hasEnded = true
            state.context = nil
            state.error = error
            defer { state.followers = [:] }
            return Array(state.followers.values)
        }
        self.feed.end()
        // Ending calls back, so not under the lock.
        for follower in followers { follower.finish() }
    }
}
