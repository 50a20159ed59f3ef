/// Finds the Unix socket of a local API, in SPIRE's order.
package struct SocketResolution: Sendable, Hashable {
    /// The path when nothing else is said.
    package let defaultPath: String
    /// The variable that may hold another default.
    package let pathVariable: String
    /// The variable that holds the pattern for `-instance`, with `%i` for the name.
    package let templateVariable: String

    /// The server's local API.
    package static let server = SocketResolution(
        defaultPath: "/tmp/spire-server/private/api.sock",
        pathVariable: "SPIRE_SERVER_PRIVATE_SOCKET",
        templateVariable: "SPIRE_SERVER_PRIVATE_SOCKET_TEMPLATE")
    /// The agent's Workload API.
    package static let agent = SocketResolution(
        defaultPath: "/tmp/spire-agent/public/api.sock", pathVariable: "SPIRE_AGENT_PUBLIC_SOCKET",
        templateVariable: "SPIRE_AGENT_PUBLIC_SOCKET_TEMPLATE")

    /// The path to use: `-socketPath` unless it is the default, then `-instance`, then the environment,
    /// then the default.
    ///
    /// - Throws: ``CommandError`` when an instance is named and there is no usable template.
    package func path(
        socketPath: String, instance: String, environment: [String: String]
    ) throws(CommandError) -> String {
        if !socketPath.isEmpty, socketPath != self.defaultPath { return socketPath }
        if !instance.isEmpty {
            guard let template = environment[self.templateVariable].nonEmpty else {
                throw CommandError(
                    "-instance needs the environment variable \(self.templateVariable)",
                    hints: ["export \(self.templateVariable)=/run/spire/%i/api.sock"])
            }
            let parts = template.split(separator: "%i", omittingEmptySubsequences: false)
            guard parts.count > 1 else {
                throw CommandError(
                    "environment variable \(self.templateVariable) has no %i to be replaced by the instance",
                    hints: ["export \(self.templateVariable)=/run/spire/%i/api.sock"])
            }
            return parts.joined(separator: instance)
        }
        return environment[self.pathVariable].nonEmpty ?? self.defaultPath
    }
}
