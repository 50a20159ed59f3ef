package import SPIFFE

/// Which partners keep the own bundle, and in which version, as far as they say so: a table without a clock.
///
/// A partner says so with a request that waits for the next version: it names itself, and the entity tag of the version
/// that it has stored. Neither is proved, because whoever fetches a bundle shows no certificate. So what is said may
/// make an authority wait, for a bounded time, and may never make it wait less: each name counts once for each address
/// that it is used from, and all of them are waited for. Somebody elsewhere who says that a partner has the bundle says
/// so for a row of their own. Where there are more rows than the table holds, somebody may be missing, and the whole
/// time is waited.
package struct PartnerHoldings: Sendable {
    /// The most rows.
    static let maximum = 1_024
    /// How long somebody who has been answered may take to come back before they count as gone.
    static let absence = Duration.seconds(10)

    private struct Key: Hashable {
        let trustDomain: TrustDomain
        let address: String
    }

    private struct Row {
        /// The newest version that was named; 0 for none.
        var sequenceNumber: UInt64
        /// When it counts no more.
        var end: Duration
    }

    private var rows: [Key: Row] = [:]
    /// Until when somebody may be missing.
    private var crowdedUntil = Duration.zero

    /// Nobody keeps the bundle.
    package init() {}

    /// Notes a request.
    ///
    /// - Parameters:
    ///   - trustDomain: in whose name it comes.
    ///   - address: where it comes from.
    ///   - held: the sequence number of the version that it names; nil when it names none that is current.
    ///   - patience: for how long it may wait.
    ///   - now: the time since some fixed moment.
    package mutating func note(
        _ trustDomain: TrustDomain, at address: String, holds held: UInt64?, patience: Duration,
        now: Duration
    ) {
        let key = Key(trustDomain: trustDomain, address: address)
        let end = now + Self.absence + (held == nil ? .zero : patience)
        if var row = self.rows[key] {
            if row.end <= now { row.sequenceNumber = 0 }
            row.sequenceNumber = max(row.sequenceNumber, held ?? 0)
            row.end = end
            self.rows[key] = row
            return
        }
        if self.rows.count >= Self.maximum { self.rows = self.rows.filter { $0.value.end > now } }
        guard self.rows.count < Self.maximum else {
            self.crowdedUntil = max(self.crowdedUntil, end)
            return
        }
        self.rows[key] = Row(sequenceNumber: held ?? 0, end: end)
    }

    /// Who has not said to have that version or a later one, by name and address, in order. Whoever has not been heard
    /// of for too long is not among them.
    package func pending(_ sequenceNumber: UInt64, now: Duration) -> [String] {
        self.rows.lazy.filter { $0.value.end > now && $0.value.sequenceNumber < sequenceNumber }
            .map { "\($0.key.trustDomain) at \($0.key.address)" }.sorted()
    }

    /// When all who keep the bundle have that version or count no more, should nobody be heard of until then; nil when it is
    /// so now.
    package func end(_ sequenceNumber: UInt64, now: Duration) -> Duration? {
        let end = self.rows.values.reduce(self.crowdedUntil) { end, row in
            row.sequenceNumber < sequenceNumber ? max(end, row.end) : end
        }
        return end > now ? end : nil
    }

    /// Whether all who keep the bundle are known to have that version or a later one.
    package func isDone(_ sequenceNumber: UInt64, now: Duration) -> Bool {
        self.end(sequenceNumber, now: now) == nil
    }
}
