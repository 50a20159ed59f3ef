package import Foundation
import NIOConcurrencyHelpers
import SPIFFE
import Transparency

/// Says whether an SVID may be issued, and knows those that were and are live.
///
/// Admitting an SVID and applying a revocation take one lock, so an SVID is either refused or found, whichever comes first.
/// Lock order: this lock, then the directory's; the directory calls in without holding its own.
package final class RevocationAdmission: IssuanceAdmission, RevokedSVIDs {
    /// SVIDs stay in the lists that many seconds longer: verifiers' clocks may be late.
    package static let leeway: Int64 = 60
    /// Expired SVIDs that one issuance takes out in passing.
    private static let prunedInPassing = 64

    struct State {
        var index = RevocationIndex()
        var live = LiveSVIDs()
        var revoked = RevokedRows()
        var statuses = StatusIndexes()
        /// Of use until the restoring has ended.
        var restored = RestoredHits()
        var epochs = ReplacementEpochs()
    }

    let directory: Directory
    let statusListURI: String?
    private let limits: LiveLimits
    private let now: @Sendable () -> Date
    let state = NIOLockedValueBox(State())
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

    var unixNow: Int64 { Int64(self.now().timeIntervalSince1970) }

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
            var ticket = IssuanceTicket(epoch: state.epochs.latest)
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
        if svid.ticket.epoch < state.epochs.latest,
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
            state.epochs.isLater(revocation.id, than: epoch) && revocation.isInForce(at: now)
        }
        let named = state.index.covering(subject, serial: serial, jti: jti, workloads: 1)
        if let found = named.first(where: isLater) { return found }
        guard let entryID = subject.entryID else { return nil }
        return state.index.coveringBelow.first {
            isLater($0) && self.directory.entryIDs(coveredBy: $0).contains(entryID)
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

    /// Says that what is taken back is not what it was; call it without the lock.
    func notify() {
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
