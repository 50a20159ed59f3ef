import Foundation
import Testing

@testable import ServiceRuntime

#if canImport(Glibc)
    import Glibc
#endif

/// A directory that goes away with the test.
final class ScratchDirectory {
    let path: String

    init() throws {
        self.path = NSTemporaryDirectory() + "/t-\(UInt32.random(in: 0...UInt32.max))"
        try DirectoryPath.make(self.path, mode: 0o700)
    }

    deinit { try? FileManager.default.removeItem(atPath: self.path) }

    func mode(_ name: String) -> UInt32 {
        var status = stat()
        return stat(self.path + "/" + name, &status) == 0 ? UInt32(status.st_mode & 0o7777) : 0
    }
}

@Suite struct AtomicFileTests {
    @Test func replacesContentAndSetsTheMode() throws {
        let scratch = try ScratchDirectory()
        let path = scratch.path + "/keys.json"
        try AtomicFile.write("one".utf8, to: path)
        try AtomicFile.write("two".utf8, to: path, mode: 0o640)
        #expect(try BoundedFile.read(path, limit: 3) == Array("two".utf8))
        #expect(scratch.mode("keys.json") == 0o640)
        #expect(try FileManager.default.contentsOfDirectory(atPath: scratch.path) == ["keys.json"])
    }

    @Test func leavesTheOldFileWhenItFails() throws {
        let scratch = try ScratchDirectory()
        let path = scratch.path + "/d"
        try DirectoryPath.make(path, mode: 0o700)
        #expect(throws: FileError.self) { try AtomicFile.write("x".utf8, to: path) }
        #expect(try FileManager.default.contentsOfDirectory(atPath: scratch.path) == ["d"])
        let error = #expect(throws: FileError.self) {
            try AtomicFile.write("x".utf8, to: scratch.path + "/none/f")
        }
        #expect(error?.code == .notFound)
    }

    @Test func boundsWhatIsRead() throws {
        let scratch = try ScratchDirectory()
        let path = scratch.path + "/f"
        try AtomicFile.write([UInt8](repeating: 1, count: 200_000), to: path)
        #expect(try BoundedFile.read(path, limit: 200_000).count == 200_000)
        let error = #expect(throws: FileError.self) { try BoundedFile.read(path, limit: 199_999) }
        #expect(error?.code == .tooLarge)
    }

    @Test func removesWhatIsThere() throws {
        let scratch = try ScratchDirectory()
        try AtomicFile.write("x".utf8, to: scratch.path + "/f")
        try AtomicFile.remove(scratch.path + "/f")
        try AtomicFile.remove(scratch.path + "/f")
        #expect(try FileManager.default.contentsOfDirectory(atPath: scratch.path).isEmpty)
    }
}

@Suite struct UnixSocketPathTests {
    private func listen(_ path: String) -> CInt {
        let descriptor = socket(AF_UNIX, CInt(SOCK_STREAM.rawValue), 0)
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path.utf8) }
        let bound = withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(descriptor, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
            }
        }
        return bound == 0 && Glibc.listen(descriptor, 1) == 0 ? descriptor : -1
    }

    @Test func makesTheDirectoryWithItsMode() throws {
        let scratch = try ScratchDirectory()
        let path = try UnixSocketPath(scratch.path + "/public/api.sock")
        try path.prepare(directoryMode: 0o755)
        #expect(scratch.mode("public") == 0o755)
    }

    @Test("TRAP-41: a socket that nobody listens on is removed, a live one is not")
    func removesAStaleSocketAndRefusesALiveOne() throws {
        let scratch = try ScratchDirectory()
        let path = try UnixSocketPath(scratch.path + "/a.sock")
        let descriptor = self.listen(path.path)
        #expect(descriptor >= 0)
        let error = #expect(throws: FileError.self) { try path.prepare(directoryMode: 0o750) }
        #expect(error?.code == .inUse)
        #expect(UnixSocketPath.isListening(path.path))
        close(descriptor)
        try path.prepare(directoryMode: 0o750)
        #expect(!FileManager.default.fileExists(atPath: path.path))
    }

    @Test func touchesNothingElseThanSockets() throws {
        let scratch = try ScratchDirectory()
        try AtomicFile.write("precious".utf8, to: scratch.path + "/a.sock")
        let path = try UnixSocketPath(scratch.path + "/a.sock")
        let error = #expect(throws: FileError.self) { try path.prepare(directoryMode: 0o750) }
        #expect(error?.code == .unsafe)
        #expect(try BoundedFile.read(path.path, limit: 100) == Array("precious".utf8))
    }

    @Test func refusesPathsThatDoNotFit() {
        for path in ["", "/" + String(repeating: "x", count: 107)] {
            #expect(throws: FileError.self) { try UnixSocketPath(path) }
        }
    }
}
