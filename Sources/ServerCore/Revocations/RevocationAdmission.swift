package import Foundation
import NIOConcurrencyHelpers
import SPIFFE
package import Transparency

/// Says whether an SVID may be issued, and knows those that were and are live.
///
/// Admitting an SVID and applying a revocation take one lock, so an SVID is either refused or found, whichever comes first.
/// Lock order: this lock, then the directory's; the directory calls in without holding its own.
package final class RevocationAdmission: IssuanceAdmission, RevokedSVIDs {
    /// SVIDs stay in the lists that many seconds longer: verifiers' clocks may be late.
    package static let leeway: Int64 = 60
    /// Expired SVIDs that one issuance takes out in passing.
    private static let prunedInPassing = 64

    private struct State {
        var index = RevocationIndex()
        var live = LiveSVIDs()
        var revoked = RevokedRows()
        var statuses = StatusIndexes()
        /// What replacements and others hit before a restart: revocations by SVID.
        var stored: [Bytes16: [String]] = [:]
        /// Replacements of which that is not known.
        var incomplete: Set<String> = []
        var restoredStatuses: Set<Int64> = []
        /// How many replacements have been made since the start, and which of them each was.
        var epoch: UInt64 = 0
        var epochs: [String: UInt64] = [:]
    }

    private let directory: Directory
    private let statusListURI: String?
    private let limits: LiveLimits
    private let now: @Sendable () -> Date
    private let state = NIOLockedValueBox(State())
    private let observers = NIOLockedValueBox<[@Sendable () -> Void]>([])

    /// - Parameters:
    ///   - directory: tells of revocations, and which entries descend from which.
    ///   - statusListURI: The list that tokens name; nil when they name none.
    ///   - limits: How many SVIDs one agent may have live.
    package init(
        directory: Directory, statusListURI: String? = nil, limits: LiveLimits = LiveLimits(),
        now: @escaping @Sendable () -> Date = { Date() }
    ) {
        self.directory = directory
        self.statusListURI = statusListURI
        self.limits = limits
        self.now = now
        directory.onRevocationChange { [weak self] change in self?.apply(change) }
        self.apply(.reloaded(directory.revocations))
    }

    private var unixNow: Int64 { Int64(self.now().timeIntervalSince1970) }

    // MARK: Issuance

    package func begin(_ subject: IssuanceSubject) throws(ServerError) -> IssuanceTicket {
        let now = self.unixNow
        // Two agents may share the entry, and what one of them had ends without the other's.
        let endsWithProcesses =
            subject.svidType == .jwt
            && subject.entryID.map { id in
                self.directory.withEntries { $0.entry(id: id)?.revokesOnExit == true }
            } == true
        let outcome = self.state.withLockedValue { state -> Result<IssuanceTicket, ServerError> in
            if let blocking = self.blocking(subject, in: state, now: now) {
                return .failure(blocking.refusal(of: subject.name))
            }
            if let full = state.live.isFull(for: subject, self.limits) {
                return .failure(full.refusal(of: subject, name: subject.name))
            }
            var ticket = IssuanceTicket(epoch: state.epoch)
            if let uri = self.statusListURI, subject.svidType != .x509 {
                ticket.status = StatusReference(uri: uri, index: state.statuses.take(now: now))
            }
            // A place in the list is one of a kind already, and so is the key of a WIT-SVID.
            ticket.isToBeUnique =
                subject.svidType == .jwt && ticket.status == nil
                && (endsWithProcesses || !state.revoked.tokens.isEmpty)
            return .success(ticket)
        }
        return try outcome.get()
    }

    package func admit(_ svid: SignedSVID) throws(ServerError) {
        let now = self.unixNow
        let (refusal, isChanged) = self.state.withLockedValue { state -> (ServerError?, Bool) in
            let isChanged = Self.prune(&state, now: now, limit: Self.prunedInPassing)
            if let refusal = self.refusal(of: svid, in: state, now: now) {
                if let status = svid.status {
                    state.statuses.release(status.index, wasRevoked: false, now: now)
                }
                return (refusal, isChanged)
            }
            if let status = svid.status, !state.statuses.use(status.index) {
                return (
                    ServerError(
                        .unavailable, "issuance took too long; its place in the status list is gone"
                    ),
                    isChanged
                )
            }
            // Nothing is released that no revocation could find.
            guard state.live.insert(svid) != nil || state.live.contains(svid) else {
                return (
                    ServerError(.unavailable, "the SVID has expired already; check the clock"),
                    isChanged
                )
            }
            return (nil, isChanged)
        }
        if isChanged { self.notify() }
        if let refusal { throw refusal }
    }

    /// Why an SVID that was signed must not be released; nil when it may.
    private func refusal(of svid: SignedSVID, in state: State, now: Int64) -> ServerError? {
        let subject = svid.subject
        let (serial, jti) = (svid.leaf.serial, svid.leaf.jti)
        if let blocking = self.blocking(subject, serial: serial, jti: jti, in: state, now: now) {
            return blocking.refusal(of: subject.name)
        }
        // Signed before a replacement: it would be released as though it were fresh.
        if svid.ticket.epoch < state.epoch,
            let replacement = self.replacement(
                of: subject, serial: serial, jti: jti, since: svid.ticket.epoch, in: state, now: now
            )
        {
            return ServerError(
                .unavailable,
                "\(subject.name) was signed before revocation \(replacement.id) replaced it; ask again",
                revocationID: replacement.id)
        }
        // Again, for many may have been begun before the first was admitted.
        return state.live.isFull(for: subject, self.limits)?.refusal(
            of: subject, name: subject.name)
    }

    /// A replacement in force that was made after that epoch and covers the SVID.
    private func replacement(
        of subject: IssuanceSubject, serial: String?, jti: String?, since epoch: UInt64,
        in state: State, now: Int64
    ) -> Revocation? {
        func isLater(_ revocation: Revocation) -> Bool {
            (state.epochs[revocation.id] ?? 0) > epoch && revocation.isInForce(at: now)
        }
        let named = state.index.covering(subject, serial: serial, jti: jti, workloads: 1)
        if let found = named.first(where: isLater) { return found }
        guard let entryID = subject.entryID else { return nil }
        return state.index.coveringBelow.first {
            isLater($0) && self.directory.entryIDs(coveredBy: $0).contains(entryID)
        }
    }

    /// What has taken back the X509-SVID with that serial number; of several, one that blocks.
    package func revocation(ofSerial serial: String) -> Revocation? {
        self.state.withLockedValue { state in
            if state.index.isEmpty { return nil }
            var replacement: Revocation?
            for row in state.live.rows(serial: serial) {
                for id in state.revoked.revocations(of: row) {
                    guard let found = state.index.revocation(id: id) else { continue }
                    if found.blocks { return found }
                    replacement = found
                }
            }
            return replacement
        }
    }

    private func blocking(
        _ subject: IssuanceSubject, serial: String? = nil, jti: String? = nil, in state: State,
        now: Int64
    ) -> Revocation? {
        if let found = state.index.blocking(subject, serial: serial, jti: jti, now: now) {
            return found
        }
        guard let entryID = subject.entryID else { return nil }
        return self.directory.revocation(blockingEntry: entryID, now: now)
    }

    // MARK: Revocations

    /// Takes a change of the revocations; the directory calls it after it has applied the change itself.
    private func apply(_ change: RevocationChange) {
        let now = self.unixNow
        let isChanged = self.state.withLockedValue { state -> Bool in
            switch change {
            case .upserted(let revocation):
                Self.enter(revocation, &state)
                return self.mark(revocation, in: &state, now: now)
            case .removed(let id):
                Self.leave(id, &state)
                return state.revoked.unmark(id, in: state.live)
            case .reloaded(let revocations):
                return self.reload(revocations, &state, now: now)
            }
        }
        if isChanged { self.notify() }
    }

    private static func enter(_ revocation: Revocation, _ state: inout State) {
        if revocation.isReplacement, state.index.revocation(id: revocation.id) == nil {
            state.epoch += 1
            state.epochs[revocation.id] = state.epoch
        }
        state.index.upsert(revocation)
    }

    private static func leave(_ id: String, _ state: inout State) {
        state.index.remove(id: id)
        state.incomplete.remove(id)
        state.epochs[id] = nil
    }

    private func mark(_ revocation: Revocation, in state: inout State, now: Int64) -> Bool {
        guard revocation.isInForce(at: now) else { return false }
        let below =
            revocation.coversEntriesBelow ? self.directory.entryIDs(coveredBy: revocation) : []
        var isChanged = false
        for number in state.live.rows(revocation, entryIDs: below) {
            guard let row = state.live.rows[Int(number)] else { continue }
            // Of a workload that lives and ends every second hundreds are live and taken back; each is marked once.
            if revocation.target.kind == .workload, state.revoked.isRevokedForGood(number) {
                continue
            }
            if state.revoked.mark(number, row, by: revocation) { isChanged = true }
        }
        return isChanged
    }

    /// The directory was loaded anew. Revocations that are known keep what they hit.
    private func reload(
        _ revocations: [Revocation], _ state: inout State, now: Int64
    ) -> Bool {
        var isChanged = false
        let ids = Set(revocations.map(\.id))
        for old in state.index.ordered where !ids.contains(old.id) {
            Self.leave(old.id, &state)
            if state.revoked.unmark(old.id, in: state.live) { isChanged = true }
        }
        for revocation in revocations where state.index.revocation(id: revocation.id) == nil {
            Self.enter(revocation, &state)
            if self.mark(revocation, in: &state, now: now) { isChanged = true }
        }
        return isChanged
    }

    /// What a revocation hits now, or would hit.
    package func hits(_ revocation: Revocation) -> RevocationHits {
        let now = self.unixNow
        let below =
            revocation.coversEntriesBelow ? self.directory.entryIDs(coveredBy: revocation) : []
        var hits = RevocationHits()
        let ids = self.state.withLockedValue { state -> Set<SPIFFEID> in
            var subjects: Set<UInt32> = []
            for number in state.live.rows(revocation, entryIDs: below) {
                guard let row = state.live.rows[Int(number)], row.expiresAt > now else { continue }
                switch row.type {
                case .x509: hits.x509SVIDs += 1
                case .jwt: hits.jwtSVIDs += 1
                case .wit: hits.witSVIDs += 1
                }
                subjects.insert(row.subject)
            }
            return Set(subjects.compactMap { state.live.subjects[$0]?.spiffeID })
        }
        hits.spiffeIDCount = ids.count
        hits.spiffeIDs = Array(ids.sorted().prefix(RevocationHits.maxNamed))
        // Covers neither, and is asked about often.
        if revocation.target.kind == .workload { return hits }
        let covered = self.directory.count(coveredBy: revocation)
        hits.entries = covered.entries
        hits.agents = covered.agents
        return hits
    }

    /// Which SVIDs a revocation has hit: 16 bytes for each, one after the other. For the store, from which
    /// ``restoreHits(_:)`` takes them.
    package func hitIdentities(of revocationID: String) -> [UInt8] {
        self.state.withLockedValue { state in
            state.revoked.rows(of: revocationID).flatMap { number in
                state.live.rows[Int(number)]?.identity.bytes ?? []
            }
        }
    }

    /// Whether a revocation would hit an SVID that is live and not taken back for good already.
    package func hitsAnythingNew(_ revocation: Revocation) -> Bool {
        let now = self.unixNow
        return self.state.withLockedValue { state in
            state.live.rows(revocation).contains { number in
                guard let row = state.live.rows[Int(number)], row.expiresAt > now else {
                    return false
                }
                return !state.revoked.isRevokedForGood(number)
            }
        }
    }

    /// Those of the revocations of which everything that they hit has expired.
    package func withoutHits(_ revocationIDs: [String]) -> [String] {
        self.state.withLockedValue { state in
            revocationIDs.filter { state.revoked.rows(of: $0).isEmpty }
        }
    }

    /// How many live SVIDs an entry has, whoever holds them.
    package func liveCount(ofEntry id: String) -> Int {
        self.state.withLockedValue { state in
            state.live.subjects.numbers(entryID: id).reduce(0) {
                $0 + (state.live.subjects[$1]?.count ?? 0)
            }
        }
    }

    // MARK: Restart

    /// Takes over what the store knows of the hits of revocations; call it before the first
    /// ``restore(_:signingInputDigest:statusIndex:)``.
    ///
    /// - Parameter hits: as ``hitIdentities(of:)`` gave them, by revocation. A replacement that is not among them was
    ///   interrupted: it covers everything that comes back, for nobody knows what of it is fresh.
    package func restoreHits(_ hits: [String: [UInt8]]) {
        self.state.withLockedValue { state in
            for revocation in state.index.ordered where hits[revocation.id] == nil {
                state.incomplete.insert(revocation.id)
            }
            for (id, bytes) in hits {
                for start in stride(from: 0, to: bytes.count - bytes.count % 16, by: 16) {
                    state.stored[Bytes16(bytes[start..<start + 16]), default: []].append(id)
                }
            }
        }
    }

    /// Takes an SVID back in from its leaf, as ``restore(_:signingInputDigest:statusIndex:)``.
    package func restore(_ leaf: SVIDIssuedLeaf) {
        self.restore(
            leaf, signingInputDigest: leaf.signingInputDigest, statusIndex: leaf.statusIndex)
    }

    /// Takes an SVID back in that was issued before a restart; one that has expired is passed over. Call it before
    /// the first issuance, and ``finishRestoring()`` afterwards.
    ///
    /// - Parameters:
    ///   - signingInputDigest: of a token.
    ///   - statusIndex: its place in the status list.
    package func restore(
        _ leaf: SVIDIssuedLeaf, signingInputDigest: [UInt8]?, statusIndex: Int64?
    ) {
        let now = self.unixNow
        guard leaf.notAfter.milliseconds > (now - Self.leeway) * 1_000 else { return }
        var subject = IssuanceSubject(
            svidType: leaf.svidType, spiffeID: leaf.spiffeID, entryID: leaf.entryID,
            node: leaf.node, authorityID: leaf.authorityID)
        let entry = leaf.entryID.flatMap { id in self.directory.withEntries { $0.entry(id: id) } }
        subject.selectors = entry?.selectors ?? []
        let below = leaf.entryID.flatMap { self.directory.revocation(blockingEntry: $0, now: now) }
        let svid = SignedSVID(
            subject: subject, leaf: leaf, signingInputDigest: signingInputDigest,
            ticket: IssuanceTicket(
                status: statusIndex.map {
                    StatusReference(uri: self.statusListURI ?? "", index: $0)
                }))
        self.state.withLockedValue { state in
            guard let number = state.live.insert(svid), let row = state.live.rows[Int(number)]
            else {
                return
            }
            if let statusIndex, statusIndex >= 0 { state.restoredStatuses.insert(statusIndex) }
            var covering = state.index.covering(
                subject, serial: leaf.serial, jti: leaf.jti,
                workloads: state.incomplete.isEmpty ? 0 : .max
            ).filter {
                $0.blocks || state.incomplete.contains($0.id)
            }
            if let below { covering.append(below) }
            for id in state.stored[row.identity] ?? [] {
                if let found = state.index.revocation(id: id) { covering.append(found) }
            }
            for revocation in covering where revocation.isInForce(at: now) {
                _ = state.revoked.mark(number, row, by: revocation)
            }
        }
    }

    /// Ends the restoring: tokens get places in the status list that none of the restored ones has.
    package func finishRestoring() {
        let now = self.unixNow
        self.state.withLockedValue { state in
            state.statuses.restore(state.restoredStatuses, now: now)
            state.restoredStatuses = []
            state.stored = [:]
            state.incomplete = []
        }
        self.notify()
    }

    // MARK: Upkeep

    /// Forgets SVIDs that have expired.
    package func prune() {
        let now = self.unixNow
        let isChanged = self.state.withLockedValue { Self.prune(&$0, now: now, limit: .max) }
        if isChanged { self.notify() }
    }

    private static func prune(_ state: inout State, now: Int64, limit: Int) -> Bool {
        var isChanged = false
        for (number, row) in state.live.prune(now: now - Self.leeway, limit: limit) {
            let wasRevoked = state.revoked.expire(number, row)
            if wasRevoked { isChanged = true }
            if row.statusIndex >= 0 {
                state.statuses.release(row.statusIndex, wasRevoked: wasRevoked, now: now)
            }
        }
        return isChanged
    }

    /// How many SVIDs are live, those of the last minute included.
    package var liveCount: Int { self.state.withLockedValue { $0.live.count } }

    // MARK: Lists

    package func revokedCertificates(authorityID: String) -> [RevokedCertificate] {
        self.state.withLockedValue { state in
            guard let authority = state.live.authority(authorityID) else { return [] }
            return state.revoked.certificates(authority: authority, in: state.live)
        }
    }

    package func revokedTokens() -> Set<[UInt8]> {
        self.state.withLockedValue { $0.revoked.tokens }
    }

    package func revokedStatuses() -> [Int64: Bool] {
        self.state.withLockedValue { $0.revoked.statuses }
    }

    /// How many places the status list must have: every token's place is below.
    package var statusCount: Int64 { self.state.withLockedValue { $0.statuses.count } }

    package func onChange(_ body: @escaping @Sendable () -> Void) {
        self.observers.withLockedValue { $0.append(body) }
    }

    private func notify() {
        for observer in self.observers.withLockedValue({ $0 }) { observer() }
    }
}

extension IssuanceSubject {
    /// What is asked for, in words.
    fileprivate var name: String {
        let kind =
            switch self.svidType {
            case .x509: "X509-SVID"
            case .jwt: "JWT-SVID"
            case .wit: "WIT-SVID"
            }
        return "\(kind) of \(self.spiffeID)"
    }
}
