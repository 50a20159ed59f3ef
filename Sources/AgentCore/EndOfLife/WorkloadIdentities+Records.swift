import Logging
import NIOConcurrencyHelpers

/// Processes that have SVIDs which end with them, on disk: so that an agent that is started again knows them.
///
/// A process is recorded before it is handed anything of such an entry. What goes wrong in between leaves a record of a
/// process that has nothing, and its end then revokes little or nothing; the other way round an SVID would be left behind.
extension WorkloadIdentities {
    /// Takes up what was recorded before this start: who still lives is watched again, and of the others the server is told.
    /// To be called once, before anybody is served.
    ///
    /// Records that cannot be read may have named anybody: then whatever this agent has obtained for such entries counts as
    /// ended, as soon as the server has told which entries there are.
    ///
    /// - Parameter hold: Takes hold of the process that has the number now; nil when there is none.
    package func restoreServed(_ hold: (Int32) -> (any ServedProcess)?) {
        guard let store = self.servedStore else { return }
        let records: ServedRecords
        do {
            guard let found = try store.load() else { return }
            records = found
        } catch {
            self.state.withLockedValue { $0.mayHaveEnded = true }
            return self.logger.warning(
                """
                the records of processes with SVIDs that end with them cannot be read; what this agent has obtained for \
                their entries is to be revoked
                """, metadata: [LogKeys.error: "\(error)"])
        }
        let (living, ended) = records.found(hold)
        let watched = self.mutate {
            state -> ([(ServedProcesses.Key, any ServedProcess)], SVIDCache.Effects) in
            var effects = SVIDCache.Effects()
            var watched: [(ServedProcesses.Key, any ServedProcess)] = []
            var ended = ended
            for (record, process) in living {
                let key = ServedProcesses.Key(pid: record.pid, startTime: record.startTime)
                switch state.served.admit(key, uid: record.uid, entryIDs: record.entryIDs) {
                case .new: watched.append((key, process))
                case .known: break
                // Cannot be watched, so it counts as ended.
                case .full: ended.formUnion(record.entryIDs)
                }
            }
            for id in ended.sorted() where records.untold.contains(id) || !state.served.isServed(id)
            {
                self.end(id, &state, &effects)
            }
            return (watched, effects)
        }
        for (key, process) in watched { self.watch(process, key) }
        self.record()
        self.logger.info(
            "took up processes with SVIDs that end with them",
            metadata: ["processes": "\(watched.count)", "ended_entries": "\(ended.count)"])
    }

    /// Entries have come, the first after records that could not be read.
    func endUnknown(_ change: EntryChange, _ state: inout State) -> SVIDCache.Effects {
        var effects = SVIDCache.Effects()
        guard state.mayHaveEnded, change.isSnapshot else { return effects }
        state.mayHaveEnded = false
        for entry in change.upserted where entry.revokesOnExit {
            self.end(entry.id, &state, &effects)
        }
        return effects
    }

    /// Nothing is held of the entry yet; nothing is asked for before the server has heard.
    private func end(_ id: String, _ state: inout State, _ effects: inout SVIDCache.Effects) {
        let withholds = state.ends.add(id)
        effects.join(state.cache.forgetSVIDs(ofEntry: id, withholds: withholds, now: self.now()))
        if withholds { effects.wantsSigning = true }
    }

    /// Whether a process that has been admitted is on disk as well.
    ///
    /// - Throws: ``WorkloadRefusal`` `unavailable` when it could not be written.
    func recorded(
        _ key: ServedProcesses.Key, _ whenRecorded: @escaping @Sendable () -> Void
    ) throws(WorkloadRefusal) -> Handing {
        let standing = self.state.withLockedValue { state in
            let standing = state.recording.standing(of: state.served.change(of: key))
            if standing == .pending { state.recording.wait(whenRecorded) }
            return standing
        }
        switch standing {
        case .recorded: return .handed
        case .failed: throw .notRecorded
        case .pending:
            self.record()
            return .pending
        }
    }

    /// Writes the records if they have changed and nobody writes them.
    func record() {
        guard let store = self.servedStore else { return }
        let due = self.state.withLockedValue { state -> (ServedProcesses, Set<String>)? in
            let mark = ServedRecording.Mark(served: state.served.changes, ends: state.ends.changes)
            return state.recording.begin(mark) ? (state.served, Set(state.ends.open)) : nil
        }
        guard let (served, untold) = due else { return }
        // Ends with the write, whose error is told to who waits and to the log; the next one begins in it.
        Task { [weak self, logger] in
            var succeeded = true
            do {
                try await store.save(ServedRecords(processes: served.records, untold: untold))
            } catch {
                succeeded = false
                logger.error(
                    "processes with SVIDs that end with them cannot be recorded; new ones are refused",
                    metadata: [LogKeys.error: "\(error)"])
            }
            self?.wrote(succeeded)
        }
    }

    private func wrote(_ succeeded: Bool) {
        let waiters = self.state.withLockedValue { $0.recording.finished(succeeded: succeeded) }
        for waiter in waiters { waiter() }
        self.record()
    }
}
