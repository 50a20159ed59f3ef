import GRPCCore
public import SPIFFE
import SwiftProtobuf
package import WorkloadAPIProto

/// The stream of partners' limits, as gRPC sees it.
struct FakePartnerLimitService: Cygnet_Workload_V1_PartnerLimits.ServiceProtocol {
    let api: FakeWorkloadAPI

    func fetchPartnerLimits(
        request: ServerRequest<Cygnet_Workload_V1_FetchPartnerLimitsRequest>,
        context: ServerContext
    ) async throws -> StreamingServerResponse<Cygnet_Workload_V1_FetchPartnerLimitsResponse> {
        let service = FakeWorkloadAPIService(api: self.api)
        try await service.begin(.fetchPartnerLimits, request.metadata)
        return StreamingServerResponse { try await service.stream(self.api.partnerLimits, $0) }
    }
}

extension FakeWorkloadAPI {
    /// Serves what partners are trusted with, to open and new streams. Until this is called the fake is an agent without
    /// such a stream.
    ///
    /// - Parameters:
    ///   - limits: Those that there are.
    ///   - trustDomains: All of which something is said, with limits or without: the caller's own and its partners'.
    ///     Clients accept nobody of any other.
    public func serve(limits: [TrustDomainLimits], of trustDomains: [TrustDomain]) {
        self.send(
            Cygnet_Workload_V1_FetchPartnerLimitsResponse.with { response in
                response.trustDomains = trustDomains.map(\.name)
                response.limits = limits.map { one in
                    Cygnet_Workload_V1_TrustDomainLimits.with {
                        $0.trustDomain = one.trustDomain.name
                        $0.x509 = one.allowsX509
                        $0.jwt = one.allowsJWT
                        $0.limitsPaths = one.acceptedPaths != nil
                        $0.acceptedPaths = one.acceptedPaths ?? []
                    }
                }
            })
    }

    /// Sends a message as it is to open and new streams, also one that breaks the rules.
    package func send(_ message: Cygnet_Workload_V1_FetchPartnerLimitsResponse) {
        self.partnerLimits.set(.success(message))
    }
}
