import Foundation
import GRPCCore
import NIOConcurrencyHelpers
import SPIFFE
import SwiftProtobuf
import WorkloadAPIProto

/// The stream of SVIDs that were taken back, as gRPC sees it.
struct FakeRevocationService: Cygnet_Workload_V1_WorkloadRevocations.ServiceProtocol {
    let api: FakeWorkloadAPI

    func fetchRevocations(
        request: ServerRequest<Cygnet_Workload_V1_FetchRevocationsRequest>,
        context: ServerContext
    ) async throws -> StreamingServerResponse<Cygnet_Workload_V1_FetchRevocationsResponse> {
        let service = FakeWorkloadAPIService(api: self.api)
        try await service.begin(.fetchRevocations, request.metadata)
        return StreamingServerResponse { try await service.stream(self.api.revocations, $0) }
    }
}

extension TestAuthority {
    /// What it has taken back, as an agent sends it.
    func revocationMessage() throws -> Cygnet_Workload_V1_TrustDomainRevocations {
        let crl = try self.certificateRevocationList()
        let list = try self.statusList()
        return Cygnet_Workload_V1_TrustDomainRevocations.with { message in
            message.trustDomain = self.trustDomain.name
            message.crls = [Data(crl)]
            message.statusLists = [
                Cygnet_Workload_V1_StatusListToken.with {
                    $0.uri = self.statusListURI
                    $0.token = list
                }
            ]
            message.revokedTokens = self.revocations.withLockedValue { $0.tokens }.map { Data($0) }
        }
    }
}
