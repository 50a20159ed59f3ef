import SPIFFE

#if canImport(FoundationEssentials)
    package import FoundationEssentials
#else
    package import Foundation
#endif

/// What the cache keeps for WIT-SVIDs: those held, the requests for more, and the streams that ask for them.
///
/// One WIT-SVID with one key for each entry; never for two. It is made when a workload first asks and replaced,
/// key and all, past half of its life as long as somebody listens.
struct WITState: Sendable {
    struct Record: Sendable {
        let svid: IssuedWITSVID
        /// The entry as it was when the SVID was signed.
        let entry: AuthorizedEntry
        /// Different for every SVID ever held.
        let number: UInt64
        let rotateAt: Date
        /// To be replaced as soon as possible.
        var isOutdated = false
    }

    struct Stream: Sendable {
        /// Only this identity; nil for all.
        let spiffeID: SPIFFEID?
        /// What it was sent last.
        var key: WITView.Key?
    }

    var records: [String: Record] = [:]
    var signing = SigningQueue()
    var streams: [SVIDCache.SubscriberID: Stream] = [:]

    /// The entry is gone.
    mutating func forget(_ entryID: String) {
        self.records[entryID] = nil
        self.signing.forget(entryID)
    }

    mutating func entryChanged(from old: AuthorizedEntry, to new: AuthorizedEntry) {
        guard new.isNewVersion(of: old) else { return }
        self.signing.entryChanged(new.id)
        if self.records[new.id]?.svid.spiffeID != new.spiffeID || new.isStored {
            self.records[new.id] = nil
        } else {
            self.records[new.id]?.isOutdated = true
        }
    }
}

extension SVIDCache {
    /// Whether the server has authorities for WIT-SVIDs.
    var offersWITSVIDs: Bool { self.bundles.own?.witAuthorities.isEmpty == false }

    /// How many WIT-SVIDs are held.
    package var witSVIDCount: Int { self.wit.records.count }

    // MARK: Signing

    /// Takes requests for WIT-SVIDs to send to the server, those that workloads wait for first.
    package mutating func takeWITSigningBatch(limit: Int, now: Date) -> [SigningQueue.Job] {
        let entries = self.entries
        let batch = self.wit.signing.takeBatch(limit: limit, except: self.withheld) {
            entries[id: $0]
        }
        for job in batch {
            self.deadlines.add(
                .signingWIT(requestID: job.requestID),
                at: now.addingTimeInterval(self.settings.signingTimeout))
        }
        return batch
    }

    /// The entry that a request for a WIT-SVID was for; nil when its answer is no longer wanted.
    package func entry(forWITRequest requestID: UInt64) -> AuthorizedEntry? {
        self.wit.signing.entry(forRequest: requestID)
    }

    /// The server signed. Streams that wait for it are told in the same step.
    package mutating func witSigned(
        _ requestID: UInt64, _ svid: IssuedWITSVID, now: Date
    ) -> Effects {
        var effects = Effects()
        if self.revocations.isRevoked(token: svid.token, of: self.trustDomain) {
            return self.witSigningFailed(requestID, now: now)
        }
        guard let (asked, outdated) = self.wit.signing.succeeded(requestID),
            let entry = self.entries[id: asked.id], entry.spiffeID == svid.spiffeID, !entry.isStored
        else { return effects }
        self.blocked[entry.id] = nil
        let number = self.nextNumber
        self.nextNumber += 1
        let rotateAt = RotationPolicy().rotationDate(
            notBefore: svid.issuedAt, notAfter: svid.expiresAt, jitter: self.random())
        self.wit.records[entry.id] = WITState.Record(
            svid: svid, entry: asked, number: number, rotateAt: rotateAt,
            isOutdated: outdated || entry.isNewVersion(of: asked))
        self.deadlines.add(.rotateWIT(entryID: entry.id, number: number), at: max(rotateAt, now))
        self.deadlines.add(.expireWIT(entryID: entry.id, number: number), at: svid.expiresAt)
        self.settleWIT(ofEntry: entry.id, now, &effects)
        if outdated { self.wit.signing.request(entry.id, urgent: false, now: now) }
        self.evictWIT()
        effects.wantsSigning = self.hasWork
        return effects
    }

    /// The server refused, or its answer was no good. The entry is tried again later.
    ///
    /// - Parameter isRevoked: a revocation stands in the way.
    package mutating func witSigningFailed(
        _ requestID: UInt64, isRevoked: Bool = false, now: Date
    ) -> Effects {
        var effects = Effects()
        guard
            let (entry, retryAt) = self.wit.signing.failed(
                requestID, now: now, jitter: self.random())
        else { return effects }
        self.note(refused: entry.id, isRevoked: isRevoked, until: retryAt)
        self.deadlines.add(.retryWIT(entryID: entry.id), at: retryAt)
        self.settleWIT(ofEntry: entry.id, now, &effects)
        effects.wantsSigning = self.hasWork
        return effects
    }

    /// The time to be replaced has come. What nobody listens for stays until it expires or is asked for.
    mutating func rotateWIT(_ entryID: String, _ number: UInt64, _ now: Date) {
        guard self.wit.records[entryID]?.number == number, self.isListenedForWIT(entryID) else {
            return
        }
        self.wit.records[entryID]?.isOutdated = true
        // A rotation is no emergency: half of the lifetime is left.
        self.wit.signing.request(entryID, urgent: false, now: now)
    }

    /// Authorities were withdrawn or tainted: what they signed is replaced.
    mutating func replaceWIT(signedBy keyIDs: Set<String>, _ now: Date) {
        if keyIDs.isEmpty { return }
        for (id, record) in self.wit.records where keyIDs.contains(record.svid.keyID) {
            self.wit.records[id]?.isOutdated = true
            if self.isListenedForWIT(id) {
                self.wit.signing.request(id, urgent: true, now: now)
            }
        }
    }

    func isListenedForWIT(_ entryID: String) -> Bool {
        (self.groupsByEntry[entryID] ?? []).contains { id in
            self.groups[id]?.subscribers.values.contains { $0.kind == .witSVIDs } ?? false
        }
    }

    /// Drops those that end first of what nobody listens for, when there are too many.
    private mutating func evictWIT() {
        let surplus = self.wit.records.count - self.settings.maximumX509SVIDs
        if surplus <= 0 { return }
        let idle = self.wit.records.filter { !self.isListenedForWIT($0.key) }
            .sorted { $0.value.svid.expiresAt < $1.value.svid.expiresAt }
        for (id, _) in idle.prefix(surplus) { self.wit.records[id] = nil }
    }

    // MARK: What to tell

    /// Tells the streams of all groups that the entry concerns what they do not know yet.
    mutating func settleWIT(ofEntry entryID: String, _ now: Date, _ effects: inout Effects) {
        for id in self.groupsByEntry[entryID] ?? [] { self.settleWIT(id, now, &effects) }
    }

    /// Tells a group's streams what they do not know yet, and asks for what is missing.
    ///
    /// - Parameter newcomer: Only this stream: nothing has changed for the others.
    mutating func settleWIT(
        _ id: Int, _ now: Date, _ effects: inout Effects, newcomer: SubscriberID? = nil
    ) {
        guard let group = self.groups[id] else { return }
        var subscribers = group.subscribers
        if let newcomer {
            subscribers = group.subscribers[newcomer].map { [newcomer: $0] } ?? [:]
        }
        // Many streams ask for the same: it is worked out once for each thing that is asked for.
        var outcomes: [SPIFFEID?: WITOutcome] = [:]
        var hasEnded = false
        for (subscriber, state) in subscribers where state.kind == .witSVIDs {
            let wish = self.wit.streams[subscriber]?.spiffeID
            let outcome = outcomes[wish] ?? self.witOutcome(wish, group, now)
            outcomes[wish] = outcome
            switch outcome {
            case .end(let refusal):
                hasEnded = true
                self.endWIT(subscriber, id, refusal, &effects)
            case .wait: continue
            case .view(let view, let isComplete):
                // Who has nothing yet waits for all of its identities.
                if isComplete || state.isServed { self.tellWIT(view, subscriber, id, &effects) }
            }
        }
        if hasEnded { self.releaseIfIdle(id) }
    }

    /// What streams of a group that ask for the same are to be told.
    private enum WITOutcome {
        case end(WorkloadRefusal)
        case wait
        /// `isComplete`: nothing more is to come for now.
        case view(WITView, isComplete: Bool)
    }

    private mutating func witOutcome(_ wish: SPIFFEID?, _ group: Group, _ now: Date) -> WITOutcome {
        let wanted = Self.wantedWIT(wish, group)
        if wanted.isEmpty { return .end(.noIdentity) }
        let (ready, pending) = self.prepareWIT(wanted, now)
        if ready.isEmpty {
            return pending == 0 ? .end(self.refusal(of: wanted)) : .wait
        }
        return .view(Self.witView(ready), isComplete: pending == 0)
    }

    /// The server has no authorities for WIT-SVIDs any more.
    mutating func endWIT(_ effects: inout Effects) {
        for (id, group) in self.groups {
            var hasEnded = false
            for (subscriber, state) in group.subscribers
            where state.kind == .witSVIDs || state.kind == .witBundles {
                hasEnded = true
                self.endWIT(subscriber, id, .noWITSVIDs, &effects)
            }
            if hasEnded { self.releaseIfIdle(id) }
        }
    }

    /// The wait of a stream for its first message is over: it gets what there is, or is sent away.
    mutating func giveUpWIT(
        _ subscriber: SubscriberID, _ id: Int, _ now: Date, _ effects: inout Effects
    ) {
        guard let group = self.groups[id] else { return }
        let wanted = Self.wantedWIT(self.wit.streams[subscriber]?.spiffeID, group)
        let ready = self.prepareWIT(wanted, now).ready
        if ready.isEmpty {
            self.endWIT(subscriber, id, self.refusal(of: wanted), &effects)
            self.releaseIfIdle(id)
        } else {
            self.tellWIT(Self.witView(ready), subscriber, id, &effects)
        }
    }

    private static func wantedWIT(_ wish: SPIFFEID?, _ group: Group) -> [AuthorizedEntry] {
        guard let wish else { return group.entries }
        return group.entries.filter { $0.spiffeID == wish }
    }

    /// What is at hand, and how many are still to come.
    private mutating func prepareWIT(
        _ entries: [AuthorizedEntry], _ now: Date
    ) -> (ready: [(entry: AuthorizedEntry, record: WITState.Record)], pending: Int) {
        var ready: [(entry: AuthorizedEntry, record: WITState.Record)] = []
        var pending = 0
        for entry in entries {
            if let record = self.wit.records[entry.id], record.svid.expiresAt > now {
                ready.append((entry, record))
                if record.isOutdated || record.rotateAt <= now {
                    self.wit.signing.request(entry.id, urgent: false, now: now)
                }
            } else if !self.wit.signing.isResting(entry.id, now: now) {
                pending += 1
                self.wit.signing.request(entry.id, urgent: true, now: now)
            }
        }
        return (ready, pending)
    }

    private static func witView(
        _ ready: [(entry: AuthorizedEntry, record: WITState.Record)]
    ) -> WITView {
        WITView(
            key: WITView.Key(
                identities: ready.map(\.record.number),
                hints: ready.map { Array($0.entry.hint.utf8) }),
            identities: ready.map { WITView.Identity(svid: $0.record.svid, entry: $0.entry) })
    }

    private mutating func tellWIT(
        _ view: WITView, _ subscriber: SubscriberID, _ id: Int, _ effects: inout Effects
    ) {
        if self.wit.streams[subscriber]?.key == view.key { return }
        self.wit.streams[subscriber]?.key = view.key
        // It has had its first message.
        self.groups[id]?.subscribers[subscriber]?.bundleVersions = []
        effects.deliveries.append((subscriber, .wit(view)))
    }

    private mutating func endWIT(
        _ subscriber: SubscriberID, _ id: Int, _ refusal: WorkloadRefusal, _ effects: inout Effects
    ) {
        self.groups[id]?.subscribers[subscriber] = nil
        self.subscribers[subscriber] = nil
        self.wit.streams[subscriber] = nil
        effects.deliveries.append((subscriber, .end(refusal)))
    }
}
