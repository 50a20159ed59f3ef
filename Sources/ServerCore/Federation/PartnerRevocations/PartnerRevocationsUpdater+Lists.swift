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
            let listing = self.partners[trustDomain]?.listing
            if self.partners[trustDomain]?.lists.drop(
                unlisted: listing, authorities, keyIDs: self.directory.authorityKeyIDs,
                now: self.unixNow) == true
            {
                self.publish(trustDomain)
            }
        }
        guard let bundle else { return false }
        return !bundle.x509Authorities.isEmpty || !bundle.jwtAuthorities.isEmpty
    }

    /// Asks what there is, and fetches what is new.
    func round(
        _ trustDomain: TrustDomain, _ generation: UInt64, patience: Duration
    ) async -> Outcome {
        var outcome = Outcome()
        guard let partner = self.partners[trustDomain], partner.generation == generation else {
            return Outcome(failure: "the relationship was changed or ended")
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
            case .document(let bytes): listing = try await Self.listing(bytes, trustDomain)
            }
            guard self.isCurrent(trustDomain, generation) else {
                return Outcome(failure: "the relationship was changed or ended")
            }
            outcome.isChanged = listing != partner.listing
            outcome.appliedWait = fetched.appliedWait
            self.partners[trustDomain]?.listing = listing
            self.partners[trustDomain]?.entityTag = listing == nil ? nil : fetched.entityTag
            self.partners[trustDomain]?.status.isPublished = listing != nil
            if patience > .zero {
                // Who waits holds no place in a lane; who fetches does.
                let problem = await self.lanes.taken(partner.lane) {
                    await self.fetchLists(trustDomain, generation)
                }
                (outcome.failure, outcome.timedOut) = problem
            } else {
                (outcome.failure, outcome.timedOut) = await self.fetchLists(trustDomain, generation)
            }
        } catch {
            outcome.failure = Self.bounded("\(error)")
            outcome.timedOut = error is TimeLimit.Exceeded
        }
        return outcome
    }

    /// Fetches the lists that are other ones than those at hand. A bad one keeps none of the others from being taken.
    private func fetchLists(
        _ trustDomain: TrustDomain, _ generation: UInt64
    ) async -> (failure: String?, timedOut: Bool) {
        guard let authorities = self.partners[trustDomain]?.authorities,
            self.isCurrent(trustDomain, generation)
        else { return ("the relationship was changed or ended", false) }
        let listing = self.partners[trustDomain]?.listing
        var isChanged =
            self.partners[trustDomain]?.lists.drop(
                unlisted: listing, authorities, keyIDs: self.directory.authorityKeyIDs,
                now: self.unixNow) ?? false
        let missing = listing.map {
            self.partners[trustDomain]?.lists.missing($0, authorities) ?? []
        }
        let deadline = ContinuousClock.now + self.settings.timeout
        var problems: [String] = []
        var timedOut = false
        for document in missing ?? [] where !timedOut {
            do {
                let hasTaken = try await self.fetch(
                    document, trustDomain, generation, authorities, listing, until: deadline)
                if hasTaken { isChanged = true }
            } catch {
                guard self.isCurrent(trustDomain, generation) else {
                    return ("the relationship was changed or ended", false)
                }
                timedOut = error is TimeLimit.Exceeded
                problems.append(Self.bounded("\(error)"))
            }
        }
        if isChanged { self.publish(trustDomain) }
        guard let first = problems.first else { return (nil, false) }
        return (problems.count > 1 ? "\(first) (and \(problems.count - 1) more)" : first, timedOut)
    }

    /// - Returns: whether there is another list now.
    private func fetch(
        _ document: RevocationDocument, _ trustDomain: TrustDomain, _ generation: UInt64,
        _ authorities: PartnerAuthorities, _ listing: RevocationListing?,
        until deadline: ContinuousClock.Instant
    ) async throws -> Bool {
        guard let relationship = self.partners[trustDomain]?.relationship else {
            throw CancellationError()
        }
        let fetcher = self.fetcher
        let maximumBytes =
            document == .statusList
            ? PartnerLists.maximumStatusListBytes : PartnerLists.maximumCRLBytes
        let fetched = try await TimeLimit.within(max(deadline - .now, .zero)) {
            try await fetcher.fetch(
                document, of: relationship, entityTag: nil, waitingUpTo: nil,
                maximumBytes: maximumBytes)
        }
        guard case .document(let bytes) = fetched.content else {
            throw ServerError(
                .unavailable, "a list that the partner names is not there: \(document)")
        }
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

    /// Errors may carry what the partner sent.
    private static func bounded(_ text: String) -> String {
        String(
            String.UnicodeScalarView(
                text.unicodeScalars.prefix(400).map { scalar in
                    scalar.value < 0x20 || scalar.value == 0x7F ? " " : scalar
                }))
    }
}
