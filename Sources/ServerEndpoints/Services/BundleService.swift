import ControlPlaneProto
import GRPCCore
import SPIFFE
import ServerCore
import SwiftProtobuf

/// `spire.api.server.bundle.v1.Bundle`: the trust domain's own bundle, and those of partners.
struct BundleService: Spire_Api_Server_Bundle_V1_Bundle.SimpleServiceProtocol {
    let directory: Directory
    let registry: BundleRegistry

    // MARK: Own bundle

    func getBundle(
        request: Spire_Api_Server_Bundle_V1_GetBundleRequest, context: ServerContext
    ) async throws -> Spire_Api_Types_Bundle {
        guard let bundle = self.directory.ownBundle else {
            throw ServerError(.unavailable, "bundle is not there yet; the server is starting")
        }
        return Wire.message(bundle, mask: request.hasOutputMask ? request.outputMask : nil)
    }

    func countBundles(
        request: Spire_Api_Server_Bundle_V1_CountBundlesRequest, context: ServerContext
    ) async throws -> Spire_Api_Server_Bundle_V1_CountBundlesResponse {
        .with { $0.count = Int32(clamping: self.directory.bundleCount) }
    }

    func appendBundle(
        request: Spire_Api_Server_Bundle_V1_AppendBundleRequest, context: ServerContext
    ) async throws -> Spire_Api_Types_Bundle {
        // WIT authorities are accepted on the wire and left out of account, as in SPIRE.
        var addition = TrustBundle(trustDomain: self.registry.trustDomain)
        addition.x509Authorities = Wire.x509Authorities(request.x509Authorities)
        addition.jwtAuthorities = try Wire.jwtAuthorities(request.jwtAuthorities)
        let bundle = try await self.registry.append(addition)
        return Wire.message(bundle, mask: request.hasOutputMask ? request.outputMask : nil)
    }

    func publishJWTAuthority(
        request: Spire_Api_Server_Bundle_V1_PublishJWTAuthorityRequest, context: ServerContext
    ) async throws -> Spire_Api_Server_Bundle_V1_PublishJWTAuthorityResponse {
        guard request.hasJwtAuthority else {
            throw ServerError(.invalidArgument, "missing JWT authority")
        }
        var addition = TrustBundle(trustDomain: self.registry.trustDomain)
        addition.jwtAuthorities = try Wire.jwtAuthorities([request.jwtAuthority])
        let bundle = try await self.registry.append(addition)
        return .with { $0.jwtAuthorities = bundle.jwtAuthorities.map { Wire.message($0) } }
    }

    func publishWITAuthority(
        request: Spire_Api_Server_Bundle_V1_PublishWITAuthorityRequest, context: ServerContext
    ) async throws -> Spire_Api_Server_Bundle_V1_PublishWITAuthorityResponse {
        throw ServerError(.unimplemented, "WIT authorities cannot be published from downstream")
    }

    // MARK: Bundles of partners

    func listFederatedBundles(
        request: Spire_Api_Server_Bundle_V1_ListFederatedBundlesRequest, context: ServerContext
    ) async throws -> Spire_Api_Server_Bundle_V1_ListFederatedBundlesResponse {
        let limit = max(0, Int(request.pageSize))
        let start = limit > 0 ? try Wire.pageStart(afterDomain: request.pageToken) : nil
        let page = self.registry.list(after: start, limit: limit)
        let mask = request.hasOutputMask ? request.outputMask : nil
        return .with {
            $0.bundles = page.map { Wire.message($0, mask: mask) }
            if limit > 0, let last = page.last { $0.nextPageToken = last.trustDomain.name }
        }
    }

    func getFederatedBundle(
        request: Spire_Api_Server_Bundle_V1_GetFederatedBundleRequest, context: ServerContext
    ) async throws -> Spire_Api_Types_Bundle {
        var bundle = try self.registry.foreignBundle(Wire.trustDomain(request.trustDomain))
        // Operators see the whole.
        if try context.call.caller.agentID != nil { bundle = self.directory.limited(bundle) }
        return Wire.message(bundle, mask: request.hasOutputMask ? request.outputMask : nil)
    }

    func batchCreateFederatedBundle(
        request: Spire_Api_Server_Bundle_V1_BatchCreateFederatedBundleRequest,
        context: ServerContext
    ) async throws -> Spire_Api_Server_Bundle_V1_BatchCreateFederatedBundleResponse {
        let mask = request.hasOutputMask ? request.outputMask : nil
        var response = Spire_Api_Server_Bundle_V1_BatchCreateFederatedBundleResponse()
        for message in request.bundle {
            response.results.append(
                await .item { result in
                    let bundle = try await self.registry.create(Wire.foreignBundle(message))
                    result.bundle = Wire.message(bundle, mask: mask)
                })
        }
        return response
    }

    func batchUpdateFederatedBundle(
        request: Spire_Api_Server_Bundle_V1_BatchUpdateFederatedBundleRequest,
        context: ServerContext
    ) async throws -> Spire_Api_Server_Bundle_V1_BatchUpdateFederatedBundleResponse {
        let parts = Wire.parts(request.hasInputMask ? request.inputMask : nil)
        let mask = request.hasOutputMask ? request.outputMask : nil
        var response = Spire_Api_Server_Bundle_V1_BatchUpdateFederatedBundleResponse()
        for message in request.bundle {
            response.results.append(
                await .item { result in
                    let bundle = try await self.registry.update(
                        Wire.foreignBundle(message, parts: parts), parts: parts)
                    result.bundle = Wire.message(bundle, mask: mask)
                })
        }
        return response
    }

    func batchSetFederatedBundle(
        request: Spire_Api_Server_Bundle_V1_BatchSetFederatedBundleRequest, context: ServerContext
    ) async throws -> Spire_Api_Server_Bundle_V1_BatchSetFederatedBundleResponse {
        let mask = request.hasOutputMask ? request.outputMask : nil
        var response = Spire_Api_Server_Bundle_V1_BatchSetFederatedBundleResponse()
        for message in request.bundle {
            response.results.append(
                await .item { result in
                    let bundle = try await self.registry.set(Wire.foreignBundle(message))
                    result.bundle = Wire.message(bundle, mask: mask)
                })
        }
        return response
    }

    func batchDeleteFederatedBundle(
        request: Spire_Api_Server_Bundle_V1_BatchDeleteFederatedBundleRequest,
        context: ServerContext
    ) async throws -> Spire_Api_Server_Bundle_V1_BatchDeleteFederatedBundleResponse {
        let mode = try Wire.mode(request.mode)
        var response = Spire_Api_Server_Bundle_V1_BatchDeleteFederatedBundleResponse()
        for name in request.trustDomains {
            response.results.append(
                await .item { result in
                    result.trustDomain = name
                    let trustDomain = try Wire.trustDomain(name)
                    result.trustDomain = trustDomain.name
                    try await self.registry.delete(trustDomain, mode: mode)
                })
        }
        return response
    }
}
