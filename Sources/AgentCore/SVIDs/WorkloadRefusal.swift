/// Why a workload gets nothing. The message is all it is told: no selectors, no other entries.
package struct WorkloadRefusal: Error, Hashable, Sendable, CustomStringConvertible {
    package enum Code: String, Hashable, Sendable {
        /// The call is malformed.
        case invalidArgument
        /// The workload is known and entitled to nothing, or not to what it asks for.
        case noIdentity
        /// The agent cannot answer now; asking again later may help.
        case unavailable
        /// The caller, or its user, has asked for too much lately.
        case exhausted
        /// The method is not offered.
        case unimplemented
        /// Our own fault.
        case `internal`
    }

    package let code: Code
    package let message: String

    package init(_ code: Code, _ message: String) {
        self.code = code
        self.message = message
    }

    package var description: String { self.message }

    package static let noIdentity = WorkloadRefusal(.noIdentity, "no identity issued")
    package static let notReady = WorkloadRefusal(
        .unavailable, "agent is starting and has not heard from its server yet")
    package static let notAttested = WorkloadRefusal(
        .unavailable, "agent has no identity of its own")
    package static let attestationFailed = WorkloadRefusal(
        .unavailable, "workload attestation failed")
    package static let notIssuedYet = WorkloadRefusal(
        .unavailable, "identity could not be issued now")
    /// The server has no authority for WIT-SVIDs.
    package static let noWITSVIDs = WorkloadRefusal(.unimplemented, "method is not offered")
    package static let shuttingDown = WorkloadRefusal(.unavailable, "agent is shutting down")
}
