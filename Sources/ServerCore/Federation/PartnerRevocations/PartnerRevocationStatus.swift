/// What is known of one partner's revocations, for operators.
package struct PartnerRevocationStatus: Sendable, Hashable {
    /// Whether the partner publishes lists; nil before the first answer since the server's start.
    package var isPublished: Bool?
    /// CRLs at hand.
    package var crls = 0
    /// Whether a status list is at hand.
    package var hasStatusList = false
    /// When the first list at hand ends. Unix seconds; nil without lists.
    package var nextUpdate: Int64?
    /// Unix seconds; nil before the first attempt since the server's start.
    package var lastAttempt: Int64?
    /// When the endpoint last said what there is, and all of it was good. Unix seconds.
    package var lastSuccess: Int64?
    /// Why the last attempt failed; nil after success.
    package var lastError: String?
    /// How many attempts have failed in a row.
    package var failures = 0
    /// Whether the endpoint has a request that it answers as soon as there is another list.
    package var isWaiting = false

    package init() {}
}

/// When a partner is asked for its lists again.
package enum PartnerRevocationSchedule {
    /// Where none are published, in seconds: most partners without lists will have none tomorrow.
    package static let absent: Int64 = 3_600
    /// So often the attempts after a failure follow each other fast where there is no list yet.
    static let fastAttempts = 10
    /// No list that is about to end makes the interval shorter, in seconds.
    package static let shortest: Int64 = 30

    /// The wait after an attempt: as for the bundle, and before the lists at hand end.
    ///
    /// - Parameters:
    ///   - hint: of the partner's bundle, in seconds; 0 for none.
    ///   - isAbsent: whether the partner said that it publishes none.
    ///   - remaining: until the first list at hand ends, in seconds; nil without lists.
    ///   - failures: how many attempts have failed in a row.
    ///   - jitter: 0 to 1; makes it up to a tenth shorter.
    package static func wait(
        hint: Int64, isAbsent: Bool, remaining: Int64?, failures: Int, jitter: Double
    ) -> Duration {
        let share = min(max(jitter.isFinite ? jitter : 1, 0), 1)
        func shortened(_ seconds: Int64) -> Duration {
            .milliseconds(Int64(Double(seconds) * 1_000 * (1 - 0.1 * share)))
        }
        let hinted = FederationSchedule.wait(hint: hint, failures: 0, jitter: share)
        if let remaining {
            let half = min(max(remaining / 2, self.shortest), FederationSchedule.bounds.upperBound)
            return min(hinted, shortened(half))
        }
        if isAbsent { return shortened(self.absent) }
        // As for a first bundle: the partner may only just be starting.
        if (1...self.fastAttempts).contains(failures) {
            return FederationSchedule.wait(hint: nil, failures: failures, jitter: share)
        }
        return hinted
    }
}
