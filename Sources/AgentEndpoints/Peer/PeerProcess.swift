import AgentCore
package import PluginAPI
package import SPIFFEGRPC

/// A process that is given its identities, by itself or by a broker that acts for it.
protocol WorkloadProcess: ServedProcess {}

/// The process behind a connection, in the form in which the rules and the attestors know
/// processes.
package struct PeerProcess: ServedProcess, WorkloadProcess {
    private let handle: PeerProcessHandle
    /// Effective user ID when the process connected.
    package let uid: UInt32
    /// Effective group ID when the process connected.
    private let gid: UInt32

    package init(_ peer: LocalPeer) {
        self.handle = peer.process
        self.uid = peer.uid
        self.gid = peer.gid
    }

    package var pid: Int32 { self.handle.pid }
    package var startTime: UInt64 { self.handle.startTime }
    package var isAlive: Bool { self.handle.isAlive }

    /// A setuid program shows itself by its user also where we may not see which file runs. Root may
    /// become anybody: whatever it then claims, it could have had.
    package func isConnector(_ now: ProcessFingerprint) -> Bool {
        if self.uid != 0, now.ids[1] != self.uid || now.ids[5] != self.gid { return false }
        guard let initial = self.handle.initialExecutable else { return true }
        guard let executable = now.executable else { return false }
        return initial == (executable.device, executable.inode)
    }

    package func fingerprint() -> ProcessFingerprint? { self.handle.fingerprint() }

    package func watchEnd(_ action: @escaping @Sendable () -> Void) -> (any Sendable)? {
        self.handle.whenEnded(action) ? self.handle : nil
    }
}

extension PeerProcessHandle {
    /// The facts that the process can change without becoming another one; nil when it has ended.
    func fingerprint() -> ProcessFingerprint? {
        guard let ids = self.currentIDs() else { return nil }
        let executable = self.executable().map {
            ProcessFingerprint.Executable(device: $0.device, inode: $0.inode, path: $0.path)
        }
        return ProcessFingerprint(executable: executable, ids: ids)
    }
}
