#if canImport(Glibc)
    import Glibc
#else
    import Darwin
#endif

/// A path at which a Unix socket is about to be, or has been, bound.
package struct UnixSocketPath: Sendable, Hashable {
    /// The path as configured.
    package let path: String

    /// - Throws: ``FileError`` with `tooLarge` when the path has more bytes than a socket address holds
    ///   (107 on Linux, 103 on macOS).
    package init(_ path: String) throws(FileError) {
        let limit = MemoryLayout.size(ofValue: sockaddr_un().sun_path) - 1
        if path.isEmpty || path.utf8.contains(0) {
            throw FileError(
                .unsafe, "socket path \(QuotedText.quoted(path)) is empty or has a NUL byte")
        }
        if path.utf8.count > limit {
            throw FileError(
                .tooLarge,
                "socket path \(QuotedText.quoted(path)) has \(path.utf8.count) bytes; at most \(limit) fit"
            )
        }
        self.path = path
    }

    /// Makes the path ready for `bind`: makes its directory and removes a socket nobody listens on.
    ///
    /// - Parameter directoryMode: Permission bits of directories made here: 0750 for the server's, 0755
    ///   for the Workload API's. They are set whatever the umask; existing directories stay as they are.
    /// - Throws: ``FileError``; `inUse` when a process still listens there, `unsafe` when something else
    ///   than a socket is at the path.
    package func prepare(directoryMode: UInt32) throws(FileError) {
        let directory = AtomicFile.directory(of: self.path)
        if !DirectoryPath.isDirectory(directory) {
            try DirectoryPath.make(directory, mode: directoryMode)
            guard chmod(directory, mode_t(directoryMode)) == 0 else {
                throw FileError(errno: errno, "set the mode of", directory)
            }
        }
        var status = stat()
        guard lstat(self.path, &status) == 0 else {
            if errno == ENOENT { return }
            throw FileError(errno: errno, "examine", self.path)
        }
        guard status.st_mode & S_IFMT == S_IFSOCK else {
            throw FileError(
                .unsafe,
                "\(QuotedText.quoted(self.path)) is no socket; remove it or choose another path")
        }
        if try self.isListening() {
            throw FileError(
                .inUse,
                "another process listens on \(QuotedText.quoted(self.path)); stop it or choose another path"
            )
        }
        guard unlink(self.path) == 0 || errno == ENOENT else {
            throw FileError(errno: errno, "remove", self.path)
        }
    }

    /// Sets the permission bits of the bound socket; until then the umask decides who may connect.
    package func setMode(_ mode: UInt32) throws(FileError) {
        guard chmod(self.path, mode_t(mode)) == 0 else {
            throw FileError(errno: errno, "set the mode of", self.path)
        }
    }

    /// Whether a process accepts connections at a path; false also when that cannot be found out.
    package static func isListening(_ path: String) -> Bool {
        do { return try UnixSocketPath(path).isListening() } catch { return false }
    }

    private func isListening() throws(FileError) -> Bool {
        #if canImport(Darwin)
            let descriptor = socket(AF_UNIX, SOCK_STREAM, 0)
        #else
            let type =
                CInt(SOCK_STREAM.rawValue) | CInt(SOCK_CLOEXEC.rawValue)
                | CInt(SOCK_NONBLOCK.rawValue)
            let descriptor = socket(AF_UNIX, type, 0)
        #endif
        guard descriptor >= 0 else { throw FileError(errno: errno, "make a socket for", self.path) }
        defer { _ = close(descriptor) }
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: self.path.utf8) }
        let result = withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { generic in
                connect(descriptor, generic, socklen_t(MemoryLayout<sockaddr_un>.size))
            }
        }
        if result == 0 { return true }
        switch errno {
        case ECONNREFUSED, ENOENT: return false
        // EAGAIN: its queue of connections is full, so somebody holds it.
        default: return true
        }
    }
}
