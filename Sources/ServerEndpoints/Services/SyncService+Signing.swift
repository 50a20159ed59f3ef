import ControlPlaneProto
import Logging
import SPIFFE
import ServerCore
import SwiftProtobuf
import Transparency

// What the server signs for an agent's workloads.
extension SyncService {
    /// Requests per batch.
    private static let maxBatch = 1_000

    /// Waits for a batch's turn.
    ///
    /// - Throws: ``ServerError`` `invalidArgument` when it is too large.
    private func waitToSign(batchOf count: Int, _ call: CallContext) async throws {
        guard count <= Self.maxBatch else {
            throw ServerError(
                .invalidArgument, "batch of \(count); at most \(Self.maxBatch) are accepted")
        }
        try await self.limits.waitInParts(count, address: call.remoteIPAddress)
    }

    /// Issues a batch. When that is refused as a whole, so is each of its requests: the stream goes on.
    private func issueBatch<SVID>(
        of count: Int, agent: SPIFFEID, _ issue: () async throws -> [Result<SVID, ServerError>]
    ) async throws -> [Result<SVID, ServerError>] {
        do {
            return try await issue()
        } catch let error as ServerError {
            self.logger.error(
                "issuance refused",
                metadata: [LogKeys.agentID: "\(agent)", LogKeys.error: "\(error.message)"])
            return Array(repeating: .failure(error), count: count)
        }
    }

    func signX509(
        _ batch: Cygnet_Sync_V1_SignX509Batch, agent: SPIFFEID, _ outbox: SyncOutbox,
        _ call: CallContext
    ) async throws {
        try await self.waitToSign(batchOf: batch.requests.count, call)
        let wanted = batch.requests.map { request in
            Result { () throws(ServerError) -> X509Issuance in
                let key = try PublicKeys.parse([UInt8](request.publicKey))
                return try self.directory.issuance(
                    entryID: request.entryID, agent: agent, publicKey: key)
            }
        }
        let results = try await self.issueBatch(of: wanted.count, agent: agent) {
            try await self.issuer.issueEach(
                wanted, entryIDs: batch.requests.map(\.entryID), agent: agent)
        }
        try await outbox.write(
            .with {
                $0.x509Results = .with {
                    $0.results = zip(batch.requests, results).map { request, result in
                        var item = Cygnet_Sync_V1_SignX509Result.item(result) {
                            $0.svid = Wire.message($1)
                        }
                        item.requestID = request.requestID
                        return item
                    }
                }
            })
    }

    func signWIT(
        _ batch: Cygnet_Sync_V1_SignWITBatch, agent: SPIFFEID, _ outbox: SyncOutbox,
        _ call: CallContext
    ) async throws {
        try await self.waitToSign(batchOf: batch.requests.count, call)
        let wanted = batch.requests.map { request in
            Result { () throws(ServerError) -> WITIssuance in
                try self.directory.witIssuance(
                    entryID: request.entryID, agent: agent,
                    key: try ConfirmationKey(
                        publicKeyDER: [UInt8](request.publicKey),
                        algorithm: request.signingAlgorithm))
            }
        }
        let results = try await self.issueBatch(of: wanted.count, agent: agent) {
            try await self.issuer.issueEach(
                wanted, entryIDs: batch.requests.map(\.entryID), agent: agent)
        }
        try await outbox.write(
            .with {
                $0.witResults = .with {
                    $0.results = zip(batch.requests, results).map { request, result in
                        var item = Cygnet_Sync_V1_SignWITResult.item(result) {
                            $0.svid = Wire.message($1)
                        }
                        item.requestID = request.requestID
                        return item
                    }
                }
            })
    }

    func signJWT(
        _ request: Cygnet_Sync_V1_SignJWT, agent: SPIFFEID, _ outbox: SyncOutbox,
        _ call: CallContext
    ) async throws {
        try await self.limits.waitInParts(1, address: call.remoteIPAddress)
        let result: Result<IssuedJWTSVID, ServerError>
        do {
            let issuance: JWTIssuance
            do throws(ServerError) {
                issuance = try self.directory.jwtIssuance(
                    entryID: request.entryID, agent: agent,
                    audience: try SVIDService.audience(request.audience))
            } catch {
                self.issuer.refuse(
                    error, .jwt, entryID: request.entryID, node: agent, caller: agent.string)
                throw error
            }
            result = .success(try await self.issuer.issue(issuance, requestedBy: agent.string))
        } catch let error as ServerError {
            result = .failure(error)
        }
        try await outbox.write(
            .with {
                $0.jwtResult = .item(result) { $0.svid = Wire.message($1) }
                $0.jwtResult.requestID = request.requestID
            })
    }
}
