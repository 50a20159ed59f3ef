#if canImport(Glibc)
    import Glibc
#else
    import Darwin
#endif

/// Reads files whose size is bounded.
package enum BoundedFile {
    /// Reads a whole file, or standard input when the path is `-`.
    ///
    /// - Parameters:
    ///   - path: Absolute, or relative to the working directory.
    ///   - limit: The most bytes that are accepted.
    /// - Throws: ``FileError``; `tooLarge` when there is more than `limit`.
    package static func read(_ path: String, limit: Int) throws(FileError) -> [UInt8] {
        let descriptor: CInt
        if path == "-" {
            descriptor = dup(STDIN_FILENO)
        } else {
            // O_NONBLOCK: opening a FIFO that nobody writes to must not hang the program.
            descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
        }
        guard descriptor >= 0 else { throw FileError(errno: errno, "open", path) }
        defer { _ = close(descriptor) }
        var bytes: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 64 * 1024)
        while true {
            let count = buffer.withUnsafeMutableBytes { storage in
                DescriptorCalls.read(descriptor, storage)
            }
            if count < 0 {
                if errno == EINTR { continue }
                throw FileError(errno: errno, "read", path)
            }
            if count == 0 { return bytes }
            if bytes.count + count > limit {
                throw FileError(
                    .tooLarge, "\(QuotedText.quoted(path)) is larger than \(limit) bytes")
            }
            bytes.append(contentsOf: buffer[..<count])
        }
    }
}

/// Replaces files so that after a crash either the old or the new content is there, whole.
package enum AtomicFile {
    /// Writes content durably.
    ///
    /// The bytes go to a new file in the same directory, which is flushed to disk and then renamed over
    /// `path`; at the end the directory is flushed too. When this returns the content survives a power
    /// failure. When it throws before the rename the old file is untouched.
    ///
    /// - Parameters:
    ///   - bytes: The whole content.
    ///   - path: The file to make or replace.
    ///   - mode: Permission bits of the file, whatever the umask.
    /// - Throws: ``FileError`` naming the step that failed.
    package static func write(
        _ bytes: some Sequence<UInt8>, to path: String, mode: UInt32 = 0o600
    ) throws(FileError) {
        let directory = AtomicFile.directory(of: path)
        let temporary = "\(path).\(getpid()).\(UInt32.random(in: 0...UInt32.max)).tmp"
        let flags = O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW
        let descriptor = open(temporary, flags, mode_t(0o600))
        guard descriptor >= 0 else { throw FileError(errno: errno, "create", temporary) }
        do throws(FileError) {
            defer { _ = close(descriptor) }
            try AtomicFile.writeAll(Array(bytes), to: descriptor, path: temporary)
            guard fchmod(descriptor, mode_t(mode)) == 0 else {
                throw FileError(errno: errno, "set the mode of", temporary)
            }
            guard fsync(descriptor) == 0 else { throw FileError(errno: errno, "flush", temporary) }
        } catch {
            _ = unlink(temporary)
            throw error
        }
        guard rename(temporary, path) == 0 else {
            let error = FileError(errno: errno, "rename a new file to", path)
            _ = unlink(temporary)
            throw error
        }
        try AtomicFile.flushDirectory(directory)
    }

    /// Flushes a directory, so that names made or removed in it survive a power failure.
    package static func flushDirectory(_ path: String) throws(FileError) {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_DIRECTORY)
        guard descriptor >= 0 else { throw FileError(errno: errno, "open directory", path) }
        defer { _ = close(descriptor) }
        // Some file systems cannot flush directories and say EINVAL: there is nothing more to do then.
        guard fsync(descriptor) == 0 || errno == EINVAL else {
            throw FileError(errno: errno, "flush directory", path)
        }
    }

    /// Removes a file if it is there, durably.
    package static func remove(_ path: String) throws(FileError) {
        if unlink(path) == 0 {
            return try AtomicFile.flushDirectory(AtomicFile.directory(of: path))
        }
        if errno != ENOENT { throw FileError(errno: errno, "remove", path) }
    }

    /// The directory part of a path; `.` when it has none.
    package static func directory(of path: String) -> String {
        guard let slash = path.utf8.lastIndex(of: UInt8(ascii: "/")) else { return "." }
        return slash == path.utf8.startIndex ? "/" : String(path[..<slash])
    }

    private static func writeAll(
        _ bytes: [UInt8], to descriptor: CInt, path: String
    ) throws(FileError) {
        var written = 0
        while written < bytes.count {
            let count = bytes[written...].withUnsafeBytes { storage in
                DescriptorCalls.write(descriptor, storage)
            }
            if count < 0 {
                if errno == EINTR { continue }
                throw FileError(errno: errno, "write", path)
            }
            written += count
        }
    }
}
