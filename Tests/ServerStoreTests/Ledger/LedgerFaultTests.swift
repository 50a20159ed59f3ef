import Foundation
import ServerCore
import ServerTestSupport
import Testing
import Transparency

@testable import ServerStore

@Suite("A ledger on a disk that fails")
struct LedgerFaultTests {
    /// Appends, publishes and begins new journals, whatever fails.
    ///
    /// - Returns: The serials that were acknowledged, in order, and how many calls failed.
    private func run(_ ledger: LedgerFile) async -> (acknowledged: [String], failures: Int) {
        var acknowledged: [String] = []
        var failures = 0
        for (round, count) in [1, 3, 250, 2, 1].enumerated() {
            let serials = (0..<count).map { "\(round)-\($0)" }
            do {
                try await ledger.append(serials.map(LedgerFixture.event))
                acknowledged += serials
            } catch {
                failures += 1
                #expect((error as? ServerError)?.code == .unavailable)
                #expect("\(error)".contains("issuance refused: cannot write ledger"))
            }
            guard round % 2 == 1 else { continue }
            do { try await ledger.publish() } catch { failures += 1 }
        }
        return (acknowledged, failures)
    }

    /// Does something, and once more when it fails.
    private func again<T>(_ body: (_ attempt: Int) async throws -> T) async throws -> T {
        do { return try await body(0) } catch { return try await body(1) }
    }

    @Test(
        "no acknowledged leaf is lost and no history is shown twice, whichever write fails",
        arguments: FaultyStorage.Fault.allCases, [16 << 20, 20_000])
    func everyWrite(fault: FaultyStorage.Fault, journalBytes: Int) async throws {
        var settings = LedgerFixture.settings
        settings.journalBytes = journalBytes
        // Ends when the run has fewer writes than the one that is to fail.
        var at = 1
        while true {
            let storage = FaultyStorage(failingAt: at, fault)
            // The very first writes: the next start finds or creates the ledger.
            let ledger = try await self.again { _ in
                try LedgerFixture.ledger(storage, settings: settings)
            }
            let (acknowledged, failures) = await self.run(ledger)
            // Work goes on.
            let last = try await self.again { attempt in
                try await ledger.append([LedgerFixture.event("last-\(attempt)")])
                return "last-\(attempt)"
            }
            #expect(ledger.health == nil)
            try await self.again { attempt in
                if attempt > 0 { try await ledger.append([]) }
                try await ledger.publish()
            }
            let serials = try await LedgerFixture.verified(storage, shown: storage.shown)
            var rest = serials[...]
            for serial in acknowledged + [last] {
                guard let place = rest.firstIndex(of: serial) else {
                    Issue.record("write \(at), \(fault): acknowledged leaf \(serial) is missing")
                    return
                }
                rest = rest[(place + 1)...]
            }
            #expect(Set(serials).count == serials.count)
            #expect(failures <= 2, "write \(at)")
            // And once more from the disk alone.
            let again = try await self.again { _ in
                try LedgerFixture.ledger(storage, settings: settings)
            }
            #expect(again.size == UInt64(serials.count))
            #expect(
                try await LedgerFixture.verified(storage, shown: storage.shown) == serials)
            if at > storage.writes { break }
            at += 1
        }
        #expect(at > 30, "only \(at) writes")
    }

    @Test("a full disk refuses issuance, says so, and is taken up again when there is space")
    func fullDisk() async throws {
        let storage = FaultyStorage()
        let ledger = try LedgerFixture.ledger(storage)
        try await ledger.append([LedgerFixture.event("a")])
        #expect(ledger.health == nil)
        storage.setFull(true)
        for _ in 0..<5 {
            let error = await #expect(throws: ServerError.self) {
                try await ledger.append([LedgerFixture.event("refused")])
            }
            #expect(error?.code == .unavailable)
            #expect(error?.message.contains("no space left") == true)
            #expect(error?.message.contains("free space") == true)
            #expect(ledger.health != nil)
        }
        await #expect(throws: (any Error).self) { try await ledger.publish() }
        storage.setFull(false)
        try await ledger.append([LedgerFixture.event("b")])
        #expect(ledger.health == nil)
        try await ledger.publish()
        #expect(
            try await LedgerFixture.verified(storage, shown: storage.shown) == ["a", "b"])
    }

    @Test("a device that does not even read refuses issuance until it does")
    func deadDevice() async throws {
        let storage = FaultyStorage()
        let ledger = try LedgerFixture.ledger(storage)
        try await ledger.append([LedgerFixture.event("a")])
        storage.setDead(true)
        for _ in 0..<3 {
            await #expect(throws: ServerError.self) {
                try await ledger.append([LedgerFixture.event("refused")])
            }
        }
        #expect(throws: ServerError.self) { try LedgerFixture.ledger(storage) }
        storage.setDead(false)
        try await ledger.append([LedgerFixture.event("b")])
        try await ledger.publish()
        #expect(
            try await LedgerFixture.verified(storage, shown: storage.shown) == ["a", "b"])
    }

    @Test(
        "leaves that nobody waits for outlive a failure, each once",
        arguments: FaultyStorage.Fault.allCases)
    func enqueued(fault: FaultyStorage.Fault) async throws {
        let storage = FaultyStorage()
        let ledger = try LedgerFixture.ledger(storage)
        try await ledger.append([LedgerFixture.event("a")])
        storage.fail(in: 1, fault)
        ledger.enqueue([LedgerFixture.event("b")])
        // Whether it shares the group that fails or comes after it, it is behind.
        try? await ledger.append([LedgerFixture.event("c")])
        ledger.enqueue([LedgerFixture.event("d")])
        try await ledger.append([LedgerFixture.event("e")])
        try await ledger.publish()
        let serials = try await LedgerFixture.verified(storage, shown: storage.shown)
        #expect(serials.filter { $0 != "c" } == ["a", "b", "d", "e"])
    }

    @Test("a journal that somebody removed or cut stops issuance")
    func removedJournal() async throws {
        let storage = FaultyStorage()
        let ledger = try LedgerFixture.ledger(storage)
        try await ledger.append([LedgerFixture.event("a")])
        try await ledger.publish()
        let journal = try #require(storage.files["journal"])
        storage.change("journal") { $0 = nil }
        for _ in 0..<2 {
            let error = await #expect(throws: ServerError.self) {
                try await ledger.append([LedgerFixture.event("b")])
            }
            #expect(error?.message.contains("journal") == true)
        }
        #expect(throws: ServerError.self) { try LedgerFixture.ledger(storage) }
        storage.change("journal") { $0 = journal }
        try await ledger.append([LedgerFixture.event("b")])
    }
}
