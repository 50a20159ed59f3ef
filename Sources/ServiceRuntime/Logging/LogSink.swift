import NIOConcurrencyHelpers

#if canImport(Glibc)
    import Glibc
#else
    import Darwin
#endif

/// The end of the log: a file that can be reopened after rotation, or standard error.
///
/// Each line is one `write`, so lines of several threads do not mix. A line that cannot be written is
/// dropped: a full disk must not stop the daemon.
package final class LogSink: Sendable {
    private let path: String?
    private let descriptor: NIOLockedValueBox<CInt>

    /// Standard error.
    package init() {
        self.path = nil
        self.descriptor = NIOLockedValueBox(STDERR_FILENO)
    }

    /// A file, made with mode 0640 when it is missing and appended to otherwise.
    ///
    /// - Throws: ``FileError`` when it cannot be opened.
    package init(file: String) throws(FileError) {
        self.path = file
        self.descriptor = NIOLockedValueBox(try LogSink.open(file))
    }

    deinit {
        if self.path != nil { _ = close(self.descriptor.withLockedValue { $0 }) }
    }

    /// Opens the file anew, for use after its old name was moved away. Does nothing on standard error.
    ///
    /// - Throws: ``FileError``; lines then go on to the old file.
    package func reopen() throws(FileError) {
        guard let path = self.path else { return }
        let fresh = try LogSink.open(path)
        let old = self.descriptor.withLockedValue { descriptor in
            let old = descriptor
            descriptor = fresh
            return old
        }
        _ = close(old)
    }

    /// Writes a line; the line break is added here.
    package func write(line: String) {
        let bytes = Array(line.utf8) + [UInt8(ascii: "\n")]
        self.descriptor.withLockedValue { descriptor in
            var written = 0
            while written < bytes.count {
                let count = bytes[written...].withUnsafeBytes {
                    DescriptorCalls.write(descriptor, $0)
                }
                if count < 0 {
                    if errno == EINTR { continue }
                    return
                }
                written += count
            }
        }
    }

    private static func open(_ path: String) throws(FileError) -> CInt {
        let descriptor = DescriptorCalls.openForAppending(path, mode: 0o640)
        guard descriptor >= 0 else { throw FileError(errno: errno, "open log file", path) }
        return descriptor
    }
}
