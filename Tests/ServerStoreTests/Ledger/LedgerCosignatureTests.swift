import ServerCore
import Testing
import Transparency

@testable import ServerStore

@Suite("Cosignatures below the published checkpoint")
struct LedgerCosignatureTests {
    private static func witness(_ byte: UInt8) throws -> NoteSigner {
        try NoteSigner(
            name: NoteKeyName("w\(byte).test"), algorithm: .cosignature,
            seed: [UInt8](repeating: byte, count: 32))
    }

    private static func published(_ storage: FaultyStorage) throws -> SignedNote {
        try SignedNote(parsing: #require(storage.files["checkpoint"]))
    }

    @Test("they stand below it, each witness once, and a restart keeps them")
    func adds() async throws {
        let storage = FaultyStorage()
        let ledger = try LedgerFixture.ledger(storage)
        try await ledger.append([LedgerFixture.event("a")])
        try await ledger.publish()
        let note = try Self.published(storage)
        let (one, two) = (try Self.witness(1), try Self.witness(2))
        #expect(try await ledger.add([one.sign(note.text, at: 5)], to: note))
        #expect(try await ledger.add([two.sign(note.text, at: 6)], to: note))
        #expect(try await ledger.add([one.sign(note.text, at: 7)], to: note))
        let whole = try Self.published(storage)
        #expect(whole.signatures.count == 3)
        #expect(try whole.verified(by: [ledger.key, one.key, two.key]).count == 3)

        let restarted = try LedgerFixture.ledger(storage)
        #expect(try Self.published(storage) == whole)
        try await restarted.append([LedgerFixture.event("b")])
        try await restarted.publish()
        #expect(try Self.published(storage).signatures.count == 1)
        // Too late: another one is published.
        #expect(try await !restarted.add([one.sign(note.text, at: 8)], to: note))
        #expect(try await LedgerFixture.verified(storage, shown: storage.shown) == ["a", "b"])
    }

    @Test(
        "a write that fails costs the cosignature and nothing else",
        arguments: [FaultyStorage.Fault.failed, .stored])
    func faults(_ fault: FaultyStorage.Fault) async throws {
        let storage = FaultyStorage()
        let ledger = try LedgerFixture.ledger(storage)
        try await ledger.append([LedgerFixture.event("a")])
        try await ledger.publish()
        let note = try Self.published(storage)
        let line = try Self.witness(1).sign(note.text, at: 5)
        storage.fail(in: 1, fault)
        await #expect(throws: (any Error).self) { try await ledger.add([line], to: note) }
        #expect(ledger.health == nil)
        #expect(try Self.published(storage).text == note.text)
        try await ledger.append([LedgerFixture.event("b")])
        try await ledger.publish()
        #expect(try await LedgerFixture.verified(storage, shown: storage.shown) == ["a", "b"])
    }

    @Test("who follows publications is told at once and after each")
    func publications() async throws {
        let ledger = try LedgerFixture.ledger(FaultyStorage())
        var follower = ledger.publications().makeAsyncIterator()
        #expect(await follower.next() != nil)
        try await ledger.append([LedgerFixture.event("a")])
        try await ledger.publish()
        #expect(await follower.next() != nil)
    }
}
