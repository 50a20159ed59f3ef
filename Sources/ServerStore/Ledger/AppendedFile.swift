#if canImport(Glibc)
    import Glibc
#elseif canImport(Darwin)
    import Darwin
#endif

/// A file that is open for appending, with zeros written ahead of what is appended.
///
/// A sync of bytes that take the place of others is one write of the disk; one that makes the file longer is two, because
/// its length is synced too, and costs two thirds more. So the file is longer than what is in it: what reads it must know
/// where its end is. Whoever begins writing it anew starts without zeros.
struct AppendedFile {
    /// How many zeros are written at a time, in bytes.
    static let reserve = 1 << 20

    let path: String
    let descriptor: CInt
    /// Where the next bytes go.
    private var end: off_t
    /// How long the file is; there are zeros from `end` to here.
    private var length: off_t
    /// Whether zeros are written; not any more once there was no room for them.
    private var reserves = true

    /// Opens a file that exists and has nothing but what was put into it.
    ///
    /// - Returns: nil with the reason in `errno`.
    init?(path: String) {
        let descriptor = open(path, O_WRONLY | O_CLOEXEC | O_NOFOLLOW)
        guard descriptor >= 0 else { return nil }
        var status = stat()
        guard fstat(descriptor, &status) == 0 else {
            let reason = errno
            Self.close(descriptor)
            errno = reason
            return nil
        }
        self.path = path
        self.descriptor = descriptor
        self.end = status.st_size
        self.length = status.st_size
    }

    /// Appends bytes and makes them durable.
    ///
    /// - Throws: ``LedgerStorageError``. What is in the file then is open, and nothing may be appended any more.
    mutating func append(_ bytes: [UInt8]) throws(LedgerStorageError) {
        // What is appended to a file that somebody removed is gone with the next start.
        var status = stat()
        guard fstat(self.descriptor, &status) == 0, status.st_nlink > 0 else {
            throw LedgerStorageError("\(self.path) was removed")
        }
        guard self.write(bytes, at: self.end) else { throw self.failure("append to") }
        self.end += off_t(bytes.count)
        if self.end > self.length { self.lengthen() }
        #if canImport(Darwin)
            let isSynced = fcntl(self.descriptor, F_FULLFSYNC) == 0
        #else
            let isSynced = fdatasync(self.descriptor) == 0
        #endif
        guard isSynced else { throw self.failure("sync") }
    }

    /// Ends the use of the file.
    func close() { Self.close(self.descriptor) }

    // MARK: Parts

    /// Writes zeros behind what is there. Where there is no room for them it goes on without.
    private mutating func lengthen() {
        self.length = self.end
        guard self.reserves else { return }
        let zeros = [UInt8](repeating: 0, count: Self.reserve)
        if self.write(zeros, at: self.end) {
            self.length += off_t(zeros.count)
        } else {
            // What is left of the room is for others. A file that stays longer is as good.
            _ = ftruncate(self.descriptor, self.end)
            self.reserves = false
        }
    }

    private func write(_ bytes: [UInt8], at place: off_t) -> Bool {
        bytes.withUnsafeBytes { buffer in
            var offset = 0
            while offset < buffer.count {
                let count = pwrite(
                    self.descriptor, buffer.baseAddress.map { $0 + offset },
                    buffer.count - offset, place + off_t(offset))
                if count < 0 && errno == EINTR { continue }
                if count <= 0 { return false }
                offset += count
            }
            return true
        }
    }

    private func failure(_ what: String) -> LedgerStorageError {
        LedgerStorageError("cannot \(what) \(self.path): \(String(cString: strerror(errno)))")
    }

    private static func close(_ descriptor: CInt) {
        #if canImport(Glibc)
            _ = Glibc.close(descriptor)
        #else
            _ = Darwin.close(descriptor)
        #endif
    }
}
