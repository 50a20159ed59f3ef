import Foundation
import SPIFFE
import ServerCore
import ServerTestSupport
import Testing
import Transparency

@testable import ServerStore

@Suite("The index of somebody who reads a ledger") struct LeafIndexTests {
    private static func event(_ number: Int) -> LeafEvent {
        .other(
            type: "some.thing",
            members: [
                "serial": .string(String(number, radix: 16)),
                "spiffe_id": .string("spiffe://acme.test/\(number % 10)"),
            ])
    }

    private static func verifier(_ storage: FaultyStorage) throws -> LogVerifier {
        LogVerifier(
            storage,
            verifier: try ProofVerifier(key: LedgerFixture.signer().key))
    }

    private static func code(_ body: () throws -> Void) -> ServerError.Code? {
        do {
            try body()
            return nil
        } catch {
            return (error as? ServerError)?.code
        }
    }

    @Test("it grows with the log, and finds the latest first")
    func grows() async throws {
        try await TemporaryFolder.with { folder in
            let (storage, key) = (FaultyStorage(), try LedgerFixture.signer().key)
            let ledger = try LedgerFixture.ledger(storage)
            var count = 0
            // More at once than goes into one transaction.
            for step in [7, 5_000, 1, 300] {
                try await ledger.append((count..<count + step).map(Self.event))
                try await ledger.publish()
                count += step
                let index = try LeafIndex(path: folder.file("index"), log: key)
                let report = try await index.extend(Self.verifier(storage))
                #expect(report.signed.checkpoint.size == UInt64(count))
                let term = LeafTerm(.spiffeID, "spiffe://acme.test/3")
                let wanted = (0..<count).filter { $0 % 10 == 3 }.reversed().map { UInt64($0) }
                #expect(try index.leaves(with: term, limit: .max) == wanted)
                #expect(try index.leaves(with: term, limit: 2) == Array(wanted.prefix(2)))
                if let first = wanted.first {
                    let earlier = try index.leaves(with: term, before: first, limit: 1)
                    #expect(earlier == Array(wanted.dropFirst().prefix(1)))
                }
                #expect(try index.leaves(with: LeafTerm(.serial, "5"), limit: 9) == [5])
                #expect(try index.leaves(with: LeafTerm(.jti, "5"), limit: 9).isEmpty)
            }
        }
    }

    @Test("a log that was rewritten, or cut, is not the one that was indexed")
    func rewritten() async throws {
        try await TemporaryFolder.with { folder in
            let (storage, key) = (FaultyStorage(), try LedgerFixture.signer().key)
            let ledger = try LedgerFixture.ledger(storage)
            try await ledger.append((0..<20).map(Self.event))
            try await ledger.publish()
            let index = try LeafIndex(path: folder.file("index"), log: key)
            _ = try await index.extend(Self.verifier(storage))
            // The same key, another history.
            for count in [10, 30] {
                let fork = FaultyStorage()
                let other = try LedgerFixture.ledger(fork)
                try await other.append((0..<count).map { Self.event($0 + 1) })
                try await other.publish()
                await #expect(throws: LogFault.self) {
                    _ = try await index.extend(Self.verifier(fork))
                }
            }
            // And nothing of the fork has stayed.
            let again = try LeafIndex(path: folder.file("index"), log: key)
            _ = try await again.extend(Self.verifier(storage))
            #expect(try again.leaves(with: LeafTerm(.serial, "1e"), limit: 9).isEmpty)
            #expect(try again.leaves(with: LeafTerm(.serial, "13"), limit: 9) == [19])
        }
    }

    @Test("what was entered and never proved is thrown away")
    func unproved() async throws {
        try await TemporaryFolder.with { folder in
            let (storage, key) = (FaultyStorage(), try LedgerFixture.signer().key)
            let ledger = try LedgerFixture.ledger(storage)
            try await ledger.append((0..<5_000).map(Self.event))
            try await ledger.publish()
            // The last entry is not what was signed; the first batch has been entered by then.
            let fork = FaultyStorage()
            let other = try LedgerFixture.ledger(fork)
            try await other.append((0..<4_999).map(Self.event) + [Self.event(0)])
            try await other.publish()
            struct Mixed: TileReader {
                let (storage, fork): (FaultyStorage, FaultyStorage)
                func read(_ path: String, limit: Int) async throws -> [UInt8]? {
                    try await (path == "checkpoint" ? self.storage : self.fork)
                        .read(path, limit: limit)
                }
            }
            let index = try LeafIndex(path: folder.file("index"), log: key)
            let mixed = LogVerifier(
                Mixed(storage: storage, fork: fork), verifier: try ProofVerifier(key: key))
            await #expect(throws: LogFault.self) { _ = try await index.extend(mixed) }
            let again = try LeafIndex(path: folder.file("index"), log: key)
            #expect(try again.leaves(with: LeafTerm(.serial, "1"), limit: 9).isEmpty)
            _ = try await again.extend(Self.verifier(storage))
            #expect(try again.leaves(with: LeafTerm(.serial, "1"), limit: 9) == [1])
            #expect(try again.leaves(with: LeafTerm(.serial, "1387"), limit: 9) == [4_999])
        }
    }

    @Test("a file that is none, another log's or a later version's is refused and left as it is")
    func refused() async throws {
        try await TemporaryFolder.with { folder in
            let key = try LedgerFixture.signer().key
            let path = folder.file("index")
            _ = try LeafIndex(path: path, log: key)
            let other = try LedgerFixture.signer(8).key
            #expect(
                Self.code { _ = try LeafIndex(path: path, log: other) } == .failedPrecondition)
            let text = folder.file("text")
            try Data("these are no leaves, however long the text may be".utf8)
                .write(to: URL(fileURLWithPath: text))
            let before = FileManager.default.contents(atPath: text)
            #expect(Self.code { _ = try LeafIndex(path: text, log: key) } == .failedPrecondition)
            #expect(FileManager.default.contents(atPath: text) == before)
            #expect(
                Self.code { _ = try LeafIndex(path: folder.file("no/folder"), log: key) }
                    == .unavailable)
        }
    }
}
