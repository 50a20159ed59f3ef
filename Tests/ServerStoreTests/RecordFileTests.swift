import Foundation
import SPIFFE
import ServerCore
import ServerStore
import ServerTestSupport
import Testing

#if canImport(Glibc)
    import Glibc
#elseif canImport(Darwin)
    import Darwin
#endif

@Suite struct RecordFileTests {
    private static func record(_ serial: String, reason: String = "mint") throws -> IssuanceRecord {
        IssuanceRecord(
            kind: .x509SVID, spiffeID: try SPIFFEID("spiffe://acme.test/w"), serial: serial,
            authorityID: "aa", sha256: [1, 255], expiresAt: 7, reason: reason, requestedBy: "uid:0")
    }

    private static func open(_ folder: TemporaryFolder) throws -> RecordFile {
        try RecordFile(path: folder.file("r.jsonl"), now: TestClock(1_000).now)
    }

    /// Opens the file again; the queue of the one before may hold on to it for a moment after its answer.
    private static func reopen(_ folder: TemporaryFolder) async throws -> RecordFile {
        for _ in 0..<100_000 {
            do { return try self.open(folder) } catch let error as ServerError
                where error.message.contains("in use")
            { await Task.yield() }
        }
        return try self.open(folder)
    }

    /// The members of each line; fails when a line is no JSON object.
    private static func lines(_ folder: TemporaryFolder) throws -> [[String: JSONValue]] {
        let bytes = try folder.read("r.jsonl")
        #expect(bytes.isEmpty || bytes.last == UInt8(ascii: "\n"))
        return try bytes.split(separator: UInt8(ascii: "\n")).map { line in
            try #require(try JSONValue(parsing: Array(line)).objectValue)
        }
    }

    @Test func `a record is one line of JSON with everything in it`() async throws {
        try await TemporaryFolder.with { folder in
            let file = try Self.open(folder)
            try await file.append([try Self.record("0a", reason: "entry:\"x\\\n\u{1}é")])
            #expect(
                try Self.lines(folder) == [
                    [
                        "n": .int(1), "t": .int(1_000), "kind": .string("x509-svid"),
                        "id": .string("spiffe://acme.test/w"), "serial": .string("0a"),
                        "authority": .string("aa"), "sha256": .string("01ff"), "exp": .int(7),
                        "for": .string("entry:\"x\\\n\u{1}é"), "by": .string("uid:0"),
                    ]
                ])
            #expect(try folder.mode("r.jsonl") == 0o600)
        }
    }

    @Test func `appends keep their order and their records stay together`() async throws {
        try await TemporaryFolder.with { folder in
            let file = try Self.open(folder)
            try await withThrowingTaskGroup(of: Void.self) { group in
                for writer in 0..<64 {
                    group.addTask {
                        for round in 0..<3 {
                            try await file.append(
                                try (0..<3).map { try Self.record("\(writer)-\(round)-\($0)") })
                        }
                    }
                }
                try await group.waitForAll()
            }
            let lines = try Self.lines(folder)
            #expect(lines.count == 576 && file.count == 576)
            #expect(lines.map { $0["n"] } == (1...576).map { .int($0) })
            let serials = lines.compactMap { $0["serial"]?.stringValue }
            for start in stride(from: 0, to: 576, by: 3) {
                let prefix = serials[start].dropLast(2)
                #expect(serials[start..<start + 3].map { $0 } == (0..<3).map { "\(prefix)-\($0)" })
            }
            for writer in 0..<64 {
                let own = serials.filter { $0.hasPrefix("\(writer)-") }
                #expect(own == own.sorted())
            }
        }
    }

    @Test func `what is recorded is there when append returns`() async throws {
        try await TemporaryFolder.with { folder in
            let file = try Self.open(folder)
            for number in 1...20 {
                try await file.append([try Self.record("\(number)")])
                #expect(try Self.lines(folder).count == number)
            }
        }
    }

    @Test func `a file that is opened again goes on with the next number`() async throws {
        try await TemporaryFolder.with { folder in
            for number in 1...3 as ClosedRange<Int64> {
                let file = try await Self.reopen(folder)
                #expect(file.count == UInt64(number - 1))
                try await file.append([try Self.record("\(number)")])
                #expect(try Self.lines(folder).last?["n"] == .int(number))
            }
        }
    }

    @Test func `a last line torn at any byte is cut off`() async throws {
        try await TemporaryFolder.with { folder in
            do {
                let file = try Self.open(folder)
                try await file.append([try Self.record("1")])
                try await file.append([try Self.record("2")])
            }
            let whole = try folder.read("r.jsonl")
            let first = try #require(whole.firstIndex(of: UInt8(ascii: "\n"))) + 1
            for length in stride(from: first, to: whole.count, by: 7) {
                try Data(whole[..<length]).write(to: URL(fileURLWithPath: folder.file("r.jsonl")))
                let file = try await Self.reopen(folder)
                #expect(file.count == 1)
                #expect(try folder.read("r.jsonl") == Array(whole[..<first]))
                try await file.append([try Self.record("2")])
                #expect(try folder.read("r.jsonl") == whole)
            }
        }
    }

    @Test(arguments: ["{\"n\":1,\"t\":5", "{", "\0\0\0"])
    func `a first line that is torn is cut off`(text: String) async throws {
        try await TemporaryFolder.with { folder in
            try folder.write(text, to: "r.jsonl")
            let file = try Self.open(folder)
            #expect(file.count == 0)
            try await file.append([try Self.record("1")])
            #expect(try Self.lines(folder).count == 1)
        }
    }

    @Test(arguments: [
        "hello\n", "\n", "{\"n\":x,}\n", "{\"n\":-1,\"t\":1}\n", "{\"m\":1,\"t\":1}\n",
        "{\"n\":1,\"t\":1\n",
        "{\"n\":1,\"t\":1}\ngarbage\n", "{\"n\":99999999999999999999,\"t\":1}\n",
    ])
    func `a last line that is no record is refused and left alone`(text: String) async throws {
        try await TemporaryFolder.with { folder in
            try folder.write(text, to: "r.jsonl")
            let error = #expect(throws: ServerError.self) { try Self.open(folder) }
            #expect(error?.code == .failedPrecondition)
            #expect(error?.message.contains(folder.file("r.jsonl")) == true)
            #expect(try folder.read("r.jsonl") == Array(text.utf8))
        }
    }

    @Test func `a second opener is refused`() async throws {
        try await TemporaryFolder.with { folder in
            let file = try Self.open(folder)
            let error = #expect(throws: ServerError.self) { try Self.open(folder) }
            #expect(error?.code == .failedPrecondition)
            try await file.append([try Self.record("1")])
        }
    }

    @Test func `a folder or a symbolic link in place of the file is refused`() async throws {
        try await TemporaryFolder.with { folder in
            try FileManager.default.createDirectory(
                atPath: folder.file("r.jsonl"), withIntermediateDirectories: false)
            #expect(throws: ServerError.self) { try Self.open(folder) }
        }
        try await TemporaryFolder.with { folder in
            try folder.write("", to: "target")
            try FileManager.default.createSymbolicLink(
                atPath: folder.file("r.jsonl"), withDestinationPath: folder.file("target"))
            #expect(throws: ServerError.self) { try Self.open(folder) }
        }
    }

    @Test func `a file at its size limit refuses records, keeps what it has, and recovers`()
        async throws
    {
        // The limit is the process's, so it lies far above what other tests write; the file has a hole.
        let limit: off_t = 1 << 30
        try await TemporaryFolder.with { folder in
            let line = Array("\n{\"n\":41,\"t\":1}\n".utf8)
            let start = limit - 200
            let handle = try #require(fopen(folder.file("r.jsonl"), "w"))
            fseek(handle, Int(start) - line.count, SEEK_SET)
            fwrite(line, 1, line.count, handle)
            fclose(handle)
            let file = try Self.open(folder)
            #expect(file.count == 41)
            signal(SIGXFSZ, SIG_IGN)
            try Self.limitFileSize(rlim_t(limit))
            defer { try? Self.limitFileSize(rlim_t.max) }
            let error = await #expect(throws: ServerError.self) {
                try await file.append([try Self.record("1"), try Self.record("2")])
            }
            #expect(error?.code == .unavailable)
            #expect(error?.message.contains("issuance refused") == true)
            #expect(file.count == 41)
            let size = try FileManager.default.attributesOfItem(atPath: folder.file("r.jsonl"))[
                .size]
            #expect(
                (size as? NSNumber)?.int64Value == Int64(start),
                "the half that fitted is gone again")
            try Self.limitFileSize(rlim_t.max)
            try await file.append([try Self.record("1")])
            #expect(file.count == 42)
        }
    }

    private static func limitFileSize(_ bytes: rlim_t) throws {
        var limit = rlimit()
        #if canImport(Glibc)
            let resource = __rlimit_resource_t(RLIMIT_FSIZE.rawValue)
        #else
            let resource = RLIMIT_FSIZE
        #endif
        getrlimit(resource, &limit)
        limit.rlim_cur = min(bytes, limit.rlim_max)
        try #require(setrlimit(resource, &limit) == 0)
    }
}
