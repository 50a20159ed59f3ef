import Foundation
import NIOConcurrencyHelpers

#if canImport(Glibc)
    import Glibc
#elseif canImport(Darwin)
    import Darwin
#endif

/// A ledger's files in a folder of this machine: folders 0700, files 0600.
package final class DiskStorage: LedgerStorage {
    private struct State {
        /// Open for appending, with its path here.
        var appending: (path: String, file: AppendedFile)?
        /// Folders known to exist.
        var folders: Set<String> = []
        /// Files and folders that may not be durable yet.
        var unsyncedFiles: Set<String> = []
        var unsyncedFolders: Set<String> = []
    }

    private let folder: String
    private let state = NIOLockedValueBox(State())

    /// Makes the folder if there is none; the one above it must exist.
    ///
    /// - Throws: ``LedgerStorageError``, also when there is something else in its place.
    package init(folder: String) throws(LedgerStorageError) {
        self.folder = folder
        guard mkdir(folder, 0o700) == 0 || errno == EEXIST else {
            throw Self.failure("make", folder)
        }
        // Whoever made it, its name must outlive a power failure.
        try Self.syncFolder((folder as NSString).deletingLastPathComponent)
        var status = stat()
        guard lstat(folder, &status) == 0 else { throw Self.failure("read", folder) }
        guard status.st_mode & S_IFMT == S_IFDIR else {
            throw LedgerStorageError("\(folder) is not a folder")
        }
        guard chmod(folder, 0o700) == 0 else { throw Self.failure("protect", folder) }
    }

    deinit { self.closeAppending() }

    package func read(_ path: String, limit: Int) throws(LedgerStorageError) -> [UInt8]? {
        let file = self.place(path)
        let descriptor = open(file, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK)
        guard descriptor >= 0 else {
            if errno == ENOENT || errno == ENOTDIR { return nil }
            throw Self.failure("open", file)
        }
        defer { close(descriptor) }
        var status = stat()
        guard fstat(descriptor, &status) == 0, status.st_mode & S_IFMT == S_IFREG else {
            throw LedgerStorageError("\(file) is not a file")
        }
        guard status.st_size <= limit else {
            throw LedgerStorageError("\(file) has \(status.st_size) bytes; at most \(limit)")
        }
        var failed: CInt = 0
        let bytes = [UInt8](unsafeUninitializedCapacity: Int(status.st_size)) { buffer, count in
            while count < buffer.count {
                let got = Self.System.read(
                    descriptor, buffer.baseAddress.map { $0 + count }, buffer.count - count)
                if got < 0 && errno == EINTR { continue }
                if got < 0 { failed = errno }
                if got <= 0 { break }
                count += got
            }
        }
        guard failed == 0 else { throw Self.failure("read", file, failed) }
        return bytes
    }

    package func contains(_ path: String) throws(LedgerStorageError) -> Bool {
        let file = self.place(path)
        var status = stat()
        if lstat(file, &status) == 0 { return true }
        guard errno == ENOENT || errno == ENOTDIR else { throw Self.failure("read", file) }
        return false
    }

    package func append(_ bytes: [UInt8], to path: String) throws(LedgerStorageError) {
        // One caller at a time: nobody else has the file while it is out of the state.
        var file = try self.takeAppended(path)
        do throws(LedgerStorageError) {
            try file.append(bytes)
        } catch {
            file.close()
            throw error
        }
        self.state.withLockedValue { $0.appending = (path, file) }
    }

    package func replace(
        _ path: String, with bytes: [UInt8], isDurable: Bool
    ) throws(LedgerStorageError) {
        let file = self.place(path)
        let parent = (path as NSString).deletingLastPathComponent
        try self.make(parent)
        let temporary = file + ".tmp"
        let descriptor = open(
            temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0o600)
        guard descriptor >= 0 else { throw Self.failure("create", temporary) }
        // What is durable is never replaced by what is not.
        let syncs = isDurable || access(file, F_OK) == 0
        guard Self.write(bytes, to: descriptor), !syncs || fsync(descriptor) == 0 else {
            let reason = errno
            close(descriptor)
            // Gives space back on a disk that is full.
            unlink(temporary)
            throw Self.failure("write", file, reason)
        }
        guard close(descriptor) == 0 else { throw Self.failure("close", file) }
        guard rename(temporary, file) == 0 else { throw Self.failure("replace", file) }
        let isOpen = self.state.withLockedValue { state in
            if !isDurable {
                state.unsyncedFiles.insert(path)
                state.unsyncedFolders.insert(parent)
            }
            return state.appending?.path == path
        }
        if isOpen { self.closeAppending() }
        if isDurable { try Self.syncFolder(self.place(parent)) }
    }

    package func sync() throws(LedgerStorageError) {
        let (files, folders) = self.state.withLockedValue { state in
            defer {
                state.unsyncedFiles = []
                state.unsyncedFolders = []
            }
            return (state.unsyncedFiles, state.unsyncedFolders)
        }
        do throws(LedgerStorageError) {
            for path in files { try Self.syncIfThere(self.place(path)) }
            // The deepest first, so that a name never leads to nothing.
            for path in folders.sorted(by: { $0.utf8.count > $1.utf8.count }) {
                try Self.syncIfThere(self.place(path))
            }
        } catch {
            self.state.withLockedValue { state in
                state.unsyncedFiles.formUnion(files)
                state.unsyncedFolders.formUnion(folders)
            }
            throw error
        }
    }

    package func removeFolder(_ path: String) throws(LedgerStorageError) {
        let place = self.place(path)
        guard try self.contains(path) else { return }
        self.state.withLockedValue { state in
            state.folders.remove(path)
            state.unsyncedFolders.remove(path)
            state.unsyncedFiles = state.unsyncedFiles.filter { !$0.hasPrefix(path + "/") }
        }
        do {
            for name in try FileManager.default.contentsOfDirectory(atPath: place) {
                unlink(place + "/" + name)
            }
        } catch {
            throw LedgerStorageError("cannot read \(place): \(error.localizedDescription)")
        }
        guard rmdir(place) == 0 else { throw Self.failure("remove", place) }
    }

    // MARK: Parts

    private func place(_ path: String) -> String {
        path.isEmpty ? self.folder : self.folder + "/" + path
    }

    /// The file that is open for appending, or this one opened.
    private func takeAppended(_ path: String) throws(LedgerStorageError) -> AppendedFile {
        let open = self.state.withLockedValue { state in
            defer { state.appending = nil }
            return state.appending
        }
        if let open, open.path == path { return open.file }
        open?.file.close()
        let place = self.place(path)
        guard let file = AppendedFile(path: place) else { throw Self.failure("open", place) }
        return file
    }

    private func closeAppending() {
        let open = self.state.withLockedValue { state in
            defer { state.appending = nil }
            return state.appending
        }
        open?.file.close()
    }

    /// Makes a folder and those above it, and notes them for the next sync.
    private func make(_ path: String) throws(LedgerStorageError) {
        guard !path.isEmpty, !self.state.withLockedValue({ $0.folders.contains(path) }) else {
            return
        }
        let parent = (path as NSString).deletingLastPathComponent
        try self.make(parent)
        guard mkdir(self.place(path), 0o700) == 0 || errno == EEXIST else {
            throw Self.failure("make", self.place(path))
        }
        self.state.withLockedValue { state in
            state.folders.insert(path)
            state.unsyncedFolders.insert(parent)
        }
    }

    private static func write(_ bytes: [UInt8], to descriptor: CInt) -> Bool {
        bytes.withUnsafeBytes { buffer in
            var offset = 0
            while offset < buffer.count {
                let count = Self.System.write(
                    descriptor, buffer.baseAddress.map { $0 + offset }, buffer.count - offset)
                if count < 0 && errno == EINTR { continue }
                if count <= 0 { return false }
                offset += count
            }
            return true
        }
    }

    private static func syncFolder(_ path: String) throws(LedgerStorageError) {
        try self.syncIfThere(path.isEmpty ? "." : path)
    }

    /// What was removed meanwhile needs no sync.
    private static func syncIfThere(_ path: String) throws(LedgerStorageError) {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW)
        guard descriptor >= 0 else {
            if errno == ENOENT { return }
            throw self.failure("open", path)
        }
        defer { close(descriptor) }
        guard fsync(descriptor) == 0 else { throw self.failure("sync", path) }
    }

    private static func failure(
        _ what: String, _ path: String, _ reason: CInt = errno
    ) -> LedgerStorageError {
        LedgerStorageError("cannot \(what) \(path): \(String(cString: strerror(reason)))")
    }

    /// The system's calls whose names this type uses for its own.
    private enum System {
        static func read(_ file: CInt, _ buffer: UnsafeMutableRawPointer?, _ count: Int) -> Int {
            #if canImport(Glibc)
                Glibc.read(file, buffer, count)
            #else
                Darwin.read(file, buffer, count)
            #endif
        }

        static func write(_ file: CInt, _ buffer: UnsafeRawPointer?, _ count: Int) -> Int {
            #if canImport(Glibc)
                Glibc.write(file, buffer, count)
            #else
                Darwin.write(file, buffer, count)
            #endif
        }
    }
}
