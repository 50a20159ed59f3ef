import Foundation
import SwiftProtobuf
import WorkloadAPIProto

/// Joins the parts of one stream's states: agents cut a long one up. A value for each stream, so that what one leaves
/// behind never becomes part of another.
struct JoinedRevocations {
    /// The most bytes that a state in parts may have.
    let maximumBytes: Int
    /// What has come of a state that is not whole yet.
    private var pending = Data()
    /// The rest of a state that cannot be used.
    private var skips = false

    init(maximumBytes: Int) { self.maximumBytes = maximumBytes }

    /// - Returns: the state that is whole with this message; nil while parts are missing, and for the rest of a state that
    ///   was refused.
    /// - Throws: ``WorkloadAPIError`` `invalidResponse` once for each state that cannot be used.
    mutating func add(
        _ message: Cygnet_Workload_V1_FetchRevocationsResponse
    ) throws(WorkloadAPIError) -> Cygnet_Workload_V1_FetchRevocationsResponse? {
        if self.skips {
            self.skips = message.more
            return nil
        }
        do throws(WorkloadAPIError) {
            return try self.joined(message)
        } catch {
            self.pending = Data()
            self.skips = message.more
            throw error
        }
    }

    private mutating func joined(
        _ message: Cygnet_Workload_V1_FetchRevocationsResponse
    ) throws(WorkloadAPIError) -> Cygnet_Workload_V1_FetchRevocationsResponse? {
        if message.part.isEmpty, !message.more, self.pending.isEmpty { return message }
        // An empty last part must not pass for a state in which nothing is revoked.
        guard !message.part.isEmpty, message.trustDomains.isEmpty else {
            throw WorkloadAPIError(
                message: "FetchRevocationsResponse is neither a state nor a part of one")
        }
        guard message.part.count <= self.maximumBytes - self.pending.count else {
            throw WorkloadAPIError(
                message: "state of revocations has more than \(self.maximumBytes) bytes; "
                    + "raise maximumRevocationBytes, or let fewer SVIDs be revoked at a time")
        }
        self.pending.append(message.part)
        if message.more { return nil }
        let bytes = self.pending
        self.pending = Data()
        guard
            let state = try? Cygnet_Workload_V1_FetchRevocationsResponse(serializedBytes: bytes),
            state.part.isEmpty, !state.more
        else {
            throw WorkloadAPIError(message: "the parts of a state of revocations make no message")
        }
        return state
    }
}
