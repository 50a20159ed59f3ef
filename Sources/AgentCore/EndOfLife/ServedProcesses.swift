import PluginAPI
import SPIFFE

/// The live processes that SVIDs of entries with ``AuthorizedEntry/revokesOnExit`` were handed to, whether or not they are
/// still connected.
///
/// A state machine without I/O. A process is entered before it is handed anything and stays until it ends: what a process
/// has had cannot be taken out of its memory. On disk it is before that, too, for an agent that is started again. It is known by number and start time, so that a number that is used
/// again never stands for the process that had it before.
struct ServedProcesses: Sendable {
    struct Key: Hashable, Sendable {
        let pid: Int32
        let startTime: UInt64

        init(pid: Int32, startTime: UInt64) {
            self.pid = pid
            self.startTime = startTime
        }

        init(_ process: some ProcessReference) {
            self.init(pid: process.pid, startTime: process.startTime)
        }
    }

    /// What becomes of a process that is to be handed something.
    enum Admission: Sendable {
        /// It is to be watched from now on.
        case new
        case known
        /// There are too many; it must not be handed anything.
        case full
    }

    private struct Served: Sendable {
        let uid: UInt32
        var entryIDs: Set<String>
        /// The change by which it has the newest of them.
        var change: UInt64 = 0
        /// Keeps the watch going; nil until it has begun, and where there is none.
        var watch: (any Sendable)?
    }

    /// Each is held by a descriptor for as long as it lives.
    static let maximum = 16_384
    static let maximumOfUser = 4_096

    private var processes: [Key: Served] = [:]
    private var byEntry: [String: Set<Key>] = [:]
    private var countOfUser: [UInt32: Int] = [:]
    /// Those whose end nobody tells, to be asked now and then.
    private(set) var unwatched: [Key: any ProcessReference] = [:]
    /// Grows with each change of what ``records`` says.
    private(set) var changes: UInt64 = 0

    /// What is to be kept on disk.
    var records: [ServedRecords.Process] {
        self.processes.map { key, served in
            ServedRecords.Process(
                pid: key.pid, startTime: key.startTime, uid: served.uid, entryIDs: served.entryIDs)
        }
    }

    /// The change after which all that the process may have is in ``records``; 0 for one that is not here.
    func change(of key: Key) -> UInt64 { self.processes[key]?.change ?? 0 }

    var count: Int { self.processes.count }

    func isServed(_ entryID: String) -> Bool { self.byEntry[entryID] != nil }

    /// A process is about to be handed SVIDs of these entries.
    mutating func admit(_ key: Key, uid: UInt32, entryIDs: some Sequence<String>) -> Admission {
        let isKnown = self.processes[key] != nil
        if !isKnown {
            let ofUser = self.countOfUser[uid] ?? 0
            if self.processes.count >= Self.maximum || ofUser >= Self.maximumOfUser { return .full }
            self.countOfUser[uid] = ofUser + 1
            self.processes[key] = Served(uid: uid, entryIDs: [], watch: nil)
        }
        for id in entryIDs where self.processes[key]?.entryIDs.insert(id).inserted == true {
            self.byEntry[id, default: []].insert(key)
            self.changes += 1
            self.processes[key]?.change = self.changes
        }
        return isKnown ? .known : .new
    }

    /// The watch over a process has begun; without one it is asked whether it lives.
    ///
    /// - Returns: What is to be let go of, outside any lock: the process has ended meanwhile.
    mutating func watched(
        _ key: Key, _ process: any ProcessReference, by watch: (any Sendable)?
    ) -> (any Sendable)? {
        guard self.processes[key] != nil else { return watch }
        self.processes[key]?.watch = watch
        if watch == nil { self.unwatched[key] = process }
        return nil
    }

    /// A process has ended.
    ///
    /// - Returns: The entries that it was the last to be served with, sorted; and what is to be let go of, outside any
    ///   lock.
    mutating func ended(_ key: Key) -> (entryIDs: [String], watch: (any Sendable)?) {
        guard let served = self.processes.removeValue(forKey: key) else { return ([], nil) }
        self.changes += 1
        self.unwatched[key] = nil
        let ofUser = (self.countOfUser[served.uid] ?? 1) - 1
        self.countOfUser[served.uid] = ofUser > 0 ? ofUser : nil
        var last: [String] = []
        for id in served.entryIDs {
            self.byEntry[id]?.remove(key)
            if self.byEntry[id]?.isEmpty == true {
                self.byEntry[id] = nil
                last.append(id)
            }
        }
        return (last.sorted(), served.watch)
    }
}
