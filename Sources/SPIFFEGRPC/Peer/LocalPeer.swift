import CPeer
import NIOConcurrencyHelpers

#if canImport(Glibc)
    import Glibc
#elseif canImport(Darwin)
    import Darwin
#endif

/// The process at the other end of a Unix socket, as the kernel names it.
///
/// Made once per connection, at accept. Copies share one handle, so a connection
/// costs one descriptor beside its socket.
public struct LocalPeer: Sendable {
    /// The number of the process that called `connect`, in our PID namespace.
    public let pid: Int32
    /// Its effective user ID at `connect`.
    public let uid: UInt32
    /// Its effective group ID at `connect`.
    public let gid: UInt32
    /// Holds on to the process itself, which its number alone does not do: numbers are used again.
    package let process: PeerProcessHandle

    /// Asks the kernel who connected.
    ///
    /// - Parameter socketDescriptor: An accepted Unix socket; only read from, never kept.
    /// - Throws: ``LocalPeerError`` when the socket names no process or the process has already
    ///   ended.
    package init(socketDescriptor: CInt) throws(LocalPeerError) {
        var pid: Int32 = 0
        var uid: UInt32 = 0
        var gid: UInt32 = 0
        let result = cygnet_peer_credentials(socketDescriptor, &pid, &uid, &gid)
        if result != 0 {
            throw LocalPeerError(.noCredentials, "cannot read the peer's credentials", result)
        }
        if pid <= 0 {
            throw LocalPeerError(
                .noCredentials,
                "the peer has no process number here; it runs in a PID namespace we cannot see", 0)
        }
        self.pid = pid
        self.uid = uid
        self.gid = gid
        self.process = try PeerProcessHandle(socketDescriptor: socketDescriptor, pid: pid)
    }

    /// Whether the process that connected is still running. Once false, always false.
    public var isAlive: Bool { self.process.isAlive }
}

/// A hold on one process, not on its number.
///
/// On Linux a pidfd, taken from the socket where the kernel can (6.5 and later), else opened by
/// number; elsewhere the number together with the start time. The start time is read at the
/// beginning in all cases, so that facts gathered by number can be tied to this process. What the
/// descriptor is taken from is ``PeerDescriptor``'s to decide.
package final class PeerProcessHandle: Sendable {
    /// The process's number; only meaningful while ``isAlive``.
    package let pid: Int32
    /// When the process was started, in the kernel's unit. With `pid` it names a process for good.
    package let startTime: UInt64
    /// -1 where the system has no such thing.
    private let pidfd: CInt
    /// The program that ran when this handle was made: at accept, before a byte was read. Nil when
    /// we may not see it. A process that runs another program later connected as this one, so it
    /// must not be taken for the other.
    package let initialExecutable: (device: UInt64, inode: UInt64)?
    /// What ``ProcessEnds`` knows this handle by.
    private let watch = NIOLockedValueBox<UInt64?>(nil)

    /// - Parameters:
    ///   - socketDescriptor: The accepted socket, or nil to take hold of a process by its number
    ///     (tests, and references that name a PID).
    ///   - pid: The number the kernel gave for the socket.
    package init(socketDescriptor: CInt?, pid: Int32) throws(LocalPeerError) {
        let descriptor = try PeerDescriptor().take(socketDescriptor: socketDescriptor, pid: pid)
        var startTime: UInt64 = 0
        let read = cygnet_process_start_time(pid, &startTime)
        // Read first, look second: if the process lives after the reading, the reading is about it.
        let ended = descriptor.map { cygnet_pidfd_has_ended($0) } ?? 0
        if read != 0 || ended != 0 {
            if let descriptor { close(descriptor) }
            throw LocalPeerError(.processEnded, "the process that connected has ended", read)
        }
        self.pid = pid
        self.startTime = startTime
        self.pidfd = descriptor ?? -1
        self.initialExecutable = Self.executable(of: pid).map { ($0.device, $0.inode) }
    }

    deinit {
        if let watch = self.watch.withLockedValue({ $0 }) { ProcessEnds.shared.forget(watch) }
        if self.pidfd >= 0 { close(self.pidfd) }
    }

    /// Has an action run once when the process ends, on a thread of the watcher's; at once when it has ended
    /// already. May be called once.
    ///
    /// - Parameter action: Must not wait. May still run just after the handle is gone.
    /// - Returns: False where the system cannot tell; ask ``isAlive`` now and then.
    package func whenEnded(_ action: @escaping @Sendable () -> Void) -> Bool {
        guard self.pidfd >= 0, let watch = ProcessEnds.shared.watch(self.pidfd, action) else {
            return false
        }
        self.watch.withLockedValue { $0 = watch }
        return true
    }

    /// The user and group IDs the process has now: real, effective, saved and file system user ID,
    /// then the same four group IDs. Nil when it has ended.
    package func currentIDs() -> [UInt32]? {
        let ids = [UInt32](unsafeUninitializedCapacity: 8) { buffer, count in
            let result = cygnet_current_ids(self.pidfd, self.pid, buffer.baseAddress)
            count = result == 0 ? 8 : 0
        }
        return ids.isEmpty ? nil : ids
    }

    /// The file that the process runs now, with the path the kernel knows it by; nil when it has
    /// ended or we may not see it.
    package func executable() -> (device: UInt64, inode: UInt64, path: String)? {
        Self.executable(of: self.pid)
    }

    private static func executable(
        of pid: Int32
    ) -> (device: UInt64, inode: UInt64, path: String)? {
        var file = cygnet_executable()
        return withUnsafeTemporaryAllocation(of: CChar.self, capacity: 4097) { path in
            guard let base = path.baseAddress,
                cygnet_process_executable(pid, &file, base, UInt32(path.count)) == 0
            else { return nil }
            return (file.device, file.inode, String(cString: base))
        }
    }

    /// Whether the process still runs; a zombie does not. A process that has ended never comes
    /// back.
    package var isAlive: Bool {
        if self.pidfd >= 0 { return cygnet_pidfd_has_ended(self.pidfd) == 0 }
        var now: UInt64 = 0
        return cygnet_process_start_time(self.pid, &now) == 0 && now == self.startTime
    }
}

/// Why the peer of a Unix socket could not be named.
public struct LocalPeerError: Error, Hashable, Sendable, CustomStringConvertible {
    /// What went wrong; compare this.
    public struct Code: Hashable, Sendable {
        private enum Value: Hashable, Sendable { case noCredentials, processEnded, noHandle }
        private let value: Value
        private init(_ value: Value) { self.value = value }
        /// The kernel names no process for the socket.
        public static let noCredentials = Code(.noCredentials)
        /// The process that connected is gone, so nothing true can be said about it any more.
        public static let processEnded = Code(.processEnded)
        /// The process is there but cannot be held on to (descriptors used up, no permission).
        public static let noHandle = Code(.noHandle)
    }

    /// What went wrong; compare this.
    public let code: Code
    /// The same for people.
    public let message: String

    init(_ code: Code, _ message: String, _ negativeErrno: CInt) {
        self.code = code
        self.message =
            negativeErrno < 0 ? message + ": " + String(cString: strerror(-negativeErrno)) : message
    }

    public var description: String { self.message }
}
