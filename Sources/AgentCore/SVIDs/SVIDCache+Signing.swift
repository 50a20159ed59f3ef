#if canImport(FoundationEssentials)
    package import FoundationEssentials
#else
    package import Foundation
#endif

extension SVIDCache {
    /// Seconds until an SVID that comes under a tainted authority is asked for again.
    private static let taintedRetry: TimeInterval = 2

    /// Whether an SVID is held that rests on a tainted authority of our own and is to be replaced.
    var restsOnTaintedAuthority: Bool {
        let tainted = self.bundles.ownTaintedKeyIDs
        if !tainted.isEmpty,
            self.records.values.contains(where: { record in
                record.svid.authorityKeyID.map(tainted.contains) ?? false
            })
        {
            return true
        }
        return self.wit.records.contains { id, record in
            self.bundles.isTaintedWIT(record.svid.keyID) && self.isListenedForWIT(id)
        }
    }

    /// Takes requests for X509-SVIDs to send to the server, those that workloads wait for first.
    package mutating func takeSigningBatch(limit: Int, now: Date) -> [SigningQueue.Job] {
        let entries = self.entries
        let batch = self.signing.takeBatch(limit: limit, except: self.withheld) { entries[id: $0] }
        for job in batch {
            self.deadlines.add(
                .signing(requestID: job.requestID),
                at: now.addingTimeInterval(self.settings.signingTimeout))
        }
        return batch
    }

    /// The entry that a request under way was for; nil when its answer is no longer wanted.
    package func entry(forRequest requestID: UInt64) -> AuthorizedEntry? {
        self.signing.entry(forRequest: requestID)
    }

    /// The server signed. Streams that wait for it are told in the same step.
    package mutating func signed(_ requestID: UInt64, _ svid: IssuedX509SVID, now: Date) -> Effects
    {
        var effects = Effects()
        // Nobody could verify it yet: the bundle with its authority is on the way. The request stays under way.
        if let keyID = svid.authorityKeyID, self.bundles.ownLacks(keyID) {
            self.early[requestID] = svid
            return effects
        }
        if self.isRevoked(svid) { return self.signingFailed(requestID, now: now) }
        guard let (asked, outdated) = self.signing.succeeded(requestID),
            let entry = self.entries[id: asked.id], entry.spiffeID == svid.spiffeID, !entry.isStored
        else { return effects }
        self.blocked[entry.id] = nil
        let number = self.nextNumber
        self.nextNumber += 1
        // Signed before its authority was tainted: to be replaced soon, but not at once, in case the server goes on
        // signing with it.
        let isTainted = svid.authorityKeyID.map(self.bundles.ownTaintedKeyIDs.contains) ?? false
        let rotateAt =
            isTainted
            ? now.addingTimeInterval(Self.taintedRetry)
            : self.settings.rotation.rotationDate(
                notBefore: svid.notBefore, notAfter: svid.expiresAt, jitter: self.random())
        let old = self.records[entry.id]
        self.records[entry.id] = Record(
            svid: svid, entry: asked, number: number, rotateAt: rotateAt,
            isOutdated: outdated || entry.isNewVersion(of: asked),
            lastUse: old?.lastUse ?? self.useCounter)
        self.deadlines.add(.rotate(entryID: entry.id, number: number), at: max(rotateAt, now))
        self.deadlines.add(.expire(entryID: entry.id, number: number), at: svid.expiresAt)
        for id in self.groupsByEntry[entry.id] ?? [] { self.groupChanged(id, now, &effects) }
        if outdated { self.signing.request(entry.id, urgent: false, now: now) }
        self.evict()
        effects.wantsSigning = self.hasWork
        return effects
    }

    /// Our own bundle has changed: what came before its authority did may be in time now.
    mutating func takeEarly(_ now: Date, _ effects: inout Effects) {
        let early = self.early
        self.early = [:]
        for (requestID, svid) in early {
            effects.deliveries += self.signed(requestID, svid, now: now).deliveries
        }
    }

    /// The server refused, or its answer was no good. The entry is tried again later.
    ///
    /// - Parameter isRevoked: a revocation stands in the way: the workload is told that it has no identity.
    package mutating func signingFailed(
        _ requestID: UInt64, isRevoked: Bool = false, now: Date
    ) -> Effects {
        var effects = Effects()
        self.early[requestID] = nil
        guard
            let (entry, retryAt) = self.signing.failed(requestID, now: now, jitter: self.random())
        else { return effects }
        self.note(refused: entry.id, isRevoked: isRevoked, until: retryAt)
        self.deadlines.add(.retry(entryID: entry.id), at: retryAt)
        for id in self.groupsByEntry[entry.id] ?? [] { self.groupChanged(id, now, &effects) }
        effects.wantsSigning = self.hasWork
        return effects
    }

    /// Does everything that is due.
    package mutating func tick(_ now: Date) -> Effects {
        var effects = Effects()
        while let deadline = self.deadlines.takeDue(now) {
            switch deadline {
            case .rotate(let entryID, let number):
                self.rotate(entryID, number)
            case .expire(let entryID, let number):
                guard self.records[entryID]?.number == number else { continue }
                self.records[entryID] = nil
                for id in self.groupsByEntry[entryID] ?? [] { self.groupChanged(id, now, &effects) }
            case .retry(let entryID):
                let groups = self.groupsByEntry[entryID] ?? []
                if self.records[entryID]?.isOutdated == true {
                    self.signing.request(entryID, urgent: !groups.isEmpty, now: now)
                }
                for id in groups { self.groupChanged(id, now, &effects) }
            case .giveUp(let subscriber):
                self.giveUp(subscriber, now, &effects)
            case .signing(let requestID):
                let failure = self.signingFailed(requestID, now: now)
                effects.deliveries += failure.deliveries
            case .rotateWIT(let entryID, let number):
                self.rotateWIT(entryID, number, now)
            case .expireWIT(let entryID, let number):
                guard self.wit.records[entryID]?.number == number else { continue }
                self.wit.records[entryID] = nil
                self.settleWIT(ofEntry: entryID, now, &effects)
            case .retryWIT(let entryID):
                self.settleWIT(ofEntry: entryID, now, &effects)
            case .signingWIT(let requestID):
                let failure = self.witSigningFailed(requestID, now: now)
                effects.deliveries += failure.deliveries
            }
        }
        effects.wantsSigning = self.hasWork
        return effects
    }

    /// The SVID's time to be replaced has come. Nobody uses it: it stays until it expires, and who
    /// asks for it then has it replaced.
    private mutating func rotate(_ entryID: String, _ number: UInt64) {
        guard let record = self.records[entryID], record.number == number else { return }
        let groups = self.groupsByEntry[entryID] ?? []
        let isListenedFor = groups.contains { id in
            self.groups[id]?.subscribers.values.contains { $0.kind == .x509SVIDs } ?? false
        }
        if isListenedFor || record.isUsed || self.settings.signsAhead {
            self.records[entryID]?.isOutdated = true
            // A rotation is no emergency: half of the lifetime is left.
            self.signing.request(entryID, urgent: false, now: record.rotateAt)
        } else {
            var none = Effects()
            for id in groups { self.groupChanged(id, record.rotateAt, &none) }
        }
    }

    /// Drops the SVIDs that were asked for least recently, when there are too many.
    private mutating func evict() {
        if self.records.count <= self.settings.maximumX509SVIDs { return }
        let idle = self.records.filter { id, _ in
            !(self.groupsByEntry[id] ?? []).contains {
                self.groups[$0]?.subscribers.isEmpty == false
            }
        }
        let surplus = self.records.count - self.settings.maximumX509SVIDs * 9 / 10
        var none = Effects()
        for (id, _) in idle.sorted(by: { $0.value.lastUse < $1.value.lastUse }).prefix(surplus) {
            self.records[id] = nil
            for group in self.groupsByEntry[id] ?? [] {
                self.groupChanged(group, .distantPast, &none)
            }
        }
    }
}
