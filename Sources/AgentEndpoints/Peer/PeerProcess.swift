package import PluginAPI
package import SPIFFEGRPC

/// The process behind a connection, in the form in which the rules and the attestors know
/// processes.
package struct PeerProcess: ProcessReference {
    private let handle: PeerProcessHandle
    /// User ID when the process connected; for the log.
    package let uid: UInt32

    package init(_ peer: LocalPeer) {
        self.handle = peer.process
        self.uid = peer.uid
    }

    package var pid: Int32 { self.handle.pid }
    package var startTime: UInt64 { self.handle.startTime }
    package var isAlive: Bool { self.handle.isAlive }

    package var hasChangedProgram: Bool {
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
