package import Foundation
package import Logging
import NIOConcurrencyHelpers
package import SPIFFE
import Transparency

/// Makes and ends revocations.
///
/// Order of effects: the revocation is committed; in the same step entries leave the agents' sets, agents are refused, issuance
/// stops and live SVIDs are marked; then the leaf is recorded, and only then the call returns. What a crash leaves
/// unrecorded is recorded by ``resume()``, so nothing is in force without a leaf for longer than a restart takes. While the
/// ledger cannot be written a revocation is in force all the same: taking back must not wait for bookkeeping.
package final class RevocationRegistry: Sendable {
    /// A revocation as asked for.
    package struct Draft: Sendable {
        /// What is taken back.
        package var target: RevocationTarget
        /// Whether what descends from it is, too.
        package var andChildren = false
        /// Whether it can be lifted.
        package var isSuspension = false
        /// Whether new SVIDs are issued in place of those that it hits.
        package var isReplacement = false
        /// In the operator's words, for the ledger.
        package var reason = ""
        /// Unix seconds; 0 for never.
        package var expiresAt: Int64 = 0

        package init(_ target: RevocationTarget) { self.target = target }
    }

    /// How far the connected agents are.
    package struct Confirmations: Sendable {
        /// How many are connected.
        package var agents: Int
        /// How many of them have confirmed it.
        package var confirmed: Int
        /// From commit to the last confirmation.
        package var lastConfirmation: Duration?
        /// Those that have not, as far as they are named.
        package var waitingFor: [SPIFFEID]
    }

    private struct State {
        /// Revocations whose leaves are on their way.
        var underWay: Set<String> = []
        /// Ends of workloads that are being revoked.
        var ends: Set<RevocationTarget> = []
        var commits = RememberedCommits()
        /// Something could not be recorded; it is tried again.
        var isBehind = false
    }

    let directory: Directory
    private let store: any RevocationStore
    let admission: RevocationAdmission
    private let recorder: any EventRecorder
    private let flush: @Sendable () async -> UInt64
    private let holders: any RevocationHolders
    private let logger: Logger
    private let now: @Sendable () -> Date
    private let state = NIOLockedValueBox(State())

    /// By which the X509-SVID with that serial number was taken back; nil when it was not.
    package func revocation(ofSerial serial: String) -> Revocation? {
        self.admission.revocation(ofSerial: serial)
    }

    /// - Parameters:
    ///   - flush: publishes what verifiers are to be told, and gives the number of that.
    ///   - holders: the agents to which it is told.
    package init(
        directory: Directory, store: any RevocationStore, admission: RevocationAdmission,
        recorder: any EventRecorder, flush: @escaping @Sendable () async -> UInt64,
        holders: any RevocationHolders, logger: Logger,
        now: @escaping @Sendable () -> Date = { Date() }
    ) {
        self.directory = directory
        self.store = store
        self.admission = admission
        self.recorder = recorder
        self.flush = flush
        self.holders = holders
        self.logger = logger
        self.now = now
    }

    package var trustDomain: TrustDomain { self.directory.trustDomain }
    private var unixNow: Int64 { Int64(self.now().timeIntervalSince1970) }

    // MARK: Making

    /// What a revocation would hit.
    ///
    /// - Throws: ``ServerError`` as ``create(_:caller:)``.
    package func hits(of draft: Draft) throws(ServerError) -> RevocationHits {
        self.admission.hits(try self.checked(draft, caller: ""))
    }

    /// Takes identities back; in force and recorded when this returns.
    ///
    /// - Parameter caller: a SPIFFE ID, or `uid:<n>`.
    /// - Throws: ``ServerError`` `invalidArgument`; `unavailable` when the store cannot be written (nothing has changed then), or when
    ///   the ledger cannot (it is in force all the same, and the message says so).
    package func create(
        _ draft: Draft, caller: String
    ) async throws -> (revocation: Revocation, hits: RevocationHits) {
        let (revocation, hits, failure) = try await self.commit(draft, caller: caller)
        // Not behind what workloads cause by coming and going.
        _ = await self.flush()
        if let failure {
            throw ServerError(
                .unavailable,
                "revocation \(revocation.id) is in force, but not recorded yet: \(failure); it is tried again, do not "
                    + "repeat the call")
        }
        return (revocation, hits)
    }

    /// As ``create(_:caller:)``; but `failure`, and no error, says that the revocation is in force and not recorded.
    func commit(
        _ draft: Draft, caller: String
    ) async throws -> (revocation: Revocation, hits: RevocationHits, failure: (any Error)?) {
        let revocation = try self.checked(draft, caller: caller)
        self.state.withLockedValue { _ = $0.underWay.insert(revocation.id) }
        defer { self.state.withLockedValue { _ = $0.underWay.remove(revocation.id) } }
        // Counted before: what is not issued any more expires, and an agent that is hit goes away.
        let hits = self.admission.hits(revocation)
        guard try await self.store.createRevocation(revocation) else {
            throw ServerError(.alreadyExists, "revocation \(revocation.id) exists already")
        }
        let committed = ContinuousClock.now
        self.state.withLockedValue { $0.commits.note(revocation, at: committed) }
        self.logger.log(
            level: revocation.endsWithItsHits ? .info : .notice,
            "revocation is in force",
            metadata: [
                LogKeys.revocationID: "\(revocation.id)",
                LogKeys.revocationTarget:
                    "\(revocation.target.kind.rawValue) \(revocation.target.value)",
                LogKeys.reason: "\(revocation.reason)", LogKeys.count: "\(hits.svids)",
            ])
        do {
            try await self.record(revocation, affected: Int64(hits.svids))
        } catch {
            self.fallBehind(revocation.id, error)
            return (revocation, hits, error)
        }
        return (revocation, hits, nil)
    }

    /// Has `body` run, one at a time for each target.
    ///
    /// - Throws: ``ServerError`` `unavailable` when it runs already, and what `body` throws.
    func alone<T: Sendable>(
        _ target: RevocationTarget, _ body: () async throws -> T
    ) async throws -> T {
        guard self.state.withLockedValue({ $0.ends.insert(target).inserted }) else {
            throw ServerError(.unavailable, "this end is being revoked already; ask again")
        }
        defer { self.state.withLockedValue { _ = $0.ends.remove(target) } }
        return try await body()
    }

    func checked(_ draft: Draft, caller: String) throws(ServerError) -> Revocation {
        let now = self.unixNow
        guard draft.reason.utf8.count <= Revocation.maxReasonBytes else {
            throw ServerError(
                .invalidArgument,
                "reason has \(draft.reason.utf8.count) bytes; at most \(Revocation.maxReasonBytes) are allowed"
            )
        }
        guard draft.reason.unicodeScalars.allSatisfy({ $0.value >= 0x20 && $0.value != 0x7F })
        else {
            throw ServerError(
                .invalidArgument,
                "reason \(quoted(draft.reason)) refused: control characters are not allowed")
        }
        guard draft.expiresAt == 0 || draft.expiresAt > now else {
            throw ServerError(
                .invalidArgument,
                "expiry \(draft.expiresAt) refused: it must be a Unix time to come, or 0 for never")
        }
        guard !(draft.isSuspension && draft.isReplacement) else {
            throw ServerError(
                .invalidArgument,
                "a suspension lets nothing be issued, a replacement does: choose one of them")
        }
        guard !draft.andChildren || draft.target.hasDescendants else {
            throw ServerError(
                .invalidArgument,
                "nothing descends from a \(draft.target.kind.rawValue); leave out the children")
        }
        return Revocation(
            id: UUID().uuidString.lowercased(), target: draft.target,
            andChildren: draft.andChildren, isSuspension: draft.isSuspension,
            isReplacement: draft.isReplacement, reason: draft.reason, caller: caller,
            createdAt: now, expiresAt: draft.expiresAt)
    }

    private func record(_ revocation: Revocation, affected: Int64?) async throws {
        let seq = self.directory.seq(ofRevocation: revocation.id)
        try await self.recorder.append([
            .revocationCreated(revocation.createdLeaf(affected: affected, seq: seq))
        ])
        self.directory.forgetSeq(ofRevocation: revocation.id)
        try await self.store.completeRevocation(
            revocation.id, hits: self.admission.hitIdentities(of: revocation.id))
    }

    // MARK: Ending

    /// Ends a suspension.
    ///
    /// - Throws: ``ServerError`` `notFound`; `failedPrecondition` for a revocation that is no suspension; `unavailable` as
    ///   ``create(_:caller:)``.
    package func lift(_ id: String, reason: String, caller: String) async throws -> Revocation {
        guard reason.utf8.count <= Revocation.maxReasonBytes,
            reason.unicodeScalars.allSatisfy({ $0.value >= 0x20 && $0.value != 0x7F })
        else {
            throw ServerError(
                .invalidArgument,
                "reason refused: at most \(Revocation.maxReasonBytes) bytes without control characters are allowed"
            )
        }
        let revocation = try self.revocation(id)
        guard revocation.isSuspension else {
            throw ServerError(
                .failedPrecondition,
                "revocation \(id) is no suspension and cannot be lifted; make one with \"revocation create -suspend\""
            )
        }
        let ended = try await self.end(revocation, reason: reason, caller: caller)
        _ = await self.flush()
        return ended
    }

    private func end(
        _ revocation: Revocation, reason: String, caller: String
    ) async throws -> Revocation {
        let id = revocation.id
        self.state.withLockedValue { _ = $0.underWay.insert(id) }
        defer { self.state.withLockedValue { _ = $0.underWay.remove(id) } }
        guard let ended = try await self.store.endRevocation(id, reason: reason, caller: caller)
        else { throw Self.notFound(id) }
        self.logger.notice(
            "revocation has ended",
            metadata: [LogKeys.revocationID: "\(id)", LogKeys.reason: "\(reason)"])
        do {
            try await self.recordEnd(id, reason: reason, caller: caller)
        } catch {
            self.fallBehind(id, error)
            throw ServerError(
                .unavailable,
                "revocation \(id) has ended, but that is not recorded yet: \(error); it is tried again"
            )
        }
        return ended
    }

    private func recordEnd(_ id: String, reason: String, caller: String) async throws {
        let seq = self.directory.seq(ofRevocation: id)
        try await self.recorder.append([
            .revocationLifted(
                RevocationLiftedLeaf(
                    revocationID: id, reason: reason, caller: caller, seq: Int64(clamping: seq)))
        ])
        self.directory.forgetSeq(ofRevocation: id)
        try await self.store.forgetRevocation(id)
    }

    // MARK: Upkeep

    /// Once a second: ends what has expired, and records what is behind. Until cancelled.
    package func run() async throws {
        while true {
            try await Task.sleep(for: .seconds(1))
            do {
                if self.state.withLockedValue({ $0.isBehind }) { try await self.resume() }
                _ = try await self.sweep()
            } catch is CancellationError {
                return
            } catch {
                self.logger.error(
                    "upkeep of revocations failed", metadata: [LogKeys.error: "\(error)"])
            }
        }
    }

    /// Ends the revocations that have expired, and forgets SVIDs that have.
    ///
    /// - Returns: how many revocations.
    package func sweep() async throws -> Int {
        self.admission.prune()
        let now = self.unixNow
        let expired = self.directory.expiredRevocations(at: now)
        for revocation in expired {
            do {
                _ = try await self.end(revocation, reason: "expired", caller: "self")
            } catch let error as ServerError where error.code == .notFound {
                continue
            }
        }
        return try await expired.count + self.forgetSpent()
    }

    /// Forgets the revocations that last as long as what they hit. The ledger hears nothing of it: nothing is valid
    /// again, or any less.
    private func forgetSpent() async throws -> Int {
        let candidates = self.directory.revocationsEndingWithHits
        if candidates.isEmpty { return 0 }
        let underWay = self.state.withLockedValue { $0.underWay }
        let spent = self.admission.withoutHits(candidates.filter { !underWay.contains($0) })
        if spent.isEmpty { return 0 }
        let removed = try await self.store.removeRevocations(spent)
        for id in removed { self.directory.forgetSeq(ofRevocation: id) }
        return removed.count
    }

    /// Records what was committed and not recorded: at start, and after the ledger failed.
    package func resume() async throws {
        self.state.withLockedValue { $0.isBehind = false }
        do {
            for one in try await self.store.unfinishedRevocations() {
                let id = one.revocation.id
                if self.state.withLockedValue({ $0.underWay.contains(id) }) { continue }
                if !one.isCompleted { try await self.record(one.revocation, affected: nil) }
                if let end = one.end {
                    try await self.recordEnd(id, reason: end.reason, caller: end.caller)
                }
            }
        } catch {
            self.state.withLockedValue { $0.isBehind = true }
            throw error
        }
    }

    private func fallBehind(_ id: String, _ error: any Error) {
        self.state.withLockedValue { $0.isBehind = true }
        self.logger.error(
            "revocation is not recorded",
            metadata: [LogKeys.revocationID: "\(id)", LogKeys.error: "\(error)"])
    }

    // MARK: Asking

    /// - Throws: ``ServerError`` `notFound`.
    package func revocation(_ id: String) throws(ServerError) -> Revocation {
        guard let found = self.directory.revocation(id: id) else { throw Self.notFound(id) }
        return found
    }

    /// Revocations, the oldest first.
    ///
    /// - Parameters:
    ///   - after: where the page before ended, nil for the first: creation time and ID.
    ///   - limit: at most so many; 0 means all.
    package func list(
        after: (createdAt: Int64, id: String)? = nil, limit: Int = 0
    ) -> [Revocation] {
        let all = self.directory.revocations.filter { revocation in
            guard let after else { return true }
            return (revocation.createdAt, revocation.id) > after
        }
        return limit > 0 ? Array(all.prefix(limit)) : all
    }

    /// Waits until every connected agent has what verifiers are told of this revocation, or the time is over.
    ///
    /// - Throws: ``ServerError`` `notFound`.
    package func await(_ id: String, timeout: Duration) async throws -> Confirmations {
        _ = try self.revocation(id)
        let begin = ContinuousClock.now
        let commit = self.state.withLockedValue { $0.commits[id] } ?? begin
        let number = await self.flush()
        let called = ContinuousClock.now
        let left = max(.zero, timeout - (called - begin))
        let result = await self.holders.wait(number: number, timeout: left)
        return Confirmations(
            agents: result.agents, confirmed: result.confirmed,
            lastConfirmation: result.lastConfirmation.map { $0 + (called - commit) },
            waitingFor: result.waitingFor)
    }

    private static func notFound(_ id: String) -> ServerError {
        ServerError(
            .notFound,
            "revocation \(quoted(id)) not found; \"revocation list\" shows those that are")
    }
}
