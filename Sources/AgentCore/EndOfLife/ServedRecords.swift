import PluginAPI

/// What an agent keeps on disk of processes that have SVIDs which end with them: who they are, and what the server has not
/// heard of yet.
package struct ServedRecords: Sendable, Hashable {
    /// A process that was handed SVIDs.
    package struct Process: Sendable, Hashable {
        package var pid: Int32
        /// In the kernel's unit; names the process together with `pid`, within one run of the machine.
        package var startTime: UInt64
        package var uid: UInt32
        /// The entries whose SVIDs it was handed.
        package var entryIDs: Set<String>

        package init(pid: Int32, startTime: UInt64, uid: UInt32, entryIDs: Set<String>) {
            self.pid = pid
            self.startTime = startTime
            self.uid = uid
            self.entryIDs = entryIDs
        }
    }

    package var processes: [Process]
    /// Entries whose last process has ended, which the server is to hear or has not answered yet.
    package var untold: Set<String>
    /// Whether the machine has not been started anew since; otherwise none of the processes lives.
    package var isOfThisBoot: Bool

    package init(
        processes: [Process] = [], untold: Set<String> = [], isOfThisBoot: Bool = true
    ) {
        self.processes = processes
        self.untold = untold
        self.isOfThisBoot = isOfThisBoot
    }

    /// What has become of it, after a restart of the agent.
    ///
    /// - Parameter hold: Takes hold of the process that has the number now; nil when there is none.
    /// - Returns: The processes that live, and the entries of which none does or of which the server is to hear anyway.
    func found(
        _ hold: (Int32) -> (any ServedProcess)?
    ) -> (living: [(record: Process, process: any ServedProcess)], ended: Set<String>) {
        var living: [(record: Process, process: any ServedProcess)] = []
        var ended: Set<String> = []
        for record in self.processes {
            // Compared while the process is held: a number that is used again is another process.
            if self.isOfThisBoot, living.count < ServedProcesses.maximum,
                let process = hold(record.pid), process.startTime == record.startTime
            {
                living.append((record, process))
            } else {
                ended.formUnion(record.entryIDs)
            }
        }
        for (record, _) in living { ended.subtract(record.entryIDs) }
        return (living, ended.union(self.untold))
    }
}

/// Keeps the records of processes over restarts of the agent.
///
/// Implementers replace the whole durably and atomically: after a crash the earlier or the new records are there, never a
/// mixture.
package protocol ServedProcessStore: Sendable {
    /// Nil when nothing was ever stored.
    ///
    /// - Throws: ``AgentError`` `state` when what is there cannot be read.
    func load() throws -> ServedRecords?
    /// Returns when the records would survive a loss of power. One call at a time.
    ///
    /// - Parameter records: Of this run of the machine.
    /// - Throws: ``AgentError`` `state`; the earlier records are still there.
    func save(_ records: ServedRecords) async throws
}
