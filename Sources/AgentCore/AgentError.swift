/// Why the agent could not do something. For the log; what a workload is told is a
/// ``WorkloadRefusal``.
package struct AgentError: Error, Hashable, Sendable, CustomStringConvertible {
    package enum Code: String, Hashable, Sendable {
        /// There is neither a stored identity nor a way to get one.
        case noWayToAttest
        /// What the server sent is not what was asked for.
        case badIssuance
        /// The agent's state cannot be read or written.
        case state
        /// The server did not answer in time or went away.
        case serverUnavailable
        /// The server refused for good.
        case refused
    }

    package let code: Code
    package let message: String

    package init(_ code: Code, _ message: String) {
        self.code = code
        self.message = message
    }

    package var description: String { self.message }
}
