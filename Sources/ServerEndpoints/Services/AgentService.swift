import ControlPlaneProto
import GRPCCore
import SPIFFE
import ServerCore
import SwiftProtobuf
import X509

/// `spire.api.server.agent.v1.Agent`: attestation and renewal for agents, and what operators do with them.
struct AgentService: Spire_Api_Server_Agent_V1_Agent.SimpleServiceProtocol {
    let nodes: NodeRegistry
    let trustDomain: TrustDomain

    // MARK: Agents

    func attestAgent(
        request: RPCAsyncSequence<Spire_Api_Server_Agent_V1_AttestAgentRequest, any Error>,
        response: RPCWriter<Spire_Api_Server_Agent_V1_AttestAgentResponse>,
        context: ServerContext
    ) async throws {
        var requests = request.makeAsyncIterator()
        guard let first = try await requests.next(), case .params(let params)? = first.step else {
            throw ServerError(.invalidArgument, "malformed param: the first message must be params")
        }
        guard params.hasData else {
            throw ServerError(.invalidArgument, "malformed param: missing attestation data")
        }
        guard params.hasParams else {
            throw ServerError(.invalidArgument, "malformed param: missing X509-SVID parameters")
        }
        guard !params.params.csr.isEmpty else {
            throw ServerError(.invalidArgument, "malformed param: missing CSR")
        }
        guard !params.data.type.isEmpty else {
            throw ServerError(.invalidArgument, "malformed param: missing attestation data type")
        }
        guard !params.data.payload.isEmpty else {
            throw ServerError(.invalidArgument, "malformed param: missing attestation data payload")
        }
        guard params.data.type == "join_token" else {
            throw ServerError(
                .failedPrecondition,
                "no node attestor \(quoted(params.data.type)) is configured; configured is join_token"
            )
        }
        // The CSR conveys only the key here; the token is what is trusted.
        let csr = try PublicKeys.parseRequest([UInt8](params.params.csr), verifySignature: false)
        guard params.data.payload.count <= 2048 else {
            throw ServerError(.invalidArgument, "join token is longer than 2048 bytes")
        }
        let token = String(decoding: params.data.payload, as: UTF8.self)
        let svid = try await self.nodes.attest(
            joinToken: token, publicKey: csr.publicKey,
            from: try context.call.remoteIPAddress ?? "local")
        try await response.write(
            .with {
                $0.result = .with {
                    $0.svid = Wire.message(svid)
                    $0.reattestable = false
                }
            })
    }

    func renewAgent(
        request: Spire_Api_Server_Agent_V1_RenewAgentRequest, context: ServerContext
    ) async throws -> Spire_Api_Server_Agent_V1_RenewAgentResponse {
        let agent = try context.call.requireAgent()
        guard request.hasParams else { throw ServerError(.invalidArgument, "params cannot be nil") }
        guard !request.params.csr.isEmpty else {
            throw ServerError(.invalidArgument, "missing CSR")
        }
        let csr = try PublicKeys.parseRequest([UInt8](request.params.csr))
        let svid = try await self.nodes.renew(agent, publicKey: csr.publicKey)
        return .with { $0.svid = Wire.message(svid) }
    }

    func postStatus(
        request: Spire_Api_Server_Agent_V1_PostStatusRequest, context: ServerContext
    ) async throws -> Spire_Api_Server_Agent_V1_PostStatusResponse {
        guard request.agentVersion.count <= 255 else {
            throw ServerError(.invalidArgument, "agent version is longer than 255 characters")
        }
        try await self.nodes.setVersion(request.agentVersion, of: try context.call.requireAgent())
        return .init()
    }

    // MARK: Operators

    func countAgents(
        request: Spire_Api_Server_Agent_V1_CountAgentsRequest, context: ServerContext
    ) async throws -> Spire_Api_Server_Agent_V1_CountAgentsResponse {
        let filter = try Wire.nodeFilter(
            .with {
                $0.byAttestationType = request.filter.byAttestationType
                if request.filter.hasBySelectorMatch {
                    $0.bySelectorMatch = request.filter.bySelectorMatch
                }
                if request.filter.hasByBanned { $0.byBanned = request.filter.byBanned }
                if request.filter.hasByCanReattest {
                    $0.byCanReattest = request.filter.byCanReattest
                }
                $0.byExpiresBefore = request.filter.byExpiresBefore
            })
        return .with { $0.count = Int32(clamping: self.nodes.list(filter).count) }
    }

    func listAgents(
        request: Spire_Api_Server_Agent_V1_ListAgentsRequest, context: ServerContext
    ) async throws -> Spire_Api_Server_Agent_V1_ListAgentsResponse {
        let all = self.nodes.list(try Wire.nodeFilter(request.filter))
        let mask = request.hasOutputMask ? request.outputMask : nil
        guard request.pageSize > 0 else {
            return .with { $0.agents = all.map { Wire.message($0, mask: mask) } }
        }
        // The token is the last ID of the page before, in hex: pages stay right while nodes come and go.
        var rest = all[...]
        if !request.pageToken.isEmpty {
            rest = rest.drop { hex($0.id.string.utf8) <= request.pageToken }
            guard request.pageToken.allSatisfy(\.isHexDigit) else {
                throw ServerError(
                    .invalidArgument,
                    "page token \(quoted(request.pageToken)) is not one that this server gave out")
            }
        }
        let page = rest.prefix(Int(request.pageSize))
        return .with {
            $0.agents = page.map { Wire.message($0, mask: mask) }
            $0.nextPageToken = page.last.map { hex($0.id.string.utf8) } ?? ""
        }
    }

    func getAgent(
        request: Spire_Api_Server_Agent_V1_GetAgentRequest, context: ServerContext
    ) async throws -> Spire_Api_Types_Agent {
        let id = try self.agentID(request.id, isSet: request.hasID)
        guard let node = self.nodes.node(id) else {
            throw ServerError(.notFound, "agent not found")
        }
        return Wire.message(node, mask: request.hasOutputMask ? request.outputMask : nil)
    }

    func deleteAgent(
        request: Spire_Api_Server_Agent_V1_DeleteAgentRequest, context: ServerContext
    ) async throws -> Google_Protobuf_Empty {
        try await self.nodes.evict(try self.agentID(request.id, isSet: request.hasID))
        return .init()
    }

    func banAgent(
        request: Spire_Api_Server_Agent_V1_BanAgentRequest, context: ServerContext
    ) async throws -> Google_Protobuf_Empty {
        try await self.nodes.ban(try self.agentID(request.id, isSet: request.hasID))
        return .init()
    }

    func createJoinToken(
        request: Spire_Api_Server_Agent_V1_CreateJoinTokenRequest, context: ServerContext
    ) async throws -> Spire_Api_Types_JoinToken {
        let agentID =
            request.hasAgentID ? try Wire.id(request.agentID, field: "agent_id") : nil
        let token = try await self.nodes.createJoinToken(
            value: request.token, ttl: request.ttl, agentID: agentID)
        return .with {
            $0.value = token.value
            $0.expiresAt = token.expiresAt
        }
    }

    private func agentID(
        _ message: Spire_Api_Types_SPIFFEID, isSet: Bool
    ) throws(ServerError) -> SPIFFEID {
        let id = try Wire.id(message, field: "agent ID", isSet: isSet)
        try EntryValidation.checkAgentID(id, in: self.trustDomain)
        return id
    }
}
