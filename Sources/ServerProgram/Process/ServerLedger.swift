import Foundation
import PluginAPI
import Plugins
import SPIFFE
import ServerCore
import ServerStore
import ServiceRuntime
import Transparency

/// The ledger of a running server.
enum ServerLedger {
    /// Opens the ledger below the data directory, and creates it where there is none.
    ///
    /// - Throws: ``ServerError``, ``FileError`` or ``KeyManagerError`` with what is wrong and what to do.
    static func open(
        dataDirectory: String, trustDomain: TrustDomain, keyManager: any KeyManager,
        settings: LedgerFile.Settings = LedgerFile.Settings()
    ) async throws -> LedgerFile {
        let folder = dataDirectory + "/ledger"
        try DirectoryPath.make(folder, mode: 0o700)
        // A log outlives the process, and so must its key; one in memory would be another at the next start.
        let keyManager: any KeyManager =
            keyManager is MemoryKeyManager
            ? try DiskKeyManager(path: dataDirectory + "/ledger-key.json") : keyManager
        return try LedgerFile(
            folder: folder,
            signer: try await LedgerKey.signer(trustDomain: trustDomain, keyManager: keyManager),
            settings: settings)
    }

    /// The numbers of the changes in the ledger's leaves since that time.
    static func changes(in ledger: LedgerFile, since time: LeafTime) async throws -> Set<Int64> {
        var numbers: Set<Int64> = []
        let start = Date(timeIntervalSince1970: TimeInterval(time.milliseconds) / 1_000)
        // The clock may have been set back between a change and its leaf.
        try await ledger.replay(since: start.addingTimeInterval(-Self.clockTolerance)) { leaf in
            switch leaf.event {
            case .change(let change): if let seq = change.seq { numbers.insert(seq) }
            case .node(let node): if let seq = node.seq { numbers.insert(seq) }
            default: break
            }
        }
        return numbers
    }

    /// Gives the SVIDs back that were issued before this start and have not expired.
    ///
    /// - Parameter lifetime: No SVID lasts longer: that of the authorities.
    static func restore(
        _ admission: RevocationAdmission, from ledger: LedgerFile, issuedFor lifetime: Duration
    ) async throws {
        let start = Date(timeIntervalSinceNow: -TimeInterval(lifetime.components.seconds))
        try await ledger.replay(
            since: start.addingTimeInterval(-Self.clockTolerance), type: SVIDIssuedLeaf.type
        ) { leaf in
            if case .svidIssued(let issued) = leaf.event { admission.restore(issued) }
        }
        admission.finishRestoring()
    }

    /// Seconds.
    private static let clockTolerance: TimeInterval = 300
}
