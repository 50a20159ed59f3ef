package import SPIFFE

#if canImport(FoundationEssentials)
    package import FoundationEssentials
#else
    package import Foundation
#endif

extension SVIDCache {
    /// All workloads with one and the same set of selectors. What concerns one concerns all of
    /// them, so matching and views are worked out once per group.
    struct Group: Sendable {
        struct Subscriber: Sendable {
            let kind: Kind
            /// What it was sent last, to send only what differs; of WIT-SVIDs `WITState` knows.
            var x509Key: X509View.Key?
            var bundleVersions: [UInt64]?
            var isServed: Bool { self.x509Key != nil || self.bundleVersions != nil }
        }

        let selectors: Set<Selector>
        /// All entries that match, hidden ones included.
        var matched: [String] = []
        /// The entries that give identities, in order.
        var entries: [AuthorizedEntry] = []
        /// Trust domains beside our own whose bundles belong to the workload.
        var federated: Set<TrustDomain> = []
        var subscribers: [SubscriberID: Subscriber] = [:]
        /// What X.509 streams are to be told now; nil when it must be worked out.
        var view: X509View?
        var x509Bundles: BundleView?
        var jwtBundles: BundleView?
        var witBundles: BundleView?
        var revocations: RevocationView?
        var limits: PartnerLimitView?
        var lastUse: UInt64 = 0

        func isWaiting(_ id: SubscriberID) -> Bool {
            self.subscribers[id].map { !$0.isServed } ?? false
        }
    }

    // MARK: From workloads

    /// A workload opens a stream. The first message is among the effects when it can be given at
    /// once.
    ///
    /// - Parameters:
    ///   - id: Never used before.
    ///   - selectors: All attested facts about the workload.
    ///   - spiffeID: Of WIT-SVIDs only those for this ID; nil for all.
    package mutating func subscribe(
        _ id: SubscriberID, kind: Kind, selectors: Set<Selector>, spiffeID: SPIFFEID? = nil,
        now: Date
    ) -> Effects {
        var effects = Effects()
        if let refusal = self.suspension ?? (self.isSynchronised ? nil : .notReady) {
            effects.deliveries.append((id, .end(refusal)))
            return effects
        }
        if kind == .witSVIDs || kind == .witBundles {
            guard self.offersWITSVIDs else {
                effects.deliveries.append((id, .end(.noWITSVIDs)))
                return effects
            }
            if kind == .witSVIDs { self.wit.streams[id] = WITState.Stream(spiffeID: spiffeID) }
        }
        let groupID = self.group(for: selectors)
        self.useCounter += 1
        if self.groups[groupID]?.subscribers.isEmpty == true { self.idleGroupCount -= 1 }
        self.groups[groupID]?.subscribers[id] = Group.Subscriber(kind: kind)
        self.groups[groupID]?.lastUse = self.useCounter
        self.subscribers[id] = groupID
        if kind == .x509SVIDs {
            for entry in self.groups[groupID]?.entries ?? [] {
                self.records[entry.id]?.lastUse = self.useCounter
                self.records[entry.id]?.isUsed = true
            }
            // What the group's other streams were told is all this one needs: nothing to work out.
            if let view = self.groups[groupID]?.view {
                self.groups[groupID]?.subscribers[id]?.x509Key = view.key
                effects.deliveries.append((id, .x509(view)))
                return effects
            }
        }
        if kind == .witSVIDs, self.groups[groupID]?.entries.isEmpty == false {
            self.settleWIT(groupID, now, &effects, newcomer: id)
        } else {
            self.settle(groupID, now, &effects)
        }
        if self.groups[groupID]?.isWaiting(id) == true {
            let wait =
                self.isConnected
                ? self.settings.firstAnswerTimeout : self.settings.disconnectedAnswerTimeout
            self.deadlines.add(.giveUp(id), at: now.addingTimeInterval(wait))
        }
        effects.wantsSigning = self.hasWork
        return effects
    }

    /// The stream has ended. Harmless for one that was ended from here.
    package mutating func unsubscribe(_ id: SubscriberID) {
        guard let groupID = self.subscribers.removeValue(forKey: id) else { return }
        self.groups[groupID]?.subscribers[id] = nil
        self.wit.streams[id] = nil
        self.releaseIfIdle(groupID)
    }

    /// The identities of a workload, in order, whether or not an SVID is at hand.
    ///
    /// - Throws: ``WorkloadRefusal`` before the first synchronisation, and when there are none.
    package func identities(_ selectors: Set<Selector>) throws(WorkloadRefusal) -> [AuthorizedEntry]
    {
        if let refusal = self.suspension ?? (self.isSynchronised ? nil : .notReady) {
            throw refusal
        }
        if let id = self.groupIDs[selectors], let group = self.groups[id] {
            if group.entries.isEmpty { throw .noIdentity }
            return group.entries
        }
        let entries = Self.visible(self.entries.matches(selectors))
        if entries.isEmpty { throw .noIdentity }
        return entries
    }

    /// The bundles a workload may verify others with: our own and those its entries federate with.
    ///
    /// - Throws: ``WorkloadRefusal`` before the first synchronisation.
    package func bundles(_ selectors: Set<Selector>) throws(WorkloadRefusal) -> [AgentBundle] {
        if let refusal = self.suspension ?? (self.isSynchronised ? nil : .notReady) {
            throw refusal
        }
        var federated = Set<TrustDomain>()
        for entry in Self.visible(self.entries.matches(selectors)) {
            federated.formUnion(entry.federatesWith)
        }
        federated.remove(self.trustDomain)
        return ([self.trustDomain] + federated.sorted()).compactMap { self.bundles[$0] }
    }

    // MARK: Groups

    /// Entries that give an identity on the Workload API: not those for SVID stores, and of several
    /// with one hint, compared by bytes, the oldest (Workload API §5.2.1: hints are unique).
    static func visible(_ matched: [AuthorizedEntry]) -> [AuthorizedEntry] {
        if matched.count == 1 { return matched[0].isStored ? [] : matched }
        var hints = Set<[UInt8]>()
        return matched.filter { entry in
            if entry.isStored { return false }
            return entry.hint.isEmpty || hints.insert(Array(entry.hint.utf8)).inserted
        }
    }

    private mutating func group(for selectors: Set<Selector>) -> Int {
        if let id = self.groupIDs[selectors] { return id }
        let id = self.nextGroupID
        self.nextGroupID += 1
        self.groupIDs[selectors] = id
        for selector in selectors { self.groupsBySelector[selector, default: []].insert(id) }
        self.groups[id] = Group(selectors: selectors)
        self.idleGroupCount += 1
        self.fileMatches(id)
        return id
    }

    /// Looks up the group's entries anew.
    private mutating func fileMatches(_ id: Int) {
        guard var group = self.groups[id] else { return }
        for entryID in group.matched { self.unfile(entryID, from: id) }
        let matched = self.entries.matches(group.selectors).filter { !$0.isStored }
        group.matched = matched.map(\.id)
        group.entries = Self.visible(matched)
        group.federated = Set(group.entries.flatMap(\.federatesWith))
        group.federated.remove(self.trustDomain)
        for entryID in group.matched { self.groupsByEntry[entryID, default: []].insert(id) }
        self.groups[id] = group
    }

    private mutating func unfile(_ entryID: String, from id: Int) {
        self.groupsByEntry[entryID]?.remove(id)
        if self.groupsByEntry[entryID]?.isEmpty == true { self.groupsByEntry[entryID] = nil }
    }

    /// The groups whose selectors include all of the entry's.
    func groups(matching entry: AuthorizedEntry) -> [Int] {
        var smallest: Set<Int>?
        for selector in entry.selectors {
            guard let ids = self.groupsBySelector[selector] else { return [] }
            if smallest.map({ ids.count < $0.count }) ?? true { smallest = ids }
        }
        return (smallest ?? []).filter { id in
            guard let group = self.groups[id] else { return false }
            return entry.selectors.allSatisfy(group.selectors.contains)
        }
    }

    /// The set of entries of a group may be another one now.
    mutating func rematch(_ id: Int, _ now: Date, _ effects: inout Effects) {
        guard let group = self.groups[id] else { return }
        if group.subscribers.isEmpty { return self.drop(id) }
        self.fileMatches(id)
        self.groupChanged(id, now, &effects)
    }

    /// Something that a group's view rests on has changed.
    mutating func groupChanged(_ id: Int, _ now: Date, _ effects: inout Effects) {
        guard let group = self.groups[id] else { return }
        if group.subscribers.isEmpty { return self.drop(id) }
        self.releaseView(id)
        self.groups[id]?.x509Bundles = nil
        self.groups[id]?.jwtBundles = nil
        self.groups[id]?.witBundles = nil
        self.groups[id]?.revocations = nil
        self.groups[id]?.limits = nil
        self.settle(id, now, &effects)
    }

    /// Keeps a few groups that nobody listens in, because short calls come again and again.
    mutating func releaseIfIdle(_ id: Int) {
        guard let group = self.groups[id], group.subscribers.isEmpty else { return }
        self.idleGroupCount += 1
        if group.entries.isEmpty || self.settings.maximumIdleGroups == 0 { return self.drop(id) }
        if self.idleGroupCount <= self.settings.maximumIdleGroups { return }
        // A quarter at a time, so that the search is paid for once in many calls.
        let idle = self.groups.filter { $0.value.subscribers.isEmpty }
            .sorted { $0.value.lastUse < $1.value.lastUse }
        for (id, _) in idle.prefix(max(1, idle.count / 4)) { self.drop(id) }
    }

    private mutating func drop(_ id: Int) {
        guard let group = self.groups[id] else { return }
        self.releaseView(id)
        self.groups[id] = nil
        self.groupIDs[group.selectors] = nil
        self.idleGroupCount -= 1
        for selector in group.selectors {
            self.groupsBySelector[selector]?.remove(id)
            if self.groupsBySelector[selector]?.isEmpty == true {
                self.groupsBySelector[selector] = nil
            }
        }
        for entryID in group.matched { self.unfile(entryID, from: id) }
    }

    // MARK: What to tell

    /// Tells a group's streams what they do not know yet, and asks for what is missing.
    mutating func settle(_ id: Int, _ now: Date, _ effects: inout Effects) {
        guard let group = self.groups[id] else { return }
        if group.entries.isEmpty { return self.refuse(id, group, &effects) }
        var hasX509 = false
        var hasWIT = false
        for (subscriber, state) in group.subscribers {
            switch state.kind {
            case .x509SVIDs:
                hasX509 = true
            case .witSVIDs:
                hasWIT = true
            case .x509Bundles, .jwtBundles, .witBundles:
                let view = self.bundleView(id, state.kind)
                if state.bundleVersions == view.versions { continue }
                self.groups[id]?.subscribers[subscriber]?.bundleVersions = view.versions
                effects.deliveries.append((subscriber, .bundles(view)))
            case .revocations:
                self.tellRevocations(subscriber, state, id, &effects)
            case .limits:
                self.tellLimits(subscriber, state, id, &effects)
            }
        }
        if hasX509 { self.settleX509(id, now, &effects) }
        if hasWIT { self.settleWIT(id, now, &effects) }
    }

    private mutating func settleX509(_ id: Int, _ now: Date, _ effects: inout Effects) {
        guard let group = self.groups[id] else { return }
        var pending = 0
        if group.view == nil {
            var ready: [(entry: AuthorizedEntry, record: Record)] = []
            for entry in group.entries {
                if let record = self.records[entry.id], record.svid.expiresAt > now {
                    ready.append((entry, record))
                    if record.isOutdated || record.rotateAt <= now {
                        self.signing.request(entry.id, urgent: false, now: now)
                    }
                } else if !self.signing.isResting(entry.id, now: now) {
                    pending += 1
                    self.signing.request(entry.id, urgent: true, now: now)
                }
            }
            if ready.isEmpty {
                if pending == 0 {
                    self.endX509(
                        id, group, self.refusal(of: group.entries), onlyWaiting: false,
                        &effects)
                }
                return
            }
            guard var view = self.makeView(group, ready) else { return }
            if pending == 0 {
                view = self.share(view)
                self.groups[id]?.view = view
            }
            self.tell(view, id, group, includingWaiting: pending == 0, &effects)
        } else if let view = group.view {
            self.tell(view, id, group, includingWaiting: true, &effects)
        }
    }

    /// - Parameter includingWaiting: False while identities are still being signed: who has nothing
    ///   yet waits for all of them.
    private mutating func tell(
        _ view: X509View, _ id: Int, _ group: Group, includingWaiting: Bool,
        _ effects: inout Effects
    ) {
        for (subscriber, state) in group.subscribers where state.kind == .x509SVIDs {
            if state.x509Key == view.key || (state.x509Key == nil && !includingWaiting) { continue }
            self.groups[id]?.subscribers[subscriber]?.x509Key = view.key
            effects.deliveries.append((subscriber, .x509(view)))
            for identity in view.identities {
                self.records[identity.entry.id]?.isUsed = true
                self.records[identity.entry.id]?.lastUse = self.useCounter
            }
        }
    }

    /// Nothing matches any more, or nothing ever did.
    private mutating func refuse(_ id: Int, _ group: Group, _ effects: inout Effects) {
        for (subscriber, state) in group.subscribers {
            if state.kind.isBundles, self.settings.allowsUnauthenticatedVerifiers {
                if state.kind == .revocations {
                    self.tellRevocations(subscriber, state, id, &effects)
                    continue
                }
                if state.kind == .limits {
                    self.tellLimits(subscriber, state, id, &effects)
                    continue
                }
                let view = self.bundleView(id, state.kind)
                if state.bundleVersions == view.versions { continue }
                self.groups[id]?.subscribers[subscriber]?.bundleVersions = view.versions
                effects.deliveries.append((subscriber, .bundles(view)))
                continue
            }
            self.groups[id]?.subscribers[subscriber] = nil
            self.subscribers[subscriber] = nil
            self.wit.streams[subscriber] = nil
            effects.deliveries.append((subscriber, .end(.noIdentity)))
        }
        self.releaseIfIdle(id)
    }

    private mutating func endX509(
        _ id: Int, _ group: Group, _ refusal: WorkloadRefusal, onlyWaiting: Bool,
        _ effects: inout Effects
    ) {
        for (subscriber, state) in group.subscribers where state.kind == .x509SVIDs {
            if onlyWaiting, state.isServed { continue }
            self.groups[id]?.subscribers[subscriber] = nil
            self.subscribers[subscriber] = nil
            effects.deliveries.append((subscriber, .end(refusal)))
        }
        self.releaseIfIdle(id)
    }

    /// The wait of a stream for its first message is over: it gets what there is, or is sent away.
    mutating func giveUp(_ subscriber: SubscriberID, _ now: Date, _ effects: inout Effects) {
        guard let id = self.subscribers[subscriber], let group = self.groups[id],
            group.isWaiting(subscriber)
        else { return }
        if group.subscribers[subscriber]?.kind == .witSVIDs {
            return self.giveUpWIT(subscriber, id, now, &effects)
        }
        let ready = group.entries.compactMap { entry in
            self.records[entry.id].flatMap {
                $0.svid.expiresAt > now ? (entry: entry, record: $0) : nil
            }
        }
        if !ready.isEmpty, let view = self.makeView(group, ready) {
            self.groups[id]?.subscribers[subscriber]?.x509Key = view.key
            effects.deliveries.append((subscriber, .x509(view)))
            return
        }
        self.groups[id]?.subscribers[subscriber] = nil
        self.subscribers[subscriber] = nil
        effects.deliveries.append((subscriber, .end(self.refusal(of: group.entries))))
        self.releaseIfIdle(id)
    }
}
