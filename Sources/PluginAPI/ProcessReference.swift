/// One process, held in such a way that its number cannot come to mean another process.
///
/// Whoever gathers facts by number asks ``isAlive`` afterwards: if it is still true, the facts were
/// about this process.
package protocol ProcessReference: Sendable {
    /// The process's number; only meaningful while ``isAlive``.
    var pid: Int32 { get }
    /// When it was started, in the kernel's unit; `pid` and `startTime` name a process for good.
    var startTime: UInt64 { get }
    /// Whether it still runs. Once false, always false.
    var isAlive: Bool { get }
    /// Whether a process with these facts is still what connected: the same program, for the same user.
    /// Another one must not speak for the connection (`exec` after `connect`): some other process may
    /// hold the socket.
    func isConnector(_ now: ProcessFingerprint) -> Bool
    /// The facts that a process can change without becoming another process; nil when it has ended.
    ///
    /// Cheap: asked on every call of a workload.
    func fingerprint() -> ProcessFingerprint?
}

/// What `exec`, `setuid` and their kin change. Equal fingerprints mean that what was attested about
/// the process still holds.
package struct ProcessFingerprint: Hashable, Sendable {
    /// The program file; nil when we may not see it.
    package struct Executable: Hashable, Sendable {
        package let device: UInt64
        package let inode: UInt64
        package let path: String

        package init(device: UInt64, inode: UInt64, path: String) {
            self.device = device
            self.inode = inode
            self.path = path
        }
    }

    package let executable: Executable?
    /// Real, effective, saved and file system user ID, then the four group IDs.
    package let ids: [UInt32]

    package init(executable: Executable?, ids: [UInt32]) {
        self.executable = executable
        self.ids = ids
    }

    /// Whether the process runs the same program for the same user. Unlike equality this does not
    /// mind that the program file was renamed or removed meanwhile.
    package func isSameProgramAndUser(as other: ProcessFingerprint) -> Bool {
        self.ids == other.ids && self.executable?.device == other.executable?.device
            && self.executable?.inode == other.executable?.inode
    }
}
