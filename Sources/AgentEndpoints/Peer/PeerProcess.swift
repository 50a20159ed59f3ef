package import PluginAPI
package import SPIFFEGRPC

/// The process behind a connection, in the form in which the rules and the attestors know
/// processes.
package struct PeerProcess: ProcessReference {
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

    /// Another program, or another user than the one that connected: a setuid program shows itself
    /// this way also where we may not see which file runs. Root may become anybody: whatever it
    /// then claims, it could have had.
    package var hasChangedProgram: Bool {
        if self.uid != 0, let ids = self.handle.currentIDs(),
            ids[1] != self.uid || ids[5] != self.gid
        {
            return true
        }
        guard let initial = self.handle.initialExecutable else { return false }
        guard let now = self.handle.executable() else { return true }
        return initial != (now.device, now.inode)
    }

    package func fingerprint() -> ProcessFingerprint? {
        guard let ids = self.handle.currentIDs() else { return nil }
        let executable = self.handle.executable().map {
            ProcessFingerprint.Executable(device: $0.device, inode: $0.inode, path: $0.path)
        }
        return ProcessFingerprint(executable: executable, ids: ids)
    }
}
