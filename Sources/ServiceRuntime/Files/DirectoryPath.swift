#if canImport(Glibc)
    import Glibc
#else
    import Darwin
#endif

/// Makes directories.
package enum DirectoryPath {
    /// Makes a directory and those above it, as far as they are missing.
    ///
    /// - Parameters:
    ///   - path: The directory. An existing one keeps its mode.
    ///   - mode: Permission bits of the directories made here, subject to the umask.
    /// - Throws: ``FileError`` when one cannot be made or the path is something else than a directory.
    package static func make(_ path: String, mode: UInt32) throws(FileError) {
        if DirectoryPath.isDirectory(path) { return }
        let parent = AtomicFile.directory(of: path)
        if parent != path, parent != "." { try DirectoryPath.make(parent, mode: mode) }
        if mkdir(path, mode_t(mode)) == 0 { return }
        let number = errno
        if number == EEXIST, DirectoryPath.isDirectory(path) { return }
        throw FileError(errno: number, "make directory", path)
    }

    /// Whether a directory is at the path.
    package static func isDirectory(_ path: String) -> Bool {
        var status = stat()
        return stat(path, &status) == 0 && status.st_mode & S_IFMT == S_IFDIR
    }
}

/// The process's default permissions.
package enum ProcessMask {
    /// Takes at least group write and everything for others away from files made from now on, as umask
    /// 027 does; a stricter mask stays.
    package static func tighten() {
        let previous = umask(0o027)
        _ = umask(previous | 0o027)
    }
}
