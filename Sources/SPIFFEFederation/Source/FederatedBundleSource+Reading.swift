import NIOConcurrencyHelpers
public import SPIFFE

extension FederatedBundleSource {
    /// The bundle of exactly this trust domain; nil when there is none, then nobody of it is trusted.
    public func bundle(for trustDomain: TrustDomain) -> SPIFFEBundle? {
        self.state.withLockedValue { state in
            state.hasEnded ? nil : state.content.partners[trustDomain]?.bundle
        }
    }

    /// The X.509 authorities in ``bundle(for:)``.
    public func x509Bundle(for trustDomain: TrustDomain) -> X509Bundle? {
        self.bundle(for: trustDomain)?.x509Bundle
    }

    /// The JWT authorities in ``bundle(for:)``.
    public func jwtBundle(for trustDomain: TrustDomain) -> JWTBundle? {
        self.bundle(for: trustDomain)?.jwtBundle
    }

    /// The WIT authorities in ``bundle(for:)``.
    public func witBundle(for trustDomain: TrustDomain) -> WITBundle? {
        self.bundle(for: trustDomain)?.witBundle
    }

    /// How it stands with each endpoint, ordered by trust domain.
    public var status: [BundleEndpointStatus] {
        self.state.withLockedValue { $0.content.partners.values.map(\.status) }
            .sorted { $0.endpoint.trustDomain < $1.endpoint.trustDomain }
    }

    /// The bundles from now on, the present ones first; each call gives a sequence of its own.
    ///
    /// A slow reader gets the newest state and misses those between. Ends with the run. Bundles that are to survive a
    /// restart are stored from here (`SPIFFEBundle.json()`) and given as `bootstrap` later.
    public var updates: AsyncStream<[TrustDomain: SPIFFEBundle]> {
        let (stream, continuation) = AsyncStream.makeStream(
            of: [TrustDomain: SPIFFEBundle].self, bufferingPolicy: .bufferingNewest(1))
        let key = self.state.withLockedValue { state -> UInt64? in
            guard !state.hasEnded else { return nil }
            state.nextFollower += 1
            state.followers[state.nextFollower] = continuation
            continuation.yield(state.content.bundles)
            return state.nextFollower
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

    /// Returns as soon as there is a bundle for every endpoint; at once when there is.
    ///
    /// - Parameter limit: How long to wait; nil for as long as it takes.
    /// - Throws: After the limit the last failure of an endpoint without bundle, or ``BundleEndpointError`` `timedOut`;
    ///   `cancelled` when the task is cancelled or the run ends.
    public func ready(within limit: Duration? = nil) async throws(BundleEndpointError) {
        let sleep = self.sleep
        await withTaskGroup(of: Void.self) { group in
            group.addTask {
                for await _ in self.updates where self.missing == nil { return }
            }
            if let limit { group.addTask { try? await sleep(limit) } }
            await group.next()
            group.cancelAll()
        }
        guard let missing = self.missing else { return }
        if Task.isCancelled || self.state.withLockedValue({ $0.hasEnded }) {
            throw BundleEndpointError(.cancelled, "waiting for bundles was cancelled")
        }
        throw missing.lastError
            ?? BundleEndpointError(.timedOut, missing.endpoint, "there was no answer in time")
    }

    /// An endpoint without bundle.
    private var missing: BundleEndpointStatus? { self.status.first { !$0.hasBundle } }
}
