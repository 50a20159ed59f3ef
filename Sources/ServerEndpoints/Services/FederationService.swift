import ControlPlaneProto
import GRPCCore
import SPIFFE
import ServerCore
import SwiftProtobuf

/// `cygnet.federation.v1.Federation`: the state of every partner, and what it is trusted with.
struct FederationService: Cygnet_Federation_V1_Federation.SimpleServiceProtocol {
    let registry: FederationRegistry
    let updater: FederationUpdater
    let directory: Directory
    let bundleEndpoint: OwnBundleEndpoint?
    let partnerRevocations: PartnerRevocationsUpdater?

    func getStatus(
        request: Cygnet_Federation_V1_GetStatusRequest, context: ServerContext
    ) async throws -> Cygnet_Federation_V1_GetStatusResponse {
        let partners = await self.updater.status()
        let revocations = await self.partnerRevocations?.status() ?? [:]
        let now = self.updater.unixNow
        let groups = self.directory.groups
        let members = try groups.names.map { name in
            (name, try groups.members(of: name).sorted().map(\.name))
        }
        return .with {
            $0.serverTime = now
            $0.partners = partners.map { status in
                let trustDomain = status.relationship.trustDomain
                var message = Wire.message(status, bundle: self.directory.bundle(trustDomain))
                if let limits = self.directory.limits(trustDomain) {
                    message.limits = self.message(limits)
                }
                if let revocations = revocations[trustDomain], revocations.lastAttempt != nil {
                    message.revocations = Wire.message(revocations)
                }
                message.groups = groups.names(containing: trustDomain)
                return message
            }
            $0.groups = members.map { name, trustDomains in
                .with {
                    $0.name = name
                    $0.trustDomains = trustDomains
                }
            }
        }
    }

    func listPartnerLimits(
        request: Cygnet_Federation_V1_ListPartnerLimitsRequest, context: ServerContext
    ) async throws -> Cygnet_Federation_V1_ListPartnerLimitsResponse {
        .with { $0.limits = self.directory.limits.map { self.message($0) } }
    }

    func setPartnerLimits(
        request: Cygnet_Federation_V1_SetPartnerLimitsRequest, context: ServerContext
    ) async throws -> Cygnet_Federation_V1_PartnerLimits {
        let limits = try Wire.limits(request.limits)
        try await self.registry.setLimits(limits)
        return self.message(limits)
    }

    func deletePartnerLimits(
        request: Cygnet_Federation_V1_DeletePartnerLimitsRequest, context: ServerContext
    ) async throws -> Cygnet_Federation_V1_DeletePartnerLimitsResponse {
        try await self.registry.deleteLimits(Wire.trustDomain(request.trustDomain))
        return .init()
    }

    func getBundleEndpoint(
        request: Cygnet_Federation_V1_GetBundleEndpointRequest, context: ServerContext
    ) async throws -> Cygnet_Federation_V1_OwnBundleEndpoint {
        guard let endpoint = self.bundleEndpoint else {
            throw ServerError(.notFound, "the configuration has no bundle endpoint")
        }
        return .with {
            $0.profile = endpoint.profileName
            $0.url = endpoint.url ?? ""
        }
    }

    private func message(_ limits: PartnerLimits) -> Cygnet_Federation_V1_PartnerLimits {
        Wire.message(
            limits, isConfigured: self.directory.configuredLimits[limits.trustDomain] != nil)
    }
}
