import Foundation
import PluginAPI

#if canImport(Glibc)
    import Glibc
#elseif canImport(Darwin)
    import Darwin
#endif

/// Files that publishers read: tokens, certificates, kubeconfigs.
enum PublisherFile {
    /// None of them is larger.
    static let limit = 1024 * 1024

    /// Reads a whole file anew, since all of these are exchanged while the server runs.
    ///
    /// - Parameter what: What the file is, for the message.
    /// - Throws: ``BundlePublisherError`` `configuration`.
    static func read(_ path: String, _ what: String) throws(BundlePublisherError) -> [UInt8] {
        func failure(_ reason: String) -> BundlePublisherError {
            BundlePublisherError(
                .configuration, "cannot read \(what) \(PublisherText.quoted(path)): \(reason)")
        }
        // O_NONBLOCK: opening a FIFO that nobody writes to must not hang the server.
        let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
        guard descriptor >= 0 else { throw failure(String(cString: strerror(errno))) }
        defer { close(descriptor) }
        var bytes: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 16 * 1024)
        while true {
            let count = buffer.withUnsafeMutableBytes { Self.read(descriptor, $0) }
            if count < 0, errno == EINTR { continue }
            guard count >= 0 else { throw failure(String(cString: strerror(errno))) }
            if count == 0 { return bytes }
            guard bytes.count + count <= Self.limit else {
                throw failure("it is larger than \(Self.limit) bytes")
            }
            bytes.append(contentsOf: buffer[..<count])
        }
    }

    private static func read(_ descriptor: CInt, _ buffer: UnsafeMutableRawBufferPointer) -> Int {
        #if canImport(Glibc)
            Glibc.read(descriptor, buffer.baseAddress, buffer.count)
        #else
            Darwin.read(descriptor, buffer.baseAddress, buffer.count)
        #endif
    }
}

/// Text of others in messages.
enum PublisherText {
    /// Quoted, control characters replaced, at most 200 bytes.
    static func quoted(_ text: String) -> String {
        var result = "\""
        for scalar in text.unicodeScalars {
            if result.utf8.count > 200 {
                result += "…"
                break
            }
            result += scalar.value < 0x20 || scalar.value == 0x7F ? "?" : String(scalar)
        }
        return result + "\""
    }
}
