import Logging
import SPIFFEHTTP
import ServerCore
import ServerStore

extension ServerLedger {
    /// What asks the witnesses of the configuration; nil when there are none.
    ///
    /// - Throws: ``SPIFFEHTTPError`` for an address that is none.
    static func witnessing(
        _ configuration: LedgerWitnessesConfiguration?, of ledger: LedgerFile, logger: Logger
    ) throws -> CheckpointWitnessing? {
        guard let configuration else { return nil }
        let witnesses = try configuration.witnesses.map {
            LedgerWitness(name: $0.name, key: $0.key, client: try HTTPWitnessClient(url: $0.url))
        }
        return CheckpointWitnessing(
            log: ledger, witnesses: witnesses, quorum: configuration.quorum, logger: logger)
    }

    /// Where witnesses cosign, checkpoints are published less often, so that most of the time readers find one that
    /// has its cosignatures.
    static func settings(_ configuration: LedgerWitnessesConfiguration?) -> LedgerFile.Settings {
        var settings = LedgerFile.Settings()
        if configuration != nil {
            settings.publicationDelay = .seconds(1)
            settings.leavesPerPublication = 65_536
        }
        return settings
    }
}

/// A witness at an address.
struct HTTPWitnessClient: WitnessClient {
    /// What a witness answers is a few lines.
    private static let maximumResponseBytes = 64 * 1024
    private let address: WebFileReader

    init(url: String) throws(SPIFFEHTTPError) {
        self.address = try WebFileReader(url: url, timeout: .seconds(15))
    }

    func addCheckpoint(_ body: [UInt8]) async throws -> WitnessResponse {
        let response = try await self.address.post(
            body, contentType: "text/plain; charset=utf-8", to: "add-checkpoint",
            limit: Self.maximumResponseBytes)
        return WitnessResponse(
            status: response.status, contentType: response.contentType, body: response.body)
    }
}
