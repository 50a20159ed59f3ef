import CPeer
import Crypto
import Foundation
import PluginAPI
import SPIFFE
import Testing

@testable import Plugins

/// A process by its number, as far as the tests need one.
private struct PlainProcess: ProcessReference {
    let pid: Int32
    var startTime: UInt64 {
        var time: UInt64 = 0
        return cygnet_process_start_time(self.pid, &time) == 0 ? time : 0
    }
    var isAlive: Bool { cygnet_process_exists(self.pid) == 0 }
    func isConnector(_ now: ProcessFingerprint) -> Bool { true }
    func fingerprint() -> ProcessFingerprint? { nil }
}

/// A child that sleeps until the test is done with it.
private final class Child {
    let process = Process()

    init(_ executable: String = "/bin/sleep", _ arguments: [String] = ["60"]) throws {
        self.process.executableURL = URL(fileURLWithPath: executable)
        self.process.arguments = arguments
        try self.process.run()
    }

    deinit { self.process.terminate() }

    var reference: PlainProcess { PlainProcess(pid: self.process.processIdentifier) }
}

@Suite("unix workload attestor")
struct UnixWorkloadAttestorTests {
    private func values(
        _ process: any ProcessReference,
        _ configuration: UnixWorkloadAttestor.Configuration = .init()
    ) async throws -> [String] {
        let selectors = try await UnixWorkloadAttestor(configuration: configuration)
            .selectors(of: process)
        #expect(selectors.allSatisfy { $0.type == "unix" })
        return selectors.map(\.value)
    }

    @Test("WEP-14: a child that takes no part in it is attested by user and group")
    func userAndGroup() async throws {
        let values = try await self.values(Child().reference)
        #expect(values.contains("uid:\(geteuid())"))
        #expect(values.contains("gid:\(getegid())"))
        if let entry = getpwuid(geteuid()) {
            #expect(values.contains("user:" + String(cString: entry.pointee.pw_name)))
        }
        #expect(!values.contains { $0.hasPrefix("path:") || $0.hasPrefix("sha256:") })
    }

    @Test("path and sha256 are stated only when asked for, and are those of the running file")
    func pathAndDigest() async throws {
        let child = try Child()
        let values = try await self.values(child.reference, .init(discoversPath: true))
        let path = URL(fileURLWithPath: "/bin/sleep").resolvingSymlinksInPath().path
        #expect(values.contains { $0.hasPrefix("path:") })
        let digest = SHA256.hash(data: try Data(contentsOf: URL(fileURLWithPath: path)))
            .map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
        #expect(values.contains("sha256:" + digest))
    }

    @Test("a negative size limit means that files are never hashed")
    func neverHash() async throws {
        let values = try await self.values(
            Child().reference, .init(discoversPath: true, sizeLimit: -1))
        #expect(values.contains { $0.hasPrefix("path:") })
        #expect(!values.contains { $0.hasPrefix("sha256:") })
    }

    @Test("a program file over the size limit is refused")
    func tooLarge() async throws {
        let child = try Child()
        let error = await #expect(throws: WorkloadAttestorError.self) {
            try await self.values(child.reference, .init(discoversPath: true, sizeLimit: 10))
        }
        #expect(error?.code == .executableTooLarge)
    }

    @Test("a program file that was replaced on disk is attested as the one that runs")
    func replacedFile() async throws {
        let folder = FileManager.default.temporaryDirectory.appendingPathComponent(
            UUID().uuidString)
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: folder) }
        let program = folder.appendingPathComponent("program")
        let source = URL(fileURLWithPath: "/bin/sleep").resolvingSymlinksInPath()
        try FileManager.default.copyItem(at: source, to: program)
        let child = try Child(program.path)
        let before = try await self.values(child.reference, .init(discoversPath: true))
        try FileManager.default.removeItem(at: program)
        try Data("something else".utf8).write(to: program)
        let after = try await self.values(child.reference, .init(discoversPath: true))
        let digest = before.first { $0.hasPrefix("sha256:") }
        #expect(digest != nil)
        #expect(after.first { $0.hasPrefix("sha256:") } == digest)
        // Its name is no longer the name of the file that runs.
        #expect(!after.contains("path:" + program.path))
    }

    @Test("a process that has ended cannot be attested")
    func ended() async throws {
        let child = try Child("/bin/sleep", ["0"])
        child.process.waitUntilExit()
        let error = await #expect(throws: WorkloadAttestorError.self) {
            try await self.values(child.reference)
        }
        #expect(error?.code == .processEnded)
    }

    @Test("a file is read once, whoever asks and however often")
    func readOnce() async throws {
        let digests = ExecutableDigests()
        let children = try (0..<4).map { _ in try Child() }
        let found = try await withThrowingTaskGroup(of: String.self) { group in
            for child in children {
                let pid = child.reference.pid
                group.addTask { try digests.digest(ofProgramOf: pid, sizeLimit: 0) }
            }
            return try await group.reduce(into: Set<String>()) { $0.insert($1) }
        }
        #expect(found.count == 1)
        #expect(digests.readingCount == 1)
    }

    @Test(
        "status lines",
        arguments: [
            ("Uid:\t1\t2\t3\t4\nGid:\t5\t6\t7\t8\nGroups:\t9 10 \n", true),
            ("Uid:\t1\t2\t3\t4\nGid:\t5\t6\t7\t8\nGroups:\t\n", true),
            ("Uid:\t1\t2\t3\t4\nGid:\t5\t6\t7\t8\n", false),
            ("Uid:\t1\t2\t3\nGid:\t5\t6\t7\t8\nGroups:\n", false),
            ("Uid:\t1\t2\tx\t4\nGid:\t5\t6\t7\t8\nGroups:\n", false),
            ("", false), ("Uid", false),
        ])
    func status(text: String, isGood: Bool) {
        let ids = ProcessIDs(statusLines: text)
        #expect((ids != nil) == isGood)
        if let ids {
            #expect(ids.effectiveUser == 2)
            #expect(ids.effectiveGroup == 6)
        }
    }
}
