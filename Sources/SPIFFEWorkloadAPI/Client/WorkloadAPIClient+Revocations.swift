import GRPCCore
import GRPCNIOTransportHTTP2Posix
import SPIFFE
import SwiftProtobuf
import WorkloadAPIProto

extension WorkloadAPIClient {
    /// Holds the stream of SVIDs that were taken back; rules as ``watchX509Context(onUpdate:onError:)``. A state that comes in
    /// parts counts when it is whole; of one that breaks off nothing does.
    ///
    /// - Throws: ``WorkloadAPIError`` `notSupported` from agents that have no such stream, which is no part of the
    ///   standard.
    func watchRevocations(
        onUpdate: @escaping @Sendable ([TrustDomain: ReceivedRevocations]) -> Void,
        onError: @escaping @Sendable (WorkloadAPIError) -> Void
    ) async throws(WorkloadAPIError) {
        try await self.watch("FetchRevocations", onError) { _, options, received in
            let request = Cygnet_Workload_V1_FetchRevocationsRequest.with { $0.takesParts = true }
            try await self.revocationAPI.fetchRevocations(request, options: options) { response in
                var joined = JoinedRevocations(
                    maximumBytes: self.configuration.maximumRevocationBytes)
                for try await message in response.messages {
                    received { () throws(WorkloadAPIError) in
                        guard let state = try joined.add(message) else { return }
                        onUpdate(try RevocationMessages.revocations(state))
                    }
                }
            }
        }
    }
}
