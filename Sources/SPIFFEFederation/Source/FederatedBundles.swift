import Foundation
import SPIFFE

/// What a federated source knows: endpoints, their bundles and how it stands with them. Without I/O and clock.
struct FederatedBundles: Sendable {
    /// One endpoint and what is known of its trust domain.
    struct Partner: Sendable {
        /// Tells an endpoint from another one that takes its place later.
        let key: UInt64
        let endpoint: BundleEndpoint
        var bundle: SPIFFEBundle?
        var entityTag: String?
        var schedule: BundleRefreshSchedule
        var status: BundleEndpointStatus
    }

    private(set) var partners: [TrustDomain: Partner] = [:]
    private let limits: BundleRefreshSchedule.Limits
    private var nextKey: UInt64 = 0

    init(limits: BundleRefreshSchedule.Limits) { self.limits = limits }

    /// The bundles in force.
    var bundles: [TrustDomain: SPIFFEBundle] { self.partners.compactMapValues(\.bundle) }

    /// Adds an endpoint; one for the same trust domain is forgotten together with its bundle.
    mutating func add(_ endpoint: BundleEndpoint, bootstrap: SPIFFEBundle?, at date: Date) -> UInt64
    {
        self.nextKey += 1
        self.partners[endpoint.trustDomain] = Partner(
            key: self.nextKey, endpoint: endpoint,
            schedule: BundleRefreshSchedule(limits: self.limits),
            status: BundleEndpointStatus(endpoint))
        if let bootstrap { _ = self.set(bootstrap, at: date) }
        return self.nextKey
    }

    /// Forgets an endpoint and its bundle.
    mutating func remove(_ trustDomain: TrustDomain) -> UInt64? {
        self.partners.removeValue(forKey: trustDomain)?.key
    }

    /// Puts a bundle in force that did not come from its endpoint, whatever its sequence number. The next refresh asks
    /// for the whole document.
    ///
    /// - Returns: Whether there is an endpoint for its trust domain.
    mutating func set(_ bundle: SPIFFEBundle, at date: Date) -> Bool {
        guard var partner = self.partners[bundle.trustDomain] else { return false }
        partner.entityTag = nil
        partner.put(bundle, at: date)
        self.partners[bundle.trustDomain] = partner
        return true
    }

    /// The endpoint that a key was given for, if it is still there.
    func partner(_ trustDomain: TrustDomain, key: UInt64) -> Partner? {
        self.partners[trustDomain].flatMap { $0.key == key ? $0 : nil }
    }

    /// Takes in what an endpoint has answered.
    ///
    /// - Returns: What came of it and how long to wait until the next look; nil when the endpoint was forgotten
    ///   meanwhile.
    mutating func answered(
        _ trustDomain: TrustDomain, key: UInt64,
        _ result: Result<BundleEndpointResponse, BundleEndpointError>, at date: Date,
        using generator: inout some RandomNumberGenerator
    ) -> (record: BundleFetchRecord, wait: Duration)? {
        guard var partner = self.partner(trustDomain, key: key) else { return nil }
        let outcome = partner.take(result, at: date)
        let wait: Duration
        partner.status.lastAttempt = date
        if case .failed(let error) = outcome {
            wait = partner.schedule.failed(retryAfter: error.retryAfter, using: &generator)
            partner.status.lastError = error
        } else {
            wait = partner.schedule.succeeded(
                hint: partner.bundle?.refreshHint, using: &generator)
            partner.status.lastError = nil
            partner.status.lastSuccess = date
        }
        partner.status.failures = partner.schedule.failures
        self.partners[trustDomain] = partner
        let response = try? result.get()
        let record = BundleFetchRecord(
            endpoint: partner.endpoint, date: date, outcome: outcome,
            sequenceNumber: partner.bundle?.sequenceNumber, url: response?.url,
            warnings: response?.warnings ?? [])
        return (record, wait)
    }

    /// Notes when an endpoint will be asked next.
    mutating func willRefresh(_ trustDomain: TrustDomain, key: UInt64, at date: Date?) {
        guard self.partner(trustDomain, key: key) != nil else { return }
        self.partners[trustDomain]?.status.nextRefresh = date
    }
}

extension FederatedBundles.Partner {
    fileprivate init(
        key: UInt64, endpoint: BundleEndpoint, schedule: BundleRefreshSchedule,
        status: BundleEndpointStatus
    ) {
        self.init(
            key: key, endpoint: endpoint, bundle: nil, entityTag: nil, schedule: schedule,
            status: status)
    }

    /// Puts a bundle in force, whole.
    fileprivate mutating func put(_ bundle: SPIFFEBundle, at date: Date) {
        if bundle != self.bundle { self.status.changedAt = date }
        self.bundle = bundle
        self.status.hasBundle = true
        self.status.sequenceNumber = bundle.sequenceNumber
        self.status.refreshHint = bundle.refreshHint
    }

    fileprivate mutating func take(
        _ result: Result<BundleEndpointResponse, BundleEndpointError>, at date: Date
    ) -> BundleFetchRecord.Outcome {
        let response: BundleEndpointResponse
        switch result {
        case .failure(let error): return .failed(error)
        case .success(let answer): response = answer
        }
        guard let bundle = response.bundle else {
            // An endpoint may confirm a bundle with another tag, but not one that was set by hand meanwhile.
            if self.entityTag != nil { self.entityTag = response.entityTag ?? self.entityTag }
            return .unchanged
        }
        guard bundle.trustDomain == self.endpoint.trustDomain else {
            return .failed(
                BundleEndpointError(
                    .bundle, self.endpoint, "the bundle is one of \(bundle.trustDomain)"))
        }
        switch BundleUpdateDecision.decide(fetched: bundle, current: self.bundle) {
        case .replaces:
            self.entityTag = response.entityTag
            self.put(bundle, at: date)
            return .replaced
        case .unchanged:
            self.entityTag = response.entityTag
            return .unchanged
        case .isOlder(let number, let current):
            return .failed(
                BundleEndpointError(
                    .sequence, self.endpoint, at: response.url,
                    "sequence number \(number) came after \(current): an older bundle is served "
                        + "again; the one at hand stays until a newer one comes or one is set by hand"
                ))
        }
    }
}
