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

    func signX509(
        _ batch: Cygnet_Sync_V1_SignX509Batch, agent: SPIFFEID, _ outbox: SyncOutbox,
        _ call: CallContext
    ) async throws {
        guard batch.requests.count <= Self.maxBatch else {
            throw ServerError(
                .invalidArgument,
                "batch of \(batch.requests.count); at most \(Self.maxBatch) are accepted")
        }
        try await self.limits.waitInParts(batch.requests.count, address: call.remoteIPAddress)
        let wanted = batch.requests.map { request in
            Result { () throws(ServerError) -> X509Issuance in
                let key = try PublicKeys.parse([UInt8](request.publicKey))
                return try self.directory.issuance(
                    entryID: request.entryID, agent: agent, publicKey: key)
            }
        }
        let results: [Result<IssuedX509SVID, ServerError>]
        do {
            results = try await self.issuer.issueEach(
                wanted, entryIDs: batch.requests.map(\.entryID), agent: agent)
        } catch let error as ServerError {
            self.logger.error(
                "issuance refused",
                metadata: [LogKeys.agentID: "\(agent)", LogKeys.error: "\(error.message)"])
            results = wanted.map { _ in .failure(error) }
        }
        try await outbox.write(
            .with {
                $0.x509Results = .with {
                    $0.results = zip(batch.requests, results).map { request, result in
                        .with {
                            $0.requestID = request.requestID
                            switch result {
                            case .success(let svid):
                                $0.status = itemOK
                                $0.svid = Wire.message(svid)
                            case .failure(let error):
                                $0.status = error.itemStatus
                            }
                        }
                    }
                }
            })
    }

    func signWIT(
        _ batch: Cygnet_Sync_V1_SignWITBatch, agent: SPIFFEID, _ outbox: SyncOutbox,
        _ call: CallContext
    ) async throws {
        guard batch.requests.count <= Self.maxBatch else {
            throw ServerError(
                .invalidArgument,
                "batch of \(batch.requests.count); at most \(Self.maxBatch) are accepted")
        }
        try await self.limits.waitInParts(batch.requests.count, address: call.remoteIPAddress)
        let wanted = batch.requests.map { request in
            Result { () throws(ServerError) -> WITIssuance in
                try self.directory.witIssuance(
                    entryID: request.entryID, agent: agent,
                    key: try ConfirmationKey(
                        publicKeyDER: [UInt8](request.publicKey),
                        algorithm: request.signingAlgorithm))
            }
        }
        let results: [Result<IssuedWITSVID, ServerError>]
        do {
            results = try await self.issuer.issueEach(
                wanted, entryIDs: batch.requests.map(\.entryID), agent: agent)
        } catch let error as ServerError {
            self.logger.error(
                "issuance refused",
                metadata: [LogKeys.agentID: "\(agent)", LogKeys.error: "\(error.message)"])
            results = wanted.map { _ in .failure(error) }
        }
        try await outbox.write(
            .with {
                $0.witResults = .with {
                    $0.results = zip(batch.requests, results).map { request, result in
                        .with {
                            $0.requestID = request.requestID
                            switch result {
                            case .success(let svid):
                                $0.status = itemOK
                                $0.svid = Wire.message(svid)
                            case .failure(let error):
                                $0.status = error.itemStatus
                            }
                        }
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
                $0.jwtResult = .with {
                    $0.requestID = request.requestID
                    switch result {
                    case .success(let svid):
                        $0.status = itemOK
                        $0.svid = Wire.message(svid)
                    case .failure(let error):
                        $0.status = error.itemStatus
                    }
                }
            })
    }
}
