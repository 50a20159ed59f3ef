import GRPCCore
import GRPCNIOTransportHTTP2Posix
import SPIFFE
import WorkloadAPIProto

extension WorkloadAPIClient {
    /// Holds the stream of SVIDs that were taken back; rules as ``watchX509Context(onUpdate:onError:)``.
    ///
    /// - Throws: ``WorkloadAPIError`` `notSupported` from agents that have no such stream, which is no part of the
    ///   standard.
    func watchRevocations(
        onUpdate: @escaping @Sendable ([TrustDomain: ReceivedRevocations]) -> Void,
        onError: @escaping @Sendable (WorkloadAPIError) -> Void
    ) async throws(WorkloadAPIError) {
        try await self.watch("FetchRevocations", onError) { _, options, received in
            try await self.revocationAPI.fetchRevocations(.init(), options: options) { response in
                for try await message in response.messages {
                    received { () throws(WorkloadAPIError) in
                        onUpdate(try RevocationMessages.revocations(message))
                    }
                }
            }
        }
    }
}
