import GRPCCore
import GRPCNIOTransportHTTP2Posix
import SPIFFE
import WorkloadAPIProto

extension WorkloadAPIClient {
    /// Holds the stream of partners' limits; rules as ``watchX509Context(onUpdate:onError:)``.
    ///
    /// - Throws: ``WorkloadAPIError`` `notSupported` from agents that have no such stream, which is no part of the
    ///   standard.
    func watchPartnerLimits(
        onUpdate: @escaping @Sendable (ReceivedPartnerLimits) -> Void,
        onError: @escaping @Sendable (WorkloadAPIError) -> Void
    ) async throws(WorkloadAPIError) {
        try await self.watch("FetchPartnerLimits", onError) { _, options, received in
            try await self.partnerLimitAPI.fetchPartnerLimits(.init(), options: options) {
                response in
                for try await message in response.messages {
                    received { () throws(WorkloadAPIError) in
                        onUpdate(try PartnerLimitMessages.limits(message))
                    }
                }
            }
        }
    }
}
