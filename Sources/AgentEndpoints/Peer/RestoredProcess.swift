import AgentCore
import PluginAPI
import SPIFFEGRPC

/// A process that was served before the agent was started again: held, to be watched, and with no connection.
struct RestoredProcess: ServedProcess {
    private let handle: PeerProcessHandle
    /// Effective user ID when the agent took hold of it again.
    let uid: UInt32

    /// Takes hold of the process that has the number now; nil when there is none, or it cannot be held. Whether it is the
    /// one that was meant, `startTime` says.
    init?(pid: Int32) {
        guard let handle = try? PeerProcessHandle(socketDescriptor: nil, pid: pid),
            let ids = handle.currentIDs(), ids.count > 1
        else { return nil }
        self.handle = handle
        self.uid = ids[1]
    }

    var pid: Int32 { self.handle.pid }
    var startTime: UInt64 { self.handle.startTime }
    var isAlive: Bool { self.handle.isAlive }

    func isConnector(_ now: ProcessFingerprint) -> Bool { true }
    func fingerprint() -> ProcessFingerprint? { self.handle.fingerprint() }

    func watchEnd(_ action: @escaping @Sendable () -> Void) -> (any Sendable)? {
        self.handle.whenEnded(action) ? self.handle : nil
    }
}
