import SPIFFE

#if canImport(FoundationEssentials)
    import FoundationEssentials
#else
    import Foundation
#endif

/// An entry for which the server does not sign because a revocation covers it.
struct BlockedEntry: Sendable {
    /// The server is not asked again before.
    var until: Date
    /// Refusals in a row.
    var count: Int
}

/// What was taken back: none of it is handed out any more, and workloads are told.
extension SVIDCache {
    /// The server told us about revocations, and they have been checked.
    ///
    /// - Parameter removed: trust domains of which nothing is known any more.
    mutating func apply(
        _ checked: [AgentRevocations.Checked], removed: [TrustDomain], now: Date
    ) -> Effects {
        var effects = Effects()
        var changed: Set<TrustDomain> = []
        for trustDomain in removed {
            changed.formUnion(self.revocations.remove(trustDomain).changed)
        }
        for one in checked { changed.formUnion(self.revocations.apply(one).changed) }
        if changed.isEmpty { return effects }
        let isOwn = changed.contains(self.trustDomain)
        if isOwn {
            effects.ownRevocationsChanged = true
            self.dropRevoked(now)
        }
        for (id, group) in self.groups where isOwn || !group.federated.isDisjoint(with: changed) {
            self.groupChanged(id, now, &effects)
        }
        effects.wantsSigning = self.hasWork
        return effects
    }

    /// Whether all that the server told about our own trust domain could be taken over.
    var hasAppliedRevocations: Bool { self.revocations[self.trustDomain]?.isComplete ?? true }

    /// Whether a token of our own trust domain was taken back.
    func isRevoked(token: String) -> Bool {
        self.revocations.isRevoked(token: token, of: self.trustDomain)
    }

    func isRevoked(_ svid: IssuedX509SVID) -> Bool {
        self.revocations.isRevoked(svid.revocationName, of: self.trustDomain)
    }

    func unlessRevoked(_ svid: IssuedJWTSVID?) -> IssuedJWTSVID? {
        svid.flatMap { self.isRevoked(token: $0.token) ? nil : $0 }
    }

    /// Forgets what was taken back and asks for something in its place; the server refuses where that is not to be.
    private mutating func dropRevoked(_ now: Date) {
        for (id, record) in self.records where self.isRevoked(record.svid) {
            self.records[id] = nil
            self.signing.request(id, urgent: self.groupsByEntry[id] != nil, now: now)
        }
        for (id, record) in self.wit.records where self.isRevoked(token: record.svid.token) {
            self.wit.records[id] = nil
            if self.isListenedForWIT(id) {
                self.wit.signing.request(id, urgent: true, now: now)
            }
        }
    }

    // MARK: Refused by the server

    /// Remembers why an entry rests.
    mutating func note(refused entryID: String, isRevoked: Bool, until: Date) {
        guard isRevoked else {
            self.blocked[entryID] = nil
            return
        }
        let count = self.blocked[entryID]?.count ?? 0
        self.blocked[entryID] = BlockedEntry(until: until, count: count + 1)
    }

    /// A token was refused because of a revocation: the next are refused here, for longer each time, up to a minute.
    mutating func block(_ entryID: String, now: Date) {
        let count = self.blocked[entryID]?.count ?? 0
        let wait = min(60, Double(1 << min(count, 6))) * (0.5 + 0.5 * self.random())
        self.note(refused: entryID, isRevoked: true, until: now.addingTimeInterval(wait))
    }

    /// Whether the server is not to be asked for tokens of the entry now.
    func isBlocked(_ entryID: String, now: Date) -> Bool {
        self.blocked[entryID].map { $0.until > now } ?? false
    }

    /// What a workload hears when none of its identities can be had: that it has none, when all are taken back.
    func refusal(of entries: [AuthorizedEntry]) -> WorkloadRefusal {
        let isTaken = !entries.isEmpty && entries.allSatisfy { self.blocked[$0.id] != nil }
        return isTaken ? .noIdentity : .notIssuedYet
    }

    // MARK: What to tell

    /// Versions of the trust domains' lists; nothing where there are none.
    func listVersions(_ trustDomains: [TrustDomain]) -> [UInt64] {
        if self.revocations.isEmpty { return [] }
        return trustDomains.map { self.revocations[$0]?.listsVersion ?? 0 }
    }

    /// The trust domains' CertificateLists, in DER.
    func crls(_ trustDomains: [TrustDomain]) -> [[UInt8]] {
        if self.revocations.isEmpty { return [] }
        return trustDomains.flatMap { self.revocations[$0]?.lists.map(\.der) ?? [] }
    }

    /// The most bytes of partners' CertificateLists in one message of the Workload API. Stock clients take messages of
    /// 4 MiB, and one that is larger costs a workload its identity.
    static let mostPartnerCRLBytes = 1024 * 1024

    /// The CertificateLists that go into one message: our own trust domain's, and partners' as far as they fit. Small ones
    /// come first, so that a partner whose list grows loses its own and no other's.
    func messageCRLs(_ trustDomains: [TrustDomain]) -> [[UInt8]] {
        if self.revocations.isEmpty { return [] }
        let partners = self.crls(trustDomains.filter { $0 != self.trustDomain })
        var room = Self.mostPartnerCRLBytes
        if partners.reduce(0, { $0 + $1.count }) <= room { return self.crls(trustDomains) }
        var fitting: Set<[UInt8]> = []
        for list in partners.sorted(by: { $0.count < $1.count }) where list.count <= room {
            room -= list.count
            fitting.insert(list)
        }
        return trustDomains.flatMap { trustDomain in
            self.crls([trustDomain]).filter {
                trustDomain == self.trustDomain || fitting.contains($0)
            }
        }
    }

    /// Tells a stream what was taken back, unless it knows.
    mutating func tellRevocations(
        _ subscriber: SubscriberID, _ state: Group.Subscriber, _ id: Int, _ effects: inout Effects
    ) {
        let view = self.revocationView(id)
        if state.bundleVersions == view.versions { return }
        self.groups[id]?.subscribers[subscriber]?.bundleVersions = view.versions
        effects.deliveries.append((subscriber, .revocations(view)))
    }

    private mutating func revocationView(_ id: Int) -> RevocationView {
        if let known = self.groups[id]?.revocations { return known }
        let trustDomains = [self.trustDomain] + (self.groups[id]?.federated.sorted() ?? [])
        let held = trustDomains.compactMap { trustDomain in
            self.revocations[trustDomain].map { (trustDomain, $0) }
        }
        let versions = held.map(\.1.version)
        // Groups that see the same share one view, and with it the bytes it is sent as.
        let view =
            self.sharedRevocations.flatMap { $0.versions == versions ? $0 : nil }
            ?? RevocationView(
                domains: held.map { trustDomain, held in
                    RevocationView.Domain(
                        trustDomain: trustDomain, crls: held.lists.map(\.der),
                        statusLists: held.statusLists, revokedTokens: held.revokedTokens)
                }, versions: versions)
        self.sharedRevocations = view
        self.groups[id]?.revocations = view
        return view
    }
}
