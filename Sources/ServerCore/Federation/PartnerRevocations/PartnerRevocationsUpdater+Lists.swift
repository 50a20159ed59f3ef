import Logging
import SPIFFE

/// One round: the listing, then the lists that it says are other ones.
extension PartnerRevocationsUpdater {
    /// Reads the authorities of the partner's bundle if it is another one, and drops the lists of those that are gone.
    ///
    /// - Returns: whether there is an authority.
    func readBundle(_ trustDomain: TrustDomain, _ generation: UInt64) async -> Bool {
        let bundle = self.directory.bundle(trustDomain)
        if self.partners[trustDomain]?.bundleSequence != bundle?.sequenceNumber
            || self.partners[trustDomain]?.authorities == nil
        {
            var authorities = PartnerAuthorities(TrustBundle(trustDomain: trustDomain))
            if let bundle { authorities = await Self.read(bundle) }
            guard self.isCurrent(trustDomain, generation) else { return false }
            self.partners[trustDomain]?.bundleSequence = bundle?.sequenceNumber
            self.partners[trustDomain]?.authorities = authorities
            self.dropLists(trustDomain, authorities)
        } else if let partner = self.partners[trustDomain], let authorities = partner.authorities,
            partner.lists.hasRival(authorities, keyIDs: self.directory.authorityKeyIDs)
        {
            // At once: the listing, after which it would be seen again, may never come.
            self.dropLists(trustDomain, authorities)
        }
        guard let bundle else { return false }
        return !bundle.x509Authorities.isEmpty || !bundle.jwtAuthorities.isEmpty
    }

    /// Drops lists that count no more.
    private func dropLists(_ trustDomain: TrustDomain, _ authorities: PartnerAuthorities) {
        let listing = self.partners[trustDomain]?.listing
        if self.partners[trustDomain]?.lists.drop(
            unlisted: listing, authorities, keyIDs: self.directory.authorityKeyIDs,
            now: self.unixNow) == true
        {
            self.publish(trustDomain)
        }
    }

    /// Asks what there is, and fetches what is new.
    func round(
        _ trustDomain: TrustDomain, _ generation: UInt64, patience: Duration
    ) async -> Outcome {
        var outcome = Outcome()
        guard let partner = self.partners[trustDomain], partner.generation == generation else {
            return Outcome(failure: Self.ended)
        }
        do {
            let (fetcher, relationship) = (self.fetcher, partner.relationship)
            let tag = partner.listing == nil ? nil : partner.entityTag
            let fetched = try await TimeLimit.within(self.settings.timeout + patience) {
                try await fetcher.fetch(
                    .listing, of: relationship, entityTag: tag, waitingUpTo: patience,
                    maximumBytes: RevocationListing.maximumBytes)
            }
            var listing = partner.listing
            switch fetched.content {
            case .notModified:
                guard listing != nil else {
                    throw ServerError(
                        .unavailable, "the endpoint says that nothing is new, but there is nothing")
                }
            case .absent: listing = nil
            case .document(let bytes):
                self.spend(bytes.count, trustDomain, generation)
                listing = try await Self.listing(bytes, trustDomain)
            }
            guard self.isCurrent(trustDomain, generation) else {
                return Outcome(failure: Self.ended)
            }
            outcome.isChanged = listing != partner.listing
            outcome.appliedWait = fetched.appliedWait
            self.partners[trustDomain]?.listing = listing
            self.partners[trustDomain]?.entityTag = listing == nil ? nil : fetched.entityTag
            self.partners[trustDomain]?.status.isPublished = listing != nil
            if patience > .zero {
                // Who waits holds no place in a lane; who fetches does.
                outcome = await self.lanes.taken(partner.lane) { [outcome] in
                    await self.fetchLists(trustDomain, generation, after: outcome)
                }
            } else {
                outcome = await self.fetchLists(trustDomain, generation, after: outcome)
            }
        } catch {
            outcome.failure = PartnerMessage.text(of: error)
            outcome.timedOut = error is TimeLimit.Exceeded
        }
        return outcome
    }

    /// Fetches the lists that are other ones than those at hand. A bad one keeps none of the others from being taken.
    ///
    /// - Parameter listed: what came of the listing.
    private func fetchLists(
        _ trustDomain: TrustDomain, _ generation: UInt64, after listed: Outcome
    ) async -> Outcome {
        var outcome = listed
        guard let authorities = self.partners[trustDomain]?.authorities,
            self.isCurrent(trustDomain, generation)
        else {
            outcome.failure = Self.ended
            return outcome
        }
        let listing = self.partners[trustDomain]?.listing
        var isChanged =
            self.partners[trustDomain]?.lists.drop(
                unlisted: listing, authorities, keyIDs: self.directory.authorityKeyIDs,
                now: self.unixNow) ?? false
        let deadline = ContinuousClock.now + self.settings.timeout
        var problems: [String] = []
        var fetchedBytes = 0
        for document in self.inTurn(trustDomain, listing, authorities) where !outcome.timedOut {
            guard let wait = self.partners[trustDomain]?.budget.wait(now: self.uptime()) else {
                break
            }
            guard wait <= .zero else {
                outcome.deferral = wait
                problems.append(
                    "it changes more than \(self.settings.bytesPerSecond) bytes of lists a second; the rest comes later"
                )
                break
            }
            self.turn += 1
            self.partners[trustDomain]?.turns[document] = self.turn
            do {
                let bytes = try await self.bytes(
                    of: document, trustDomain, generation, until: deadline)
                fetchedBytes += bytes.count
                if try await self.take(
                    bytes, document, trustDomain, generation, authorities, listing)
                {
                    isChanged = true
                }
            } catch {
                guard self.isCurrent(trustDomain, generation) else {
                    outcome.failure = Self.ended
                    return outcome
                }
                outcome.timedOut = error is TimeLimit.Exceeded
                problems.append(PartnerMessage.text(of: error))
            }
        }
        if isChanged {
            self.publish(trustDomain)
            // Agents are sent all lists of the partner when one is another one.
            let toldBytes = self.partners[trustDomain]?.lists.bytes ?? 0
            self.spend(toldBytes - fetchedBytes, trustDomain, generation)
        }
        if let first = problems.first {
            outcome.failure =
                problems.count > 1 ? "\(first) (and \(problems.count - 1) more)" : first
        }
        return outcome
    }

    /// What is to be fetched, the longest not fetched first.
    private func inTurn(
        _ trustDomain: TrustDomain, _ listing: RevocationListing?,
        _ authorities: PartnerAuthorities
    ) -> [RevocationDocument] {
        guard let listing, var partner = self.partners[trustDomain] else { return [] }
        let missing = partner.lists.missing(listing, authorities)
        let named = Set(listing.crls.map { RevocationDocument.crl(authorityID: $0.authorityID) })
        partner.turns = partner.turns.filter { $0.key == .statusList || named.contains($0.key) }
        self.partners[trustDomain]?.turns = partner.turns
        return missing.enumerated().sorted { left, right in
            (partner.turns[left.element] ?? 0, left.offset)
                < (partner.turns[right.element] ?? 0, right.offset)
        }.map(\.element)
    }

    private func spend(_ bytes: Int, _ trustDomain: TrustDomain, _ generation: UInt64) {
        guard self.isCurrent(trustDomain, generation) else { return }
        self.partners[trustDomain]?.budget.spend(bytes, now: self.uptime())
    }

    /// Fetches a list, and has the partner pay for it.
    private func bytes(
        of document: RevocationDocument, _ trustDomain: TrustDomain, _ generation: UInt64,
        until deadline: ContinuousClock.Instant
    ) async throws -> [UInt8] {
        guard let relationship = self.partners[trustDomain]?.relationship else {
            throw CancellationError()
        }
        let fetcher = self.fetcher
        let maximumBytes =
            document == .statusList
            ? PartnerLists.maximumStatusListBytes : PartnerLists.maximumCRLBytes
        let fetched: FetchedRevocationDocument
        do {
            fetched = try await TimeLimit.within(max(deadline - .now, .zero)) {
                try await fetcher.fetch(
                    document, of: relationship, entityTag: nil, waitingUpTo: nil,
                    maximumBytes: maximumBytes)
            }
        } catch {
            if !Task.isCancelled {
                let cost = Self.cost(of: error, maximumBytes)
                self.spend(cost, trustDomain, generation)
            }
            throw error
        }
        guard case .document(let bytes) = fetched.content else {
            throw ServerError(
                .unavailable, "a list that the partner names is not there: \(document)")
        }
        self.spend(min(bytes.count, maximumBytes), trustDomain, generation)
        return bytes
    }

    /// What a fetch that failed counts as: as much may have come before. Where little did, the partner's next revocation is
    /// not to wait for an outage on the way.
    private static func cost(of error: any Error, _ maximumBytes: Int) -> Int {
        let isSmall = (error as? any RevocationFetchFailure)?.mayHaveTransferred == false
        return isSmall ? min(64 * 1024, maximumBytes) : maximumBytes
    }

    /// - Returns: whether there is another list now.
    private func take(
        _ bytes: [UInt8], _ document: RevocationDocument, _ trustDomain: TrustDomain,
        _ generation: UInt64, _ authorities: PartnerAuthorities, _ listing: RevocationListing?
    ) async throws -> Bool {
        switch document {
        case .listing: return false
        case .crl(let id):
            let crl = try await Self.crl(
                bytes, id, authorities, own: self.directory.ownBundle,
                keyIDs: self.directory.authorityKeyIDs)
            guard self.isCurrent(trustDomain, generation) else { throw CancellationError() }
            try self.checkRoom(for: bytes.count, trustDomain)
            return try self.partners[trustDomain]?.lists.take(crl, now: self.unixNow) ?? false
        case .statusList:
            guard let uri = listing?.statusList?.uri else { return false }
            let list = try await Self.statusToken(bytes, uri, authorities)
            guard self.isCurrent(trustDomain, generation) else { throw CancellationError() }
            try self.checkRoom(for: bytes.count, trustDomain)
            return try self.partners[trustDomain]?.lists.take(list, now: self.unixNow) ?? false
        }
    }

    /// No partner takes the room of the others, and all together no more than there is.
    private func checkRoom(for bytes: Int, _ trustDomain: TrustDomain) throws(ServerError) {
        let held = self.partners[trustDomain]?.lists.bytes ?? 0
        guard held + bytes > self.settings.reservedBytes else { return }
        let total = self.partners.values.reduce(0) { $0 + $1.lists.bytes }
        guard total + bytes <= self.settings.maximumBytes else {
            throw ServerError(
                .resourceExhausted,
                "list of \(bytes) bytes not taken: the lists of all partners have \(total) of at most "
                    + "\(self.settings.maximumBytes) bytes")
        }
    }

    private func publish(_ trustDomain: TrustDomain) {
        guard let lists = self.partners[trustDomain]?.lists else { return }
        self.number += 1
        self.directory.publish(lists.told(of: trustDomain), number: self.number)
    }

    private static let ended = "the relationship was changed or ended"

    // MARK: Away from the actor

    private static func read(_ bundle: TrustBundle) async -> PartnerAuthorities {
        PartnerAuthorities(bundle)
    }

    private static func listing(
        _ bytes: [UInt8], _ trustDomain: TrustDomain
    ) async throws(ServerError) -> RevocationListing {
        try RevocationListing(bytes, of: trustDomain)
    }

    private static func crl(
        _ der: [UInt8], _ authorityID: String, _ authorities: PartnerAuthorities, own: TrustBundle?,
        keyIDs: AuthorityKeyIDs
    ) async throws(ServerError) -> PartnerLists.CRL {
        try PartnerLists.crl(
            der, authorityID: authorityID, authorities, own: own.map { PartnerAuthorities($0) },
            keyIDs: keyIDs)
    }

    private static func statusToken(
        _ bytes: [UInt8], _ uri: String, _ authorities: PartnerAuthorities
    ) async throws(ServerError) -> PartnerLists.StatusToken {
        try PartnerLists.statusToken(bytes, uri: uri, authorities)
    }
}
