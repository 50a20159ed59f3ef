import ControlPlaneProto
import GRPCCore
import SPIFFE
import ServerCore
import SwiftProtobuf

/// `spire.api.server.trustdomain.v1.TrustDomain`: federation relationships, for operators. Those of the
/// configuration are not visible here.
struct TrustDomainService: Spire_Api_Server_Trustdomain_V1_TrustDomain.SimpleServiceProtocol {
    let registry: FederationRegistry
    let updater: FederationUpdater
    let directory: Directory
    let partnerRevocations: PartnerRevocationsUpdater?

    func listFederationRelationships(
        request: Spire_Api_Server_Trustdomain_V1_ListFederationRelationshipsRequest,
        context: ServerContext
    ) async throws -> Spire_Api_Server_Trustdomain_V1_ListFederationRelationshipsResponse {
        let limit = max(0, Int(request.pageSize))
        let start = limit > 0 ? try Wire.pageStart(afterDomain: request.pageToken) : nil
        let page = self.registry.list(after: start, limit: limit)
        let mask = request.hasOutputMask ? request.outputMask : nil
        return .with {
            $0.federationRelationships = page.map { self.message($0, mask) }
            if limit > 0, let last = page.last { $0.nextPageToken = last.trustDomain.name }
        }
    }

    func getFederationRelationship(
        request: Spire_Api_Server_Trustdomain_V1_GetFederationRelationshipRequest,
        context: ServerContext
    ) async throws -> Spire_Api_Types_FederationRelationship {
        let found = try self.registry.relationship(Wire.trustDomain(request.trustDomain))
        return self.message(found, request.hasOutputMask ? request.outputMask : nil)
    }

    func batchCreateFederationRelationship(
        request: Spire_Api_Server_Trustdomain_V1_BatchCreateFederationRelationshipRequest,
        context: ServerContext
    ) async throws -> Spire_Api_Server_Trustdomain_V1_BatchCreateFederationRelationshipResponse {
        let mask = request.hasOutputMask ? request.outputMask : nil
        var response =
            Spire_Api_Server_Trustdomain_V1_BatchCreateFederationRelationshipResponse()
        for message in request.federationRelationships {
            response.results.append(
                await .item { result in
                    let made = try await self.registry.create(Wire.relationship(message))
                    result.federationRelationship = self.message(made, mask)
                })
        }
        return response
    }

    func batchUpdateFederationRelationship(
        request: Spire_Api_Server_Trustdomain_V1_BatchUpdateFederationRelationshipRequest,
        context: ServerContext
    ) async throws -> Spire_Api_Server_Trustdomain_V1_BatchUpdateFederationRelationshipResponse {
        let inputMask = request.hasInputMask ? request.inputMask : nil
        let outputMask = request.hasOutputMask ? request.outputMask : nil
        var response =
            Spire_Api_Server_Trustdomain_V1_BatchUpdateFederationRelationshipResponse()
        for message in request.federationRelationships {
            response.results.append(
                await .item { result in
                    let changed = try await self.registry.update(
                        Wire.relationshipUpdate(message, mask: inputMask))
                    result.federationRelationship = self.message(changed, outputMask)
                })
        }
        return response
    }

    func batchDeleteFederationRelationship(
        request: Spire_Api_Server_Trustdomain_V1_BatchDeleteFederationRelationshipRequest,
        context: ServerContext
    ) async throws -> Spire_Api_Server_Trustdomain_V1_BatchDeleteFederationRelationshipResponse {
        var response =
            Spire_Api_Server_Trustdomain_V1_BatchDeleteFederationRelationshipResponse()
        for name in request.trustDomains {
            response.results.append(
                await .item { result in
                    result.trustDomain = name
                    let trustDomain = try Wire.trustDomain(name)
                    result.trustDomain = trustDomain.name
                    try await self.registry.delete(trustDomain)
                })
        }
        return response
    }

    func refreshBundle(
        request: Spire_Api_Server_Trustdomain_V1_RefreshBundleRequest, context: ServerContext
    ) async throws -> Google_Protobuf_Empty {
        let trustDomain = try Wire.trustDomain(request.trustDomain)
        // A bundle that cannot be had says nothing of the lists.
        await self.partnerRevocations?.ask(trustDomain)
        try await self.updater.refresh(trustDomain)
        return Google_Protobuf_Empty()
    }

    private func message(
        _ relationship: FederationRelationship, _ mask: Spire_Api_Types_FederationRelationshipMask?
    ) -> Spire_Api_Types_FederationRelationship {
        Wire.message(
            relationship, bundle: self.directory.bundle(relationship.trustDomain), mask: mask)
    }
}
