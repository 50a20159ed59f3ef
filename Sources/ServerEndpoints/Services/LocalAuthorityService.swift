import ControlPlaneProto
import GRPCCore
import ServerCore
import SwiftProtobuf

/// `spire.api.server.localauthority.v1.LocalAuthority`: rotation of the authorities when an operator says so.
///
/// The WIT methods, which are SPIRE's too, answer UNIMPLEMENTED unless WIT-SVIDs are enabled; those for an upstream
/// authority find none.
struct LocalAuthorityService: Spire_Api_Server_Localauthority_V1_LocalAuthority
        .SimpleServiceProtocol
{
    let authorities: AuthorityManager

    // MARK: JWT

    func getJWTAuthorityState(
        request: Spire_Api_Server_Localauthority_V1_GetJWTAuthorityStateRequest,
        context: ServerContext
    ) async throws -> Spire_Api_Server_Localauthority_V1_GetJWTAuthorityStateResponse {
        let overview = try self.authorities.overview(.jwt)
        return .with {
            $0.active = .init(overview.active)
            if let prepared = overview.prepared { $0.prepared = .init(prepared) }
            if let old = overview.old { $0.old = .init(old) }
        }
    }

    func prepareJWTAuthority(
        request: Spire_Api_Server_Localauthority_V1_PrepareJWTAuthorityRequest,
        context: ServerContext
    ) async throws -> Spire_Api_Server_Localauthority_V1_PrepareJWTAuthorityResponse {
        let prepared = try await self.authorities.prepare(
            .jwt, requestedBy: try context.call.caller.caller.name)
        return .with { $0.preparedAuthority = .init(prepared) }
    }

    func activateJWTAuthority(
        request: Spire_Api_Server_Localauthority_V1_ActivateJWTAuthorityRequest,
        context: ServerContext
    ) async throws -> Spire_Api_Server_Localauthority_V1_ActivateJWTAuthorityResponse {
        let activated = try await self.authorities.activate(
            .jwt, authorityID: request.authorityID,
            requestedBy: try context.call.caller.caller.name)
        return .with { $0.activatedAuthority = .init(activated) }
    }

    func taintJWTAuthority(
        request: Spire_Api_Server_Localauthority_V1_TaintJWTAuthorityRequest, context: ServerContext
    ) async throws -> Spire_Api_Server_Localauthority_V1_TaintJWTAuthorityResponse {
        let tainted = try await self.authorities.taint(
            .jwt, authorityID: request.authorityID,
            requestedBy: try context.call.caller.caller.name)
        return .with { $0.taintedAuthority = .init(tainted) }
    }

    func revokeJWTAuthority(
        request: Spire_Api_Server_Localauthority_V1_RevokeJWTAuthorityRequest,
        context: ServerContext
    ) async throws -> Spire_Api_Server_Localauthority_V1_RevokeJWTAuthorityResponse {
        let revoked = try await self.authorities.revoke(
            .jwt, authorityID: request.authorityID,
            requestedBy: try context.call.caller.caller.name)
        return .with { $0.revokedAuthority = .init(revoked) }
    }

    // MARK: X.509

    func getX509AuthorityState(
        request: Spire_Api_Server_Localauthority_V1_GetX509AuthorityStateRequest,
        context: ServerContext
    ) async throws -> Spire_Api_Server_Localauthority_V1_GetX509AuthorityStateResponse {
        let overview = try self.authorities.overview(.x509)
        return .with {
            $0.active = .init(overview.active)
            if let prepared = overview.prepared { $0.prepared = .init(prepared) }
            if let old = overview.old { $0.old = .init(old) }
        }
    }

    func prepareX509Authority(
        request: Spire_Api_Server_Localauthority_V1_PrepareX509AuthorityRequest,
        context: ServerContext
    ) async throws -> Spire_Api_Server_Localauthority_V1_PrepareX509AuthorityResponse {
        let prepared = try await self.authorities.prepare(
            .x509, requestedBy: try context.call.caller.caller.name)
        return .with { $0.preparedAuthority = .init(prepared) }
    }

    func activateX509Authority(
        request: Spire_Api_Server_Localauthority_V1_ActivateX509AuthorityRequest,
        context: ServerContext
    ) async throws -> Spire_Api_Server_Localauthority_V1_ActivateX509AuthorityResponse {
        let activated = try await self.authorities.activate(
            .x509, authorityID: request.authorityID,
            requestedBy: try context.call.caller.caller.name)
        return .with { $0.activatedAuthority = .init(activated) }
    }

    func taintX509Authority(
        request: Spire_Api_Server_Localauthority_V1_TaintX509AuthorityRequest,
        context: ServerContext
    ) async throws -> Spire_Api_Server_Localauthority_V1_TaintX509AuthorityResponse {
        let tainted = try await self.authorities.taint(
            .x509, authorityID: request.authorityID,
            requestedBy: try context.call.caller.caller.name)
        return .with { $0.taintedAuthority = .init(tainted) }
    }

    func revokeX509Authority(
        request: Spire_Api_Server_Localauthority_V1_RevokeX509AuthorityRequest,
        context: ServerContext
    ) async throws -> Spire_Api_Server_Localauthority_V1_RevokeX509AuthorityResponse {
        let revoked = try await self.authorities.revoke(
            .x509, authorityID: request.authorityID,
            requestedBy: try context.call.caller.caller.name)
        return .with { $0.revokedAuthority = .init(revoked) }
    }

    // MARK: WIT

    func getWITAuthorityState(
        request: Spire_Api_Server_Localauthority_V1_GetWITAuthorityStateRequest,
        context: ServerContext
    ) async throws -> Spire_Api_Server_Localauthority_V1_GetWITAuthorityStateResponse {
        let overview = try self.authorities.overview(.wit)
        return .with {
            $0.active = .init(overview.active)
            if let prepared = overview.prepared { $0.prepared = .init(prepared) }
            if let old = overview.old { $0.old = .init(old) }
        }
    }

    func prepareWITAuthority(
        request: Spire_Api_Server_Localauthority_V1_PrepareWITAuthorityRequest,
        context: ServerContext
    ) async throws -> Spire_Api_Server_Localauthority_V1_PrepareWITAuthorityResponse {
        let prepared = try await self.authorities.prepare(
            .wit, requestedBy: try context.call.caller.caller.name)
        return .with { $0.preparedAuthority = .init(prepared) }
    }

    func activateWITAuthority(
        request: Spire_Api_Server_Localauthority_V1_ActivateWITAuthorityRequest,
        context: ServerContext
    ) async throws -> Spire_Api_Server_Localauthority_V1_ActivateWITAuthorityResponse {
        let activated = try await self.authorities.activate(
            .wit, authorityID: request.authorityID,
            requestedBy: try context.call.caller.caller.name)
        return .with { $0.activatedAuthority = .init(activated) }
    }

    func taintWITAuthority(
        request: Spire_Api_Server_Localauthority_V1_TaintWITAuthorityRequest, context: ServerContext
    ) async throws -> Spire_Api_Server_Localauthority_V1_TaintWITAuthorityResponse {
        let tainted = try await self.authorities.taint(
            .wit, authorityID: request.authorityID,
            requestedBy: try context.call.caller.caller.name)
        return .with { $0.taintedAuthority = .init(tainted) }
    }

    func revokeWITAuthority(
        request: Spire_Api_Server_Localauthority_V1_RevokeWITAuthorityRequest,
        context: ServerContext
    ) async throws -> Spire_Api_Server_Localauthority_V1_RevokeWITAuthorityResponse {
        let revoked = try await self.authorities.revoke(
            .wit, authorityID: request.authorityID,
            requestedBy: try context.call.caller.caller.name)
        return .with { $0.revokedAuthority = .init(revoked) }
    }

    // MARK: Upstream authority

    private static let noUpstream = ServerError(
        .failedPrecondition,
        "no upstream authority is configured; \"localauthority x509\" is for the authorities of this server"
    )

    func taintX509UpstreamAuthority(
        request: Spire_Api_Server_Localauthority_V1_TaintX509UpstreamAuthorityRequest,
        context: ServerContext
    ) async throws -> Spire_Api_Server_Localauthority_V1_TaintX509UpstreamAuthorityResponse {
        throw Self.noUpstream
    }

    func revokeX509UpstreamAuthority(
        request: Spire_Api_Server_Localauthority_V1_RevokeX509UpstreamAuthorityRequest,
        context: ServerContext
    ) async throws -> Spire_Api_Server_Localauthority_V1_RevokeX509UpstreamAuthorityResponse {
        throw Self.noUpstream
    }
}

extension Spire_Api_Server_Localauthority_V1_AuthorityState {
    init(_ authority: AuthorityDescription) {
        self.init()
        self.authorityID = authority.id
        self.expiresAt = authority.expiresAt
    }
}
