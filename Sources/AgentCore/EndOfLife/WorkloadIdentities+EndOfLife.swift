import Logging
import NIOConcurrencyHelpers
import PluginAPI

#if canImport(FoundationEssentials)
    import FoundationEssentials
#else
    import Foundation
#endif

/// Processes that have had SVIDs of entries that ask for an end of these with them; entries that do not cost nothing here.
extension WorkloadIdentities {
    /// How often processes are looked at where the system does not tell of their end.
    static let lookInterval: TimeInterval = 5
    /// How long the log is silent about refusals after one.
    private static let quietTime: TimeInterval = 60

    /// What becomes of something that is to be handed to a process.
    package enum Handing: Sendable {
        /// It may be handed over.
        case handed
        /// Some of it was forgotten in the meantime: it must not be handed over. Another view comes.
        case forgotten
        /// The process is being recorded; ask again when that is over.
        case pending
    }

    /// A process is about to be handed what the view has.
    ///
    /// - Parameter whenRecorded: Called on any thread after ``Handing/pending``, once; must not wait.
    /// - Throws: ``WorkloadRefusal`` `unavailable` when too many processes are watched, or the process cannot be recorded.
    package func hand(
        _ view: X509View, to process: any ServedProcess,
        whenRecorded: @escaping @Sendable () -> Void = {}
    ) throws(WorkloadRefusal) -> Handing {
        if !view.revokesOnExit { return .handed }
        let ids = view.identities.lazy.filter(\.entry.revokesOnExit).map(\.entry.id)
        if try self.admit(process, ids, whenRecorded) == .pending { return .pending }
        return self.state.withLockedValue { $0.cache.isCurrent(view) } ? .handed : .forgotten
    }

    /// The same for WIT-SVIDs.
    package func hand(
        _ view: WITView, to process: any ServedProcess,
        whenRecorded: @escaping @Sendable () -> Void = {}
    ) throws(WorkloadRefusal) -> Handing {
        if !view.revokesOnExit { return .handed }
        let ids = view.identities.lazy.filter(\.entry.revokesOnExit).map(\.entry.id)
        if try self.admit(process, ids, whenRecorded) == .pending { return .pending }
        return self.state.withLockedValue { $0.cache.isCurrent(view) } ? .handed : .forgotten
    }

    /// A process is about to be handed tokens of these entries. From here on the end of another process does not
    /// end them.
    ///
    /// - Returns: ``Handing/handed`` or ``Handing/pending``.
    func hand(
        tokensOf entries: [AuthorizedEntry], to process: (any ServedProcess)?,
        whenRecorded: @escaping @Sendable () -> Void = {}
    ) throws(WorkloadRefusal) -> Handing {
        guard let process, entries.contains(where: \.revokesOnExit) else { return .handed }
        return try self.admit(
            process, entries.lazy.filter(\.revokesOnExit).map(\.id), whenRecorded)
    }

    /// The same, and waits until the process is recorded.
    func waitToHand(
        tokensOf entries: [AuthorizedEntry], to process: (any ServedProcess)?
    ) async throws(WorkloadRefusal) {
        while true {
            let (written, isWritten) = AsyncStream.makeStream(of: Void.self)
            let handing = try self.hand(tokensOf: entries, to: process) { isWritten.finish() }
            if handing != .pending { return }
            for await _ in written {}
            if Task.isCancelled { throw .shuttingDown }
        }
    }

    /// How many processes are watched.
    package var servedProcessCount: Int { self.state.withLockedValue { $0.served.count } }

    private func admit(
        _ process: any ServedProcess, _ entryIDs: some Sequence<String>,
        _ whenRecorded: @escaping @Sendable () -> Void
    ) throws(WorkloadRefusal) -> Handing {
        let key = ServedProcesses.Key(pid: process.pid, startTime: process.startTime)
        let uid = process.uid
        let (admission, isNews) = self.state.withLockedValue { state in
            let admission = state.served.admit(key, uid: uid, entryIDs: entryIDs)
            let now = self.now()
            // Who starts processes without end is not to fill the log as well.
            let isNews = admission == .full && (state.quietAboutFull.map { $0 <= now } ?? true)
            if isNews {
                state.quietAboutFull = now.addingTimeInterval(Self.quietTime)
            }
            return (admission, isNews)
        }
        switch admission {
        case .known: break
        case .full:
            if isNews {
                self.logger.error(
                    "too many processes with SVIDs that end with them; more are refused",
                    metadata: [LogKeys.pid: "\(process.pid)", LogKeys.uid: "\(uid)"])
            }
            throw .tooManyProcesses
        case .new: self.watch(process, key)
        }
        return try self.recorded(key, whenRecorded)
    }

    /// Watches a process that has been admitted.
    func watch(_ process: any ServedProcess, _ key: ServedProcesses.Key) {
        // Outside the lock: it may have ended, and the action run before this returns.
        let watch = process.watchEnd { [weak self] in self?.processEnded(key) }
        let spare = self.mutate { state -> ((any Sendable)?, SVIDCache.Effects) in
            let spare = state.served.watched(key, process, by: watch)
            if !state.served.unwatched.isEmpty, state.nextLook == nil {
                state.nextLook = self.now().addingTimeInterval(Self.lookInterval)
            }
            return (spare, SVIDCache.Effects())
        }
        _ = spare
    }

    /// A process has ended. Where it was the last that had SVIDs of an entry, these are forgotten at once and the server
    /// is told.
    func processEnded(_ key: ServedProcesses.Key) {
        let (forgotten, watch) = self.mutate {
            state -> (([String], (any Sendable)?), SVIDCache.Effects) in
            let (entryIDs, watch) = state.served.ended(key)
            var effects = SVIDCache.Effects()
            var forgotten: [String] = []
            let now = self.now()
            for id in entryIDs {
                // The option was switched off meanwhile. An entry that is gone may be suspended, and come back.
                if let entry = state.cache.entries[id: id], !entry.revokesOnExit { continue }
                // Nothing has been obtained since a report that is still open.
                if state.ends.isOpen(id) { continue }
                let withholds = state.ends.add(id)
                effects.join(
                    state.cache.forgetSVIDs(ofEntry: id, withholds: withholds, now: now))
                if withholds { effects.wantsSigning = true }
                forgotten.append(id)
            }
            return ((forgotten, watch), effects)
        }
        // Let go of outside the lock, descriptor and all.
        _ = watch
        self.record()
        for id in forgotten {
            self.logger.info(
                "the last process with an entry's SVIDs has ended; they are forgotten and are to be revoked",
                metadata: [LogKeys.entryID: "\(id)", LogKeys.pid: "\(key.pid)"])
        }
    }

    /// Looks at the processes whose end nobody tells, when it is time.
    func lookAtUnwatched() {
        let now = self.now()
        let due = self.state.withLockedValue {
            state -> [ServedProcesses.Key: any ProcessReference] in
            guard let at = state.nextLook, at <= now else { return [:] }
            state.nextLook =
                state.served.unwatched.isEmpty ? nil : now.addingTimeInterval(Self.lookInterval)
            return state.served.unwatched
        }
        for (key, process) in due where !process.isAlive { self.processEnded(key) }
    }

    /// The server's answer to a report.
    func receiveWorkloadEnd(_ requestID: UInt64, _ result: Result<Void, IssuanceRefusal>) {
        var refusal: IssuanceRefusal?
        if case .failure(let error) = result { refusal = error }
        let answered = self.mutate { state in
            let answered = state.ends.answered(
                requestID, refusal: refusal, now: self.now(), jitter: state.cache.random())
            guard let answered, answered.isClosed else { return (answered, SVIDCache.Effects()) }
            return (answered, state.cache.release([answered.entryID]))
        }
        self.record()
        guard let answered, let refusal else { return }
        self.logger.log(
            level: answered.isClosed ? .info : .warning,
            answered.isClosed
                ? "the server has nothing to revoke for the end of a process"
                : "the server cannot revoke SVIDs of a process that has ended yet; it is told again",
            metadata: [LogKeys.entryID: "\(answered.entryID)", LogKeys.error: "\(refusal)"])
    }
}

extension WorkloadRefusal {
    static let tooManyProcesses = WorkloadRefusal(
        .unavailable, "too many processes have identities now; try again later")
    static let notRecorded = WorkloadRefusal(
        .unavailable, "the agent cannot record who has this identity; try again later")
}

extension SVIDCache.Effects {
    /// Adds what follows from another change.
    mutating func join(_ other: SVIDCache.Effects) {
        self.deliveries += other.deliveries
        self.wantsSigning = self.wantsSigning || other.wantsSigning
        self.changedEntryIDs += other.changedEntryIDs
        self.withdrawnJWTKeyIDs.formUnion(other.withdrawnJWTKeyIDs)
        self.ownBundleChanged = self.ownBundleChanged || other.ownBundleChanged
        self.ownRevocationsChanged = self.ownRevocationsChanged || other.ownRevocationsChanged
        self.needsResync = self.needsResync || other.needsResync
    }
}
