/// When a partner's endpoint is asked again (SPIFFE Federation §4.1, §6.2).
package enum FederationSchedule {
    /// Without a hint, in seconds (Trust Domain and Bundle §6.1).
    package static let fallback: Int64 = 300
    /// No hint makes the interval shorter or longer than this, in seconds.
    package static let bounds: ClosedRange<Int64> = 60...86_400
    /// Without any bundle the first attempts follow each other faster, up to this, in seconds.
    package static let longestFirstWait: Int64 = 60

    /// The wait after an attempt.
    ///
    /// With a bundle at hand it is the partner's interval after success and after failure alike; the jitter makes
    /// it up to a tenth shorter, so that many servers do not come at the same moment and none comes late.
    ///
    /// - Parameters:
    ///   - hint: of the bundle that is stored, in seconds; 0 for none. Nil when there is no bundle.
    ///   - failures: how many attempts have failed in a row.
    ///   - jitter: 0 to 1.
    package static func wait(hint: Int64?, failures: Int, jitter: Double) -> Duration {
        let seconds: Int64
        if let hint {
            let wanted = hint > 0 ? hint : self.fallback
            seconds = min(max(wanted, self.bounds.lowerBound), self.bounds.upperBound)
        } else {
            seconds = min(5 << Int64(min(max(failures - 1, 0), 8)), self.longestFirstWait)
        }
        let share = min(max(jitter.isFinite ? jitter : 1, 0), 1)
        return .milliseconds(Int64(Double(seconds) * 1_000 * (1 - 0.1 * share)))
    }
}

/// What is known of one partner, for operators.
package struct FederationStatus: Sendable, Hashable {
    package let relationship: FederationRelationship
    /// Whether the configuration has it, and not the API.
    package let isConfigured: Bool
    /// Unix seconds; nil before the first attempt since the server's start.
    package var lastAttempt: Int64?
    /// When the endpoint last delivered a bundle or said that nothing is new. Unix seconds; nil when that has not
    /// happened since the server's start.
    package var lastSuccess: Int64?
    /// Why the last attempt failed; nil after success.
    package var lastError: String?
    /// How many attempts have failed in a row.
    package var failures = 0
    /// Unix seconds; nil while an attempt is under way or a request waits.
    package var nextAttempt: Int64?
    /// Whether the endpoint has a request that it answers as soon as its bundle is another one.
    package var isWaiting = false

    package init(_ relationship: FederationRelationship, isConfigured: Bool) {
        self.relationship = relationship
        self.isConfigured = isConfigured
    }
}
