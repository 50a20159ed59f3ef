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
    }

    private let directory: Directory
    private let statusListURI: String?
    private let now: @Sendable () -> Date
    private let state = NIOLockedValueBox(State())
    private let observers = NIOLockedValueBox<[@Sendable () -> Void]>([])

    /// - Parameters:
    ///   - directory: tells of revocations, and which entries descend from which.
    ///   - statusListURI: The list that tokens name; nil when they name none.
    package init(
        directory: Directory, statusListURI: String? = nil,
        now: @escaping @Sendable () -> Date = { Date() }
    ) {
        self.directory = directory
        self.statusListURI = statusListURI
        self.now = now
        directory.onRevocationChange { [weak self] change in self?.apply(change) }
        self.apply(.reloaded(directory.revocations))
    }

    private var unixNow: Int64 { Int64(self.now().timeIntervalSince1970) }

    // MARK: Issuance

    package func begin(_ subject: IssuanceSubject) throws(ServerError) -> StatusReference? {
        let now = self.unixNow
        let outcome = self.state.withLockedValue { state -> Result<StatusReference?, ServerError> in
            if let blocking = self.blocking(subject, in: state, now: now) {
                return .failure(blocking.refusal(of: subject.name))
            }
            guard let uri = self.statusListURI, subject.svidType != .x509 else {
                return .success(nil)
            }
            return .success(StatusReference(uri: uri, index: state.statuses.take(now: now)))
        }
        return try outcome.get()
    }

    package func admit(_ svid: SignedSVID) throws(ServerError) {
        let now = self.unixNow
        let (refusal, isChanged) = self.state.withLockedValue { state -> (ServerError?, Bool) in
            let isChanged = Self.prune(&state, now: now, limit: Self.prunedInPassing)
            if let blocking = self.blocking(
                svid.subject, serial: svid.leaf.serial, jti: svid.leaf.jti, in: state, now: now)
            {
                if let status = svid.status {
                    state.statuses.release(status.index, wasRevoked: false, now: now)
                }
                return (blocking.refusal(of: svid.subject.name), isChanged)
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
                state.index.upsert(revocation)
                return self.mark(revocation, in: &state, now: now)
            case .removed(let id):
                state.index.remove(id: id)
                state.incomplete.remove(id)
                return state.revoked.unmark(id, in: state.live)
            case .reloaded(let revocations):
                return self.reload(revocations, &state, now: now)
            }
        }
        if isChanged { self.notify() }
    }

    private func mark(_ revocation: Revocation, in state: inout State, now: Int64) -> Bool {
        guard revocation.isInForce(at: now) else { return false }
        let below =
            revocation.coversEntriesBelow ? self.directory.entryIDs(coveredBy: revocation) : []
        var isChanged = false
        for number in state.live.rows(revocation, entryIDs: below) {
            guard let row = state.live.rows[Int(number)] else { continue }
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
            state.index.remove(id: old.id)
            if state.revoked.unmark(old.id, in: state.live) { isChanged = true }
        }
        for revocation in revocations where state.index.revocation(id: revocation.id) == nil {
            state.index.upsert(revocation)
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
            status: statusIndex.map { StatusReference(uri: self.statusListURI ?? "", index: $0) })
        self.state.withLockedValue { state in
            guard let number = state.live.insert(svid), let row = state.live.rows[Int(number)]
            else {
                return
            }
            if let statusIndex, statusIndex >= 0 { state.restoredStatuses.insert(statusIndex) }
            var covering = state.index.covering(subject, serial: leaf.serial, jti: leaf.jti).filter
            {
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
