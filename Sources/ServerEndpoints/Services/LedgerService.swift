import ControlPlaneProto
import GRPCCore
import ServerCore
import SwiftProtobuf
import Transparency

/// `cygnet.ledger.v1.Ledger`: the key that others verify the ledger with.
struct LedgerService: Cygnet_Ledger_V1_Ledger.SimpleServiceProtocol {
    let ledger: any LedgerStatus

    func getKey(
        request: Cygnet_Ledger_V1_GetKeyRequest, context: ServerContext
    ) async throws -> Cygnet_Ledger_V1_GetKeyResponse {
        .with {
            $0.verifierKey = self.ledger.key.description
            $0.size = self.ledger.size
            $0.publishedSize = self.ledger.publishedSize
        }
    }
}
