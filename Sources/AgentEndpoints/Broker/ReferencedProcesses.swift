import NIOConcurrencyHelpers
import PluginAPI
import SPIFFEGRPC

#if canImport(Glibc)
    import Glibc
#elseif canImport(Darwin)
    import Darwin
#endif

/// The processes that calls of brokers are about. Calls about one process share one hold on it, for as long as
/// one of them is open.
final class ReferencedProcesses: Sendable {
    private struct Held {
        let serial: UInt64
        weak var process: ReferencedProcess?
    }

    private struct State {
        var byPID: [Int32: Held] = [:]
        var nextSerial: UInt64 = 1
    }

    private let state = NIOLockedValueBox(State())

    /// The process that has the number now.
    ///
    /// - Throws: ``BrokerRefusal`` when there is none, or it is the agent.
    func process(_ pid: Int32) throws(BrokerRefusal) -> ReferencedProcess {
        if pid == getpid() { throw .agentItself(pid) }
        // A process keeps its number for as long as it lives, so a hold on a living one is the right one.
        if let known = self.state.withLockedValue({ $0.byPID[pid]?.process }), known.handle.isAlive
        {
            return known
        }
        let handle: PeerProcessHandle
        do throws(LocalPeerError) {
            handle = try PeerProcessHandle(socketDescriptor: nil, pid: pid)
        } catch {
            if error.code == .processEnded { throw .notFound(pid) }
            throw .cannotHold(pid)
        }
        let serial = self.state.withLockedValue { state in
            defer { state.nextSerial += 1 }
            return state.nextSerial
        }
        let process = ReferencedProcess(handle) { [weak self] in self?.release(pid, serial) }
        self.state.withLockedValue { $0.byPID[pid] = Held(serial: serial, process: process) }
        return process
    }

    /// How many processes are held; for tests.
    var count: Int { self.state.withLockedValue { $0.byPID.count } }

    private func release(_ pid: Int32, _ serial: UInt64) {
        self.state.withLockedValue { state in
            if state.byPID[pid]?.serial == serial { state.byPID[pid] = nil }
        }
    }
}

/// One process that brokers refer to: held, so that its number cannot come to mean another one.
final class ReferencedProcess: Sendable {
    private struct State {
        var hasEnded = false
        var actions: [UInt64: @Sendable () -> Void] = [:]
        var nextKey: UInt64 = 1
    }

    let handle: PeerProcessHandle
    /// Whether the system tells of the end. Where it does not, ask `handle.isAlive` now and then.
    let tellsEnd: Bool
    private let state: NIOLockedValueBox<State>
    private let released: @Sendable () -> Void

    init(_ handle: PeerProcessHandle, released: @escaping @Sendable () -> Void) {
        let state = NIOLockedValueBox(State())
        self.handle = handle
        self.state = state
        self.released = released
        self.tellsEnd = handle.whenEnded {
            let actions = state.withLockedValue { state in
                state.hasEnded = true
                defer { state.actions = [:] }
                return state.actions
            }
            for action in actions.values { action() }
        }
    }

    deinit { self.released() }

    /// Has the action run when the process ends, on any thread.
    ///
    /// - Parameter action: Must not wait.
    /// - Returns: What to give to ``forget(_:)``; nil when the process has ended already.
    func whenEnded(_ action: @escaping @Sendable () -> Void) -> UInt64? {
        let key = self.state.withLockedValue { state -> UInt64? in
            if state.hasEnded { return nil }
            defer { state.nextKey += 1 }
            state.actions[state.nextKey] = action
            return state.nextKey
        }
        return key
    }

    /// The action will not begin any more.
    func forget(_ key: UInt64) {
        // Let go of outside the lock: with the action goes what it owns.
        let action = self.state.withLockedValue { $0.actions.removeValue(forKey: key) }
        _ = action
    }
}

/// A process that a broker refers to, in the form in which the rules and the attestors know processes.
struct ReferencedWorkload: WorkloadProcess {
    let process: ReferencedProcess
    /// Effective user ID when the call was made.
    let uid: UInt32

    /// - Throws: ``BrokerRefusal`` `notFound` when the process has ended.
    init(_ process: ReferencedProcess) throws(BrokerRefusal) {
        guard let ids = process.handle.currentIDs(), ids.count > 1, process.handle.isAlive else {
            throw .notFound(process.handle.pid)
        }
        self.process = process
        self.uid = ids[1]
    }

    var pid: Int32 { self.process.handle.pid }
    var startTime: UInt64 { self.process.handle.startTime }
    var isAlive: Bool { self.process.handle.isAlive }

    /// A reference names a process, whatever program it runs: there is no connection that could be in other
    /// hands. That the program does not change while it is looked at, and afterwards, is seen to elsewhere.
    func isConnector(_ now: ProcessFingerprint) -> Bool { true }

    func fingerprint() -> ProcessFingerprint? { self.process.handle.fingerprint() }

    func watchEnd(_ action: @escaping @Sendable () -> Void) -> (any Sendable)? {
        guard self.process.tellsEnd else { return nil }
        // The action goes with the process, which is held from here.
        if self.process.whenEnded(action) == nil { action() }
        return self.process
    }
}
