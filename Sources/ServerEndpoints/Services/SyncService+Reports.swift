import ControlPlaneProto
import Logging
import SPIFFE
import ServerCore
import SwiftProtobuf

// What an agent reports of its workloads.
extension SyncService {
    /// Answers only when the statement is in the ledger.
    func record(
        _ request: Cygnet_Sync_V1_RecordCustody, agent: SPIFFEID, _ outbox: SyncOutbox,
        _ call: CallContext
    ) async throws {
        try await self.limits.waitForCustody(
            bytes: request.statement.utf8.count + request.receipt.utf8.count,
            address: call.remoteIPAddress)
        let status: Spire_Api_Types_Status
        do throws(ServerError) {
            try await self.custody.record(
                statement: request.statement, receipt: request.receipt, agent: agent)
            status = itemOK
        } catch {
            self.logger.warning(
                "custody statement refused",
                metadata: [LogKeys.agentID: "\(agent)", LogKeys.error: "\(error.message)"])
            status = error.itemStatus
        }
        try await outbox.write(
            .with {
                $0.custodyResult = .with {
                    $0.requestID = request.requestID
                    $0.status = status
                }
            })
    }

    /// Answers when what the agent had obtained for the entry is revoked.
    func end(
        _ request: Cygnet_Sync_V1_WorkloadEnd, agent: SPIFFEID, _ outbox: SyncOutbox,
        _ call: CallContext
    ) async throws {
        let cost = self.revocations.costOfEnd(entryID: request.entryID, agent: agent)
        try await self.limits.waitForEnd(cost: cost, address: call.remoteIPAddress)
        let status: Spire_Api_Types_Status
        do {
            try await self.revocations.workloadEnded(entryID: request.entryID, agent: agent)
            status = itemOK
        } catch let error as ServerError {
            self.logger.debug(
                "end of a workload has no effect",
                metadata: [LogKeys.agentID: "\(agent)", LogKeys.error: "\(error.message)"])
            status = error.itemStatus
        } catch {
            self.logger.error(
                "end of a workload has no effect yet",
                metadata: [LogKeys.agentID: "\(agent)", LogKeys.error: "\(error)"])
            status =
                ServerError(.unavailable, "the revocation cannot be stored now").itemStatus
        }
        try await outbox.write(
            .with {
                $0.workloadEndResult = .with {
                    $0.requestID = request.requestID
                    $0.status = status
                }
            })
    }
}
