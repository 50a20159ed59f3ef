import Foundation
package import PluginAPI
package import SPIFFE

#if canImport(Glibc)
    import Glibc
#elseif canImport(Darwin)
    import Darwin
#endif

/// Publishes the bundle as a file that readers always find whole: written beside, synced, and renamed.
package struct FileBundlePublisher: BundlePublisher {
    /// The keys of `BundlePublisher "file"`.
    package struct Settings: Sendable, Hashable {
        /// The file; its folder must exist.
        package var path: String
        package var format: BundleFormat
        package var refreshHint: Duration?

        package init(path: String, format: BundleFormat, refreshHint: Duration? = nil) {
            self.path = path
            self.format = format
            self.refreshHint = refreshHint
        }
    }

    package let name = "file"
    package var destination: String { self.settings.path }
    private let settings: Settings

    package init(_ settings: Settings) { self.settings = settings }

    /// The file's mode is 0644, whatever the umask: bundles are public.
    package func publish(_ bundle: SPIFFEBundle) async throws {
        let bytes = try self.settings.format.document(
            bundle, refreshHint: self.settings.refreshHint)
        try Self.replace(self.settings.path, bytes)
    }

    private static func replace(_ path: String, _ bytes: [UInt8]) throws(BundlePublisherError) {
        func failure(_ step: String) -> BundlePublisherError {
            BundlePublisherError(
                .refused,
                "cannot \(step) \(PublisherText.quoted(path)): \(String(cString: strerror(errno)))")
        }
        let temporary = "\(path).\(getpid()).\(UInt32.random(in: 0...UInt32.max)).tmp"
        let flags = O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW
        let descriptor = open(temporary, flags, mode_t(0o600))
        guard descriptor >= 0 else { throw failure("create a file beside") }
        do throws(BundlePublisherError) {
            defer { close(descriptor) }
            var written = 0
            while written < bytes.count {
                let count = bytes[written...].withUnsafeBytes {
                    write(descriptor, $0.baseAddress, $0.count)
                }
                if count < 0 {
                    if errno == EINTR { continue }
                    throw failure("write")
                }
                written += count
            }
            guard fchmod(descriptor, mode_t(0o644)) == 0 else { throw failure("set the mode of") }
            guard fsync(descriptor) == 0 else { throw failure("flush") }
        } catch {
            unlink(temporary)
            throw error
        }
        guard rename(temporary, path) == 0 else {
            let error = failure("replace")
            unlink(temporary)
            throw error
        }
        let slash = path.lastIndex(of: "/")
        let folder = slash.map { $0 == path.startIndex ? "/" : String(path[..<$0]) } ?? "."
        let directory = open(folder, O_RDONLY | O_CLOEXEC | O_DIRECTORY)
        guard directory >= 0 else { throw failure("open the folder of") }
        defer { close(directory) }
        // Some file systems cannot flush folders and say EINVAL.
        guard fsync(directory) == 0 || errno == EINVAL else { throw failure("flush the folder of") }
    }
}
