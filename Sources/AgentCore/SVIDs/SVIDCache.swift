package import SPIFFE

#if canImport(FoundationEssentials)
    package import FoundationEssentials
#else
    package import Foundation
#endif

/// What the agent knows and whom it concerns: entries, bundles, SVIDs, and the workloads that
/// listen.
///
/// A state machine without I/O: every method takes what happened and the time, and returns what to
/// do. It never waits and never looks at a clock. One lock around it is enough.
///
/// Invariants: a workload is only ever handed SVIDs of entries that match all its selectors now; an
/// SVID is never handed out after it expired, nor for an entry that has since been given another
/// SPIFFE ID; a stream that has had its first message gets another one only when the content
/// differs.
package struct SVIDCache: Sendable {
    /// Bounds and waits.
    package struct Settings: Sendable {
        /// X509-SVIDs kept that nobody listens for; those in use are kept beyond it.
        package var maximumX509SVIDs = 1000
        /// Sets of selectors remembered after the last stream has closed.
        package var maximumIdleGroups = 512
        /// Whether SVIDs are signed for entries nobody has asked for yet, up to `maximumX509SVIDs`.
        package var signsAhead = false
        /// How long a first answer may take before the workload is told to come back.
        package var firstAnswerTimeout: TimeInterval = 10
        /// The same while there is no connection to the server.
        package var disconnectedAnswerTimeout: TimeInterval = 1
        /// After this time without an answer a request for an SVID is sent again.
        package var signingTimeout: TimeInterval = 30
        /// Whether callers without an identity get the own bundle on the bundle streams.
        package var allowsUnauthenticatedVerifiers = false
        package var rotation = RotationPolicy()

        package init() {}
    }

    /// What a stream of a workload asks for.
    package enum Kind: Hashable, Sendable {
        case x509SVIDs, x509Bundles, jwtBundles, witSVIDs, witBundles, revocations, limits

        /// Whether callers without an identity may be let in.
        var isBundles: Bool { self != .x509SVIDs && self != .witSVIDs }
    }

    package typealias SubscriberID = UInt64

    /// What a stream is told.
    package enum Delivery: Sendable {
        case x509(X509View)
        case wit(WITView)
        case bundles(BundleView)
        case revocations(RevocationView)
        case limits(PartnerLimitView)
        /// The last thing it hears.
        case end(WorkloadRefusal)
    }

    /// What to do after a change.
    package struct Effects: Sendable {
        package var deliveries: [(to: SubscriberID, Delivery)] = []
        /// There are SVIDs to ask the server for.
        package var wantsSigning = false
        /// Entries that changed or went; JWT-SVIDs for them are out of date.
        package var changedEntryIDs: [String] = []
        /// Key IDs of JWT authorities that tokens must not rest on any more.
        package var withdrawnJWTKeyIDs: Set<String> = []
        /// The own trust domain's bundle changed and is to be stored.
        package var ownBundleChanged = false
        /// Other SVIDs of our own trust domain are taken back now: tokens held are to be looked through, and the
        /// agent's own SVID.
        package var ownRevocationsChanged = false
        /// The digest does not match what the server said.
        package var needsResync = false
    }

    struct Record: Sendable {
        let svid: IssuedX509SVID
        /// The entry as it was when the SVID was signed.
        var entry: AuthorizedEntry
        /// Different for every SVID ever held.
        let number: UInt64
        let rotateAt: Date
        /// To be replaced as soon as possible: a tainted authority, or an entry that has changed.
        var isOutdated = false
        /// Number of the use, to drop the least recently used.
        var lastUse: UInt64 = 0
        /// Whether a workload has fetched it since it was signed.
        var isUsed = false
    }

    enum Deadline: Sendable {
        case rotate(entryID: String, number: UInt64)
        case expire(entryID: String, number: UInt64)
        case retry(entryID: String)
        case giveUp(SubscriberID)
        case signing(requestID: UInt64)
        case rotateWIT(entryID: String, number: UInt64)
        case expireWIT(entryID: String, number: UInt64)
        case retryWIT(entryID: String)
        case signingWIT(requestID: UInt64)
    }

    package let trustDomain: TrustDomain
    package let settings: Settings
    package internal(set) var entries = EntrySet()
    package internal(set) var bundles: BundleSet
    /// Whether the server has told us our entries and our bundle since the start.
    package internal(set) var isSynchronised = false
    /// Why nothing is served at all, or nil.
    package internal(set) var suspension: WorkloadRefusal?
    package internal(set) var isConnected = false

    var hasEntries = false
    var records: [String: Record] = [:]
    package internal(set) var signing = SigningQueue()
    /// Answers whose authority is not in our own bundle yet, by request.
    var early: [UInt64: IssuedX509SVID] = [:]
    /// What was taken back, as the server told.
    var revocations = AgentRevocations()
    /// Entries for which the server would not sign because of a revocation.
    var blocked: [String: BlockedEntry] = [:]
    /// Entries that the server is not asked to sign for until it has heard of the end of processes.
    var withheld: Set<String> = []
    /// What WIT-SVIDs add; empty where nobody asks for them.
    var wit = WITState()
    var groups: [Int: Group] = [:]
    var groupIDs: [Set<Selector>: Int] = [:]
    var groupsBySelector: [Selector: Set<Int>] = [:]
    var groupsByEntry: [String: Set<Int>] = [:]
    var subscribers: [SubscriberID: Int] = [:]
    var idleGroupCount = 0
    var deadlines = DeadlineQueue<Deadline>()
    var nextNumber: UInt64 = 1
    var nextGroupID = 1
    var useCounter: UInt64 = 0
    /// Views that groups share, with the number of groups.
    var views: [X509View.Key: (view: X509View, users: Int)] = [:]
    /// The view of revocations made last; most groups see the same.
    var sharedRevocations: RevocationView?
    /// The same of limits.
    var sharedLimits: PartnerLimitView?
    var random: @Sendable () -> Double

    package init(
        trustDomain: TrustDomain, settings: Settings = Settings(),
        random: @escaping @Sendable () -> Double = { Double.random(in: 0..<1) }
    ) {
        self.trustDomain = trustDomain
        self.settings = settings
        self.bundles = BundleSet(ownTrustDomain: trustDomain)
        self.random = random
    }

    /// When ``tick(_:)`` is to be called next; nil when there is nothing to wait for.
    package var nextDeadline: Date? { self.deadlines.next }
    package var x509SVIDCount: Int { self.records.count }
    package var subscriberCount: Int { self.subscribers.count }
    /// Whether something waits to be asked of the server.
    var hasWork: Bool { self.signing.hasWork || self.wit.signing.hasWork }

    // MARK: From the server

    /// The server told us about entries.
    package mutating func apply(_ change: EntryChange, now: Date) -> Effects {
        var effects = Effects()
        let difference = self.entries.apply(change)
        self.hasEntries = true
        self.noteSynchronised()
        var affected = Set<Int>()
        for entry in difference.removed {
            self.records[entry.id] = nil
            self.signing.forget(entry.id)
            self.blocked[entry.id] = nil
            self.wit.forget(entry.id)
            effects.changedEntryIDs.append(entry.id)
            affected.formUnion(self.groupsByEntry[entry.id] ?? [])
        }
        for (old, new) in difference.upserted {
            affected.formUnion(self.groupsByEntry[new.id] ?? [])
            affected.formUnion(self.groups(matching: new))
            if let old {
                effects.changedEntryIDs.append(new.id)
                self.entryChanged(from: old, to: new)
            }
        }
        for id in affected { self.rematch(id, now, &effects) }
        for (_, new) in difference.upserted { self.signAhead(new, now) }
        effects.wantsSigning = self.hasWork
        if let digest = change.digest, digest != self.entries.digest { effects.needsResync = true }
        return effects
    }

    private mutating func entryChanged(from old: AuthorizedEntry, to new: AuthorizedEntry) {
        if new.isNewVersion(of: old) {
            self.signing.entryChanged(new.id)
            self.blocked[new.id] = nil
        }
        self.wit.entryChanged(from: old, to: new)
        guard var record = self.records[new.id] else { return }
        if record.svid.spiffeID != new.spiffeID || new.isStored {
            self.records[new.id] = nil
            return
        }
        record.isOutdated = record.isOutdated || new.isNewVersion(of: record.entry)
        if record.isOutdated, !record.isUsed, self.groupsByEntry[new.id] == nil {
            self.records[new.id] = nil
        } else {
            self.records[new.id] = record
        }
    }

    /// Asks for an SVID that nobody waits for, if that is wanted.
    private mutating func signAhead(_ entry: AuthorizedEntry, _ now: Date) {
        if entry.isStored { return }
        if let record = self.records[entry.id] {
            if record.isOutdated { self.signing.request(entry.id, urgent: false, now: now) }
        } else if self.settings.signsAhead, !entry.isSignedOnDemand,
            self.records.count + self.signing.count < self.settings.maximumX509SVIDs
        {
            self.signing.request(entry.id, urgent: false, now: now)
        }
    }

    /// The server told us about bundles.
    package mutating func apply(_ change: BundleChange, now: Date) -> Effects {
        var effects = Effects()
        let offeredWITSVIDs = self.offersWITSVIDs
        let difference = self.bundles.apply(change)
        self.noteSynchronised()
        effects.ownBundleChanged = difference.x509Changed.contains(self.trustDomain)
        effects.withdrawnJWTKeyIDs = difference.withdrawnJWT
        if !difference.newlyTaintedX509.isEmpty {
            for (id, record) in self.records {
                guard let keyID = record.svid.authorityKeyID,
                    difference.newlyTaintedX509.contains(keyID)
                else { continue }
                self.records[id]?.isOutdated = true
                self.signing.request(id, urgent: self.groupsByEntry[id] != nil, now: now)
            }
        }
        self.replaceWIT(signedBy: difference.withdrawnWIT, now)
        if effects.ownBundleChanged { self.takeEarly(now, &effects) }
        let changed = difference.changed
        if changed.isEmpty {
            effects.wantsSigning = self.hasWork
            return effects
        }
        let isOwn = changed.contains(self.trustDomain)
        for (id, group) in self.groups where isOwn || !group.federated.isDisjoint(with: changed) {
            self.groupChanged(id, now, &effects)
        }
        if offeredWITSVIDs, !self.offersWITSVIDs { self.endWIT(&effects) }
        effects.wantsSigning = self.hasWork
        return effects
    }

    private mutating func noteSynchronised() {
        if !self.isSynchronised { self.isSynchronised = self.hasEntries && self.bundles.own != nil }
    }

    /// A heartbeat said what the server holds our entries' digest to be.
    package func isCurrent(_ digest: EntryDigest) -> Bool { self.entries.digest == digest }

    /// A connection that carries requests is there.
    package mutating func connected() -> Effects {
        self.isConnected = true
        self.suspension = nil
        var effects = Effects()
        effects.wantsSigning = self.hasWork
        return effects
    }

    /// The connection is gone; everything held is served on.
    package mutating func disconnected(now: Date) {
        if !self.isConnected { return }
        self.isConnected = false
        self.early = [:]
        self.signing.connectionLost()
        self.wit.signing.connectionLost()
        let giveUpAt = now.addingTimeInterval(self.settings.disconnectedAnswerTimeout)
        for group in self.groups.values {
            for subscriber in group.subscribers.keys where group.isWaiting(subscriber) {
                self.deadlines.add(.giveUp(subscriber), at: giveUpAt)
            }
        }
    }

    /// The server took our own identity back: nothing is served any more.
    package mutating func suspend(_ refusal: WorkloadRefusal) -> Effects {
        var effects = Effects()
        effects.changedEntryIDs = Array(self.entries.ids)
        for id in self.subscribers.keys { effects.deliveries.append((id, .end(refusal))) }
        let old = self
        self = SVIDCache(trustDomain: old.trustDomain, settings: old.settings, random: old.random)
        // Numbers go on, so that an answer or a view from before is never taken for a new one.
        self.nextNumber = old.nextNumber
        self.nextGroupID = old.nextGroupID
        self.signing = old.signing
        self.signing.removeAll()
        self.wit.signing = old.wit.signing
        self.wit.signing.removeAll()
        self.bundles = old.bundles
        self.revocations = old.revocations
        self.isConnected = old.isConnected
        self.withheld = old.withheld
        self.suspension = refusal
        return effects
    }
}
