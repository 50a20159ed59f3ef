import Foundation
import SPIFFE
import ServerTestSupport
import Testing
import Transparency

@testable import ServerStore

/// The log's key in tests, and helpers around it.
enum LedgerFixture {
    static func signer(_ byte: UInt8 = 7) throws -> NoteSigner {
        try NoteSigner(
            name: NoteKeyName("acme.test/ledger"), algorithm: .ed25519,
            seed: [UInt8](repeating: byte, count: 32))
    }

    /// Settings without waiting.
    static var settings: LedgerFile.Settings {
        var settings = LedgerFile.Settings()
        settings.gathering = .zero
        settings.retryInterval = .zero
        // Published when the test says so.
        settings.publicationDelay = .seconds(86_400)
        settings.leavesPerPublication = .max
        return settings
    }

    static func ledger(
        _ storage: any LedgerStorage, settings: LedgerFile.Settings = LedgerFixture.settings,
        now: @escaping @Sendable () -> Date = TestClock(1_000).now
    ) throws -> LedgerFile {
        try LedgerFile(
            folder: "ledger", storage: storage, lock: nil, signer: self.signer(),
            settings: settings,
            now: now)
    }

    /// An event that can be told from others.
    static func event(_ serial: String) -> LeafEvent {
        .adminCall(AdminCallLeaf(method: serial, caller: "uid:0", status: "OK"))
    }

    /// What ``event(_:)`` was made with.
    static func serial(_ leaf: Leaf) -> String? {
        guard case .adminCall(let call) = leaf.event else { return nil }
        return call.method
    }

    /// Verifies the whole log, and that it continues every checkpoint that was ever shown.
    ///
    /// - Returns: The serials of its leaves.
    static func verified(
        _ reader: any TileReader, shown: [[UInt8]] = []
    ) async throws -> [String] {
        let key = try self.signer().key
        let old = try shown.map { try SignedCheckpoint(parsing: $0, signedBy: key).checkpoint }
        var serials: [String] = []
        let verifier = LogVerifier(reader, verifier: try ProofVerifier(key: key), against: old)
        _ = try await verifier.verify { _, bytes in
            serials.append(try #require(self.serial(try Leaf(parsing: Array(bytes)))))
        }
        return serials
    }
}

/// Reads the files of a log below a folder.
struct FolderReader: TileReader {
    let folder: String

    func read(_ path: String, limit: Int) async throws -> [UInt8]? {
        FileManager.default.contents(atPath: self.folder + "/" + path).map { [UInt8]($0) }
    }
}
