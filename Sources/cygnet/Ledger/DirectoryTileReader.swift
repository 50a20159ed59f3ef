import Foundation
import Transparency

/// The files of a log below a folder.
struct DirectoryTileReader: TileReader {
    let folder: String

    func read(_ path: String, limit: Int) async throws -> [UInt8]? {
        try Self.read(file: self.folder + "/" + path, limit: limit)
    }

    /// Reads a file, and at most one byte more than `limit`; nil when there is none.
    static func read(file: String, limit: Int) throws -> [UInt8]? {
        // Not blocking: a pipe in the place of a file must not stop the check.
        let descriptor = open(file, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
        guard descriptor >= 0 else {
            if errno == ENOENT || errno == ENOTDIR { return nil }
            throw LaptopError(message: "cannot open \(file): \(String(cString: strerror(errno)))")
        }
        defer { close(descriptor) }
        var status = stat()
        guard fstat(descriptor, &status) == 0, status.st_mode & S_IFMT == S_IFREG else {
            throw LaptopError(message: "\(file) is no file")
        }
        var bytes: [UInt8] = []
        var piece = [UInt8](repeating: 0, count: 64 * 1024)
        while bytes.count <= limit {
            let wanted = min(piece.count, limit + 1 - bytes.count)
            let count = piece.withUnsafeMutableBytes {
                Foundation.read(descriptor, $0.baseAddress, wanted)
            }
            if count == 0 { break }
            guard count > 0 else {
                if errno == EINTR { continue }
                throw LaptopError(
                    message: "cannot read \(file): \(String(cString: strerror(errno)))")
            }
            bytes.append(contentsOf: piece[..<count])
        }
        return bytes
    }
}
