import Foundation
import SwiftProtobuf
import WorkloadAPIProto

/// A state of revocations, cut into messages that a client joins again.
enum RevocationParts {
    /// The most bytes of a state in one message. Clients refuse messages that are too long, and what waits to be read counts
    /// for the one who is to read it.
    static let longestPart = 1024 * 1024

    /// The messages of a state: the state itself if it is short, else its parts.
    ///
    /// - Parameters:
    ///   - state: A serialised `FetchRevocationsResponse`.
    ///   - longestPart: In bytes; at least 1.
    static func messages(
        _ state: [UInt8], longestPart: Int = Self.longestPart
    ) throws -> [[UInt8]] {
        if state.count <= longestPart { return [state] }
        return try stride(from: 0, to: state.count, by: longestPart).map { start in
            let end = min(start + longestPart, state.count)
            return try Cygnet_Workload_V1_FetchRevocationsResponse.with {
                $0.part = Data(state[start..<end])
                $0.more = end < state.count
            }.serializedBytes()
        }
    }
}
