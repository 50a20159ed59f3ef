import AgentCore
import Foundation

/// The place of a Unix socket in the file system.
enum SocketPath {
    /// Makes the folder (mode 0755) if it is missing and clears away the socket of an agent that is
    /// gone.
    ///
    /// - Throws: ``AgentError`` `state` when something else lies there, or another process still
    ///   listens.
    static func prepare(_ path: String) throws {
        let folder = URL(fileURLWithPath: path).deletingLastPathComponent().path
        do {
            try FileManager.default.createDirectory(
                atPath: folder, withIntermediateDirectories: true,
                attributes: [.posixPermissions: 0o755])
        } catch {
            throw AgentError(.state, "cannot make the folder \(folder) of the socket: \(error)")
        }
        var facts = stat()
        guard lstat(path, &facts) == 0 else { return }
        guard facts.st_mode & S_IFMT == S_IFSOCK else {
            throw AgentError(
                .state, "\(path) is not a socket; move it away or choose another socket_path")
        }
        if Self.isListening(path) {
            throw AgentError(
                .state, "another process listens on \(path); stop it or choose another socket_path")
        }
        guard unlink(path) == 0 || errno == ENOENT else {
            throw AgentError(
                .state, "cannot remove the old socket \(path): \(String(cString: strerror(errno)))")
        }
    }

    private static func isListening(_ path: String) -> Bool {
        #if canImport(Darwin)
            let descriptor = socket(AF_UNIX, SOCK_STREAM, 0)
        #else
            let descriptor = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0)
        #endif
        guard descriptor >= 0 else { return false }
        defer { close(descriptor) }
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        let bytes = Array(path.utf8)
        guard bytes.count < MemoryLayout.size(ofValue: address.sun_path) else { return false }
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: bytes) }
        return withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_un>.size)) == 0
            }
        }
    }
}
