public import Foundation
import SPIFFE

/// How it stands with the bundle of one trust domain, for status pages and health checks.
public struct BundleEndpointStatus: Sendable {
    /// Where the bundle comes from.
    public let endpoint: BundleEndpoint
    /// Whether there is a bundle, fetched or given.
    public internal(set) var hasBundle = false
    /// The sequence number of the bundle in force; nil when it has none.
    public internal(set) var sequenceNumber: UInt64?
    /// The refresh hint of the bundle in force.
    public internal(set) var refreshHint: Duration?
    /// When the bundle in force took its place.
    public internal(set) var changedAt: Date?
    /// When the endpoint has last confirmed the bundle in force, or served it; nil before the first success.
    public internal(set) var lastSuccess: Date?
    /// When the endpoint was last asked.
    public internal(set) var lastAttempt: Date?
    /// Why the last attempt has failed; nil when it has not.
    public internal(set) var lastError: BundleEndpointError?
    /// How many attempts in a row have failed.
    public internal(set) var failures = 0
    /// When the endpoint is asked next, unless somebody asks before; nil while the source does not run.
    public internal(set) var nextRefresh: Date?

    init(_ endpoint: BundleEndpoint) { self.endpoint = endpoint }

    /// How long ago the endpoint has confirmed the bundle in force; nil before the first success. Grows beyond the
    /// refresh hint when the endpoint cannot be reached or serves what is refused.
    public func age(at date: Date = Date()) -> Duration? {
        self.lastSuccess.map { .seconds(max(0, date.timeIntervalSince($0))) }
    }
}

/// What came of asking an endpoint once, for a log (SPIFFE Federation §7.6).
public struct BundleFetchRecord: Sendable {
    /// The outcome.
    public enum Outcome: Sendable {
        /// A bundle came and has taken the place of the one before.
        case replaced
        /// There is no other bundle than the one in force.
        case unchanged
        /// Nothing has changed because of this.
        case failed(BundleEndpointError)
    }

    /// Who was asked: URL, profile with the endpoint's SPIFFE ID, and trust domain.
    public let endpoint: BundleEndpoint
    /// When it was asked.
    public let date: Date
    /// The outcome.
    public let outcome: Outcome
    /// The sequence number of the bundle that is in force now.
    public let sequenceNumber: UInt64?
    /// Where the answer came from, after redirections; nil when it failed.
    public let url: BundleEndpointURL?
    /// Why keys of the bundle were left out.
    public let warnings: [String]
}
