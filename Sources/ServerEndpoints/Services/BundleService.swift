import ControlPlaneProto
import GRPCCore
import ServerCore
import SwiftProtobuf

/// `spire.api.server.bundle.v1.Bundle`: the trust domain's own bundle. The federated methods come with
/// federation and answer UNIMPLEMENTED until then.
struct BundleService: Spire_Api_Server_Bundle_V1_Bundle.SimpleServiceProtocol {
    let directory: Directory

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

    private static let later = ServerError(.unimplemented, "federation is not supported yet")

    func appendBundle(
        request: Spire_Api_Server_Bundle_V1_AppendBundleRequest, context: ServerContext
    ) async throws -> Spire_Api_Types_Bundle { throw Self.later }

    func publishJWTAuthority(
        request: Spire_Api_Server_Bundle_V1_PublishJWTAuthorityRequest, context: ServerContext
    ) async throws -> Spire_Api_Server_Bundle_V1_PublishJWTAuthorityResponse { throw Self.later }

    func publishWITAuthority(
        request: Spire_Api_Server_Bundle_V1_PublishWITAuthorityRequest, context: ServerContext
    ) async throws -> Spire_Api_Server_Bundle_V1_PublishWITAuthorityResponse { throw Self.later }

    func listFederatedBundles(
        request: Spire_Api_Server_Bundle_V1_ListFederatedBundlesRequest, context: ServerContext
    ) async throws -> Spire_Api_Server_Bundle_V1_ListFederatedBundlesResponse { throw Self.later }

    func getFederatedBundle(
        request: Spire_Api_Server_Bundle_V1_GetFederatedBundleRequest, context: ServerContext
    ) async throws -> Spire_Api_Types_Bundle { throw Self.later }

    func batchCreateFederatedBundle(
        request: Spire_Api_Server_Bundle_V1_BatchCreateFederatedBundleRequest,
        context: ServerContext
    ) async throws -> Spire_Api_Server_Bundle_V1_BatchCreateFederatedBundleResponse {
        throw Self.later
    }

    func batchUpdateFederatedBundle(
        request: Spire_Api_Server_Bundle_V1_BatchUpdateFederatedBundleRequest,
        context: ServerContext
    ) async throws -> Spire_Api_Server_Bundle_V1_BatchUpdateFederatedBundleResponse {
        throw Self.later
    }

    func batchSetFederatedBundle(
        request: Spire_Api_Server_Bundle_V1_BatchSetFederatedBundleRequest, context: ServerContext
    ) async throws -> Spire_Api_Server_Bundle_V1_BatchSetFederatedBundleResponse {
        throw Self.later
    }

    func batchDeleteFederatedBundle(
        request: Spire_Api_Server_Bundle_V1_BatchDeleteFederatedBundleRequest,
        context: ServerContext
    ) async throws -> Spire_Api_Server_Bundle_V1_BatchDeleteFederatedBundleResponse {
        throw Self.later
    }
}
