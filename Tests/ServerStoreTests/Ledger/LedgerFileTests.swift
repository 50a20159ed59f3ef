import Foundation
import NIOConcurrencyHelpers
import SPIFFE
import ServerCore
import ServerTestSupport
import Testing
import Transparency

@testable import ServerStore

@Suite("The ledger in a folder")
struct LedgerFileTests {
    private static func open(
        _ folder: TemporaryFolder, key: UInt8 = 7,
        settings: LedgerFile.Settings = LedgerFixture.settings
    ) throws -> LedgerFile {
        try LedgerFile(
            folder: folder.file("ledger"), signer: LedgerFixture.signer(key), settings: settings,
            now: TestClock(1_000).now)
    }

    /// Opens the folder again; queues of the one before may hold on to it for a moment after the answer.
    private static func reopen(
        _ folder: TemporaryFolder, settings: LedgerFile.Settings = LedgerFixture.settings
    ) async throws -> LedgerFile {
        for _ in 0..<100_000 {
            do { return try self.open(folder, settings: settings) } catch let error as ServerError
                where error.message.contains("in use")
            { await Task.yield() }
        }
        return try self.open(folder, settings: settings)
    }

    private static func serials(_ folder: TemporaryFolder) async throws -> [String] {
        try await LedgerFixture.verified(FolderReader(folder: folder.file("ledger")))
    }

    @Test("appends keep their order, their leaves stay together, and all can be read")
    func order() async throws {
        try await TemporaryFolder.with { folder in
            let ledger = try Self.open(folder)
            try await withThrowingTaskGroup(of: Void.self) { group in
                for writer in 0..<64 {
                    group.addTask {
                        for round in 0..<5 {
                            try await ledger.append(
                                (0..<3).map { LedgerFixture.event("\(writer)-\(round)-\($0)") })
                        }
                    }
                }
                try await group.waitForAll()
            }
            #expect(ledger.size == 960)
            try await ledger.publish()
            #expect(ledger.publishedSize == 960)
            let serials = try await Self.serials(folder)
            #expect(serials.count == 960)
            for start in stride(from: 0, to: 960, by: 3) {
                let prefix = serials[start].dropLast(2)
                #expect(serials[start..<start + 3].map { $0 } == (0..<3).map { "\(prefix)-\($0)" })
            }
            for writer in 0..<64 {
                let own = serials.filter { $0.hasPrefix("\(writer)-") }
                #expect(own == own.sorted())
            }
        }
    }

    @Test("what is enqueued is recorded before what is appended after it")
    func enqueued() async throws {
        try await TemporaryFolder.with { folder in
            let ledger = try Self.open(folder)
            for number in 0..<50 {
                ledger.enqueue([LedgerFixture.event("q\(number)")])
                try await ledger.append([LedgerFixture.event("a\(number)")])
                #expect(ledger.size == UInt64(2 * number + 2))
            }
            ledger.enqueue([LedgerFixture.event("end")])
            // Waits for those before it, and adds nothing.
            try await ledger.append([])
            #expect(ledger.size == 101)
            try await ledger.publish()
            let expected = (0..<50).flatMap { ["q\($0)", "a\($0)"] } + ["end"]
            #expect(try await Self.serials(folder) == expected)
        }
    }

    @Test("a ledger that is opened again goes on, also with a small journal")
    func again() async throws {
        try await TemporaryFolder.with { folder in
            var settings = LedgerFixture.settings
            settings.journalBytes = 10_000
            var expected: [String] = []
            for round in 0..<6 {
                let ledger = try await Self.reopen(folder, settings: settings)
                #expect(ledger.size == UInt64(expected.count))
                for step in 0..<4 {
                    let serials = (0..<40).map { "\(round)-\(step)-\($0)" }
                    try await ledger.append(serials.map(LedgerFixture.event))
                    expected += serials
                    if step % 2 == 0 { try await ledger.publish() }
                }
            }
            _ = try await Self.reopen(folder)
            #expect(try await Self.serials(folder) == expected)
            let journal = try folder.read("ledger/journal")
            #expect(journal.count < 1000, "a clean start begins a new journal")
        }
    }

    @Test("a ledger at rest has everything published, and goes on")
    func settle() async throws {
        try await TemporaryFolder.with { folder in
            let ledger = try Self.open(folder)
            try await ledger.append((0..<300).map { LedgerFixture.event("\($0)") })
            try await ledger.settle()
            #expect(try folder.read("ledger/journal").count < 1_000)
            #expect(try await Self.serials(folder) == (0..<300).map { "\($0)" })
            try await ledger.append([LedgerFixture.event("more")])
            try await ledger.settle()
            #expect(try await Self.serials(folder).last == "more" && ledger.size == 301)
        }
    }

    @Test("leaves are published by themselves")
    func publication() async throws {
        try await TemporaryFolder.with { folder in
            var settings = LedgerFixture.settings
            settings.publicationDelay = .milliseconds(1)
            let ledger = try Self.open(folder, settings: settings)
            try await ledger.append([LedgerFixture.event("a")])
            while ledger.publishedSize < 1 { await Task.yield() }
            #expect(try await Self.serials(folder) == ["a"])
        }
        try await TemporaryFolder.with { folder in
            var settings = LedgerFixture.settings
            settings.leavesPerPublication = 10
            let ledger = try Self.open(folder, settings: settings)
            for number in 0..<10 { try await ledger.append([LedgerFixture.event("\(number)")]) }
            while ledger.publishedSize < 10 { await Task.yield() }
            #expect(try await Self.serials(folder).count == 10)
        }
    }

    @Test("folder and files are for the server alone")
    func modes() async throws {
        try await TemporaryFolder.with { folder in
            let ledger = try Self.open(folder)
            try await ledger.append((0..<300).map { LedgerFixture.event("\($0)") })
            try await ledger.publish()
            #expect(try folder.mode("ledger") == 0o700)
            for name in ["journal", "checkpoint", "tile/0/000", "tile/entries/001.p/44"] {
                #expect(try folder.mode("ledger/\(name)") == 0o600, "\(name)")
            }
            #expect(try folder.mode("ledger/tile/0") == 0o700)
        }
    }

    @Test("a second opener, another key, a file and tiles alone are refused")
    func refusals() async throws {
        try await TemporaryFolder.with { folder in
            let ledger = try Self.open(folder)
            try await ledger.append([LedgerFixture.event("a")])
            let second = #expect(throws: ServerError.self) { try Self.open(folder) }
            #expect(second?.code == .failedPrecondition)
            #expect(second?.message.contains("in use") == true)
        }
        try await TemporaryFolder.with { folder in
            do { _ = try Self.open(folder) }
            var error: ServerError?
            repeat {
                error = #expect(throws: ServerError.self) { try Self.open(folder, key: 8) }
            } while error?.message.contains("in use") == true
            #expect(error?.code == .failedPrecondition)
            #expect(error?.message.contains("restore the key") == true)
        }
        try await TemporaryFolder.with { folder in
            try folder.write("", to: "ledger")
            let error = #expect(throws: ServerError.self) { try Self.open(folder) }
            #expect(error?.message.contains("not a folder") == true)
        }
        try await TemporaryFolder.with { folder in
            try FileManager.default.createDirectory(
                atPath: folder.file("ledger/tile"), withIntermediateDirectories: true)
            let error = #expect(throws: ServerError.self) { try Self.open(folder) }
            #expect(error?.code == .failedPrecondition)
        }
    }

    @Test("an event that has no leaf is refused alone")
    func tooLarge() async throws {
        let ledger = try LedgerFixture.ledger(FaultyStorage())
        let huge = LedgerFixture.event(String(repeating: "x", count: 65_536))
        let error = await #expect(throws: ServerError.self) { try await ledger.append([huge]) }
        #expect(error?.code == .invalidArgument)
        ledger.enqueue([huge])
        await #expect(throws: ServerError.self) {
            try await ledger.append([LedgerFixture.event("told of the one before")])
        }
        try await ledger.append([LedgerFixture.event("b")])
        #expect(ledger.health == nil)
    }

    @Test("issuance goes on while others' files are being written")
    func slowPublication() async throws {
        let storage = FaultyStorage()
        let ledger = try LedgerFixture.ledger(storage)
        try await ledger.append([LedgerFixture.event("a")])
        let (gate, isHeld) = (DispatchSemaphore(value: 0), NIOLockedValueBox(false))
        storage.hold { path in
            guard path == "checkpoint" else { return }
            isHeld.withLockedValue { $0 = true }
            gate.wait()
        }
        async let published: Void = ledger.publish()
        while !isHeld.withLockedValue({ $0 }) { await Task.yield() }
        try await ledger.append([LedgerFixture.event("b")])
        #expect(ledger.size == 2)
        storage.hold(nil)
        gate.signal()
        try await published
        #expect(ledger.publishedSize == 1)
        try await ledger.publish()
        #expect(try await LedgerFixture.verified(storage, shown: storage.shown) == ["a", "b"])
    }

    @Test("leaves are read back from an instant on, across clock steps")
    func replay() async throws {
        let storage = FaultyStorage()
        let clock = TestClock(100_000)
        let ledger = try LedgerFixture.ledger(storage, now: clock.now)
        // 20 bundles, twenty leaves every four seconds, and the clock set back by a minute in the middle.
        for round in 0..<256 {
            try await ledger.append((0..<20).map { LedgerFixture.event("\(round)-\($0)") })
            clock.advance(by: round == 175 ? -60 : 4)
        }
        for since in [0, 100_000, 100_500, 100_660, 100_700, 101_500] as [Int64] {
            var found: [String] = []
            try await ledger.replay(since: Date(timeIntervalSince1970: TimeInterval(since))) {
                found.append(try #require(LedgerFixture.serial($0)))
            }
            var expected: [String] = []
            for round in 0..<256 {
                let time = 100_000 + 4 * Int64(round) - (round > 175 ? 64 : 0)
                if time >= since { expected += (0..<20).map { "\(round)-\($0)" } }
            }
            #expect(found == expected, "since \(since)")
        }
    }

    @Test("leaves of one type are read back alone; another leaf that speaks of the type is none")
    func replayOfAType() async throws {
        let ledger = try LedgerFixture.ledger(FaultyStorage())
        let wanted = LeafEvent.other(type: "svid.issued", members: ["subject": .string("yes")])
        for round in 0..<300 {
            try await ledger.append([
                LedgerFixture.event("\(round)"),
                LedgerFixture.event("\"type\":\"svid.issued\""),
                .other(
                    type: "svid.other",
                    members: ["nested": .object(["type": .string("svid.issued")])]),
            ])
            if round.isMultiple(of: 100) { try await ledger.append([wanted]) }
        }
        var found: [LeafEvent] = []
        try await ledger.replay(since: .distantPast, type: SVIDIssuedLeaf.type) {
            found.append($0.event)
        }
        #expect(found == [wanted, wanted, wanted])
    }
}
