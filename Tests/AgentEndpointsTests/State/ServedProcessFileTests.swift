import AgentCore
import Foundation
import SPIFFEGRPC
import Testing

@testable import AgentEndpoints

@Suite("served-workloads.json", .timeLimit(.minutes(1)))
struct ServedProcessFileTests {
    /// A folder of its own for each test.
    private final class Folder {
        let path = FileManager.default.temporaryDirectory.appendingPathComponent(UUID().uuidString)
            .path
        var file: String { self.path + "/served-workloads.json" }

        init() throws {
            try FileManager.default.createDirectory(
                atPath: self.path, withIntermediateDirectories: true)
        }

        deinit { try? FileManager.default.removeItem(atPath: self.path) }
    }

    private let records = ServedRecords(
        processes: [
            .init(pid: 7, startTime: .max, uid: 1000, entryIDs: ["a", "b"]),
            .init(pid: .max, startTime: 0, uid: .max, entryIDs: ["c"]),
        ], untold: ["d"])

    @Test("nothing stored is no error")
    func missing() throws {
        #expect(try ServedProcessFile(directory: Folder().path).load() == nil)
    }

    @Test("what is saved is read back, and nobody else may read it")
    func roundTrip() async throws {
        let folder = try Folder()
        let file = ServedProcessFile(directory: folder.path + "/")
        try await file.save(ServedRecords())
        try await file.save(self.records)
        #expect(try ServedProcessFile(directory: folder.path).load() == self.records)
        let mode = try FileManager.default.attributesOfItem(atPath: folder.file)[.posixPermissions]
        #expect((mode as? NSNumber)?.intValue == 0o600)
        let names = try FileManager.default.contentsOfDirectory(atPath: folder.path)
        #expect(names == ["served-workloads.json"])
    }

    @Test("another run of the machine is told apart")
    func boots() async throws {
        let folder = try Folder()
        try await ServedProcessFile(directory: folder.path, bootID: "one").save(self.records)
        for (boot, isSame) in [("one", true), ("two", false), ("", false)] {
            let read = try ServedProcessFile(directory: folder.path, bootID: boot).load()
            #expect(read?.isOfThisBoot == isSame)
        }
        let text = try String(contentsOfFile: folder.file, encoding: .utf8)
        #expect(text.contains(#""boot_id":"one""#) && text.contains(#""start_time":"#))
    }

    @Test(
        "a damaged file is an error that names it",
        arguments: [
            "", "{", "[]", #"{"version":1}"#, "\u{0}\u{0}\u{0}",
            #"{"version":2,"boot_id":"x","processes":[],"untold":[]}"#,
            #"{"version":1,"boot_id":"x","processes":[{"pid":-1,"start_time":1,"uid":0,"entry_ids":[]}],"untold":[]}"#,
            #"{"version":1,"boot_id":"x","processes":[{"pid":1,"start_time":-1,"uid":0,"entry_ids":[]}],"untold":[]}"#,
            #"{"version":1,"boot_id":"x","processes":[{"pid":4294967296,"start_time":1,"uid":0,"entry_ids":[]}],"untold":[]}"#,
        ])
    func damaged(text: String) throws {
        let folder = try Folder()
        try Data(text.utf8).write(to: URL(fileURLWithPath: folder.file))
        let error = #expect(throws: AgentError.self) {
            try ServedProcessFile(directory: folder.path).load()
        }
        #expect(error?.code == .state)
        #expect(error?.message.contains(folder.file) == true)
    }

    @Test("cut off in the middle of a write, the earlier records are there and the rest is removed")
    func cutOff() async throws {
        let folder = try Folder()
        let file = ServedProcessFile(directory: folder.path)
        try await file.save(self.records)
        try Data("{\"version\":1,\"boo".utf8).write(
            to: URL(fileURLWithPath: folder.file + ".4711.815.tmp"))
        #expect(try file.load() == self.records)
        let names = try FileManager.default.contentsOfDirectory(atPath: folder.path)
        #expect(names == ["served-workloads.json"])
    }

    @Test("a folder that is gone is an error")
    func unwritable() async throws {
        let path = try Folder().path
        let error = await #expect(throws: AgentError.self) {
            try await ServedProcessFile(directory: path).save(self.records)
        }
        #expect(error?.code == .state)
    }

    @Test("a process is found again by number and start time, and its end is told")
    func restored() async throws {
        let child = try Child()
        let handle = try PeerProcessHandle(socketDescriptor: nil, pid: child.pid)
        let found = try #require(RestoredProcess(pid: child.pid))
        #expect(found.startTime == handle.startTime && found.uid == getuid() && found.isAlive)
        let (stream, continuation) = AsyncStream.makeStream(of: Void.self)
        let watch = found.watchEnd { continuation.yield() }
        #expect(watch != nil)
        child.end()
        for await _ in stream { break }
        withExtendedLifetime(watch) {}
        #expect(!found.isAlive && RestoredProcess(pid: child.pid) == nil)
    }
}
