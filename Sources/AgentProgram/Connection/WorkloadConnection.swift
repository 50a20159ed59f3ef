import ArgumentParser
import ControlPlaneProto
import GRPCCore
import GRPCNIOTransportHTTP2Posix
import ServiceRuntime
import WorkloadAPIProto

/// The flags that say where the agent's public socket is.
struct AgentSocketFlags: ParsableArguments {
    @Option(
        name: .go("socketPath"), parsing: .unconditional, help: "Path of the agent's public socket."
    )
    var socketPath = SocketResolution.agent.defaultPath

    @Option(
        name: .go("instance"), parsing: .unconditional,
        help: "Name that replaces %i in SPIRE_AGENT_PUBLIC_SOCKET_TEMPLATE.")
    var instance = ""

    /// The path to use.
    func resolve() throws(CommandError) -> String {
        try SocketResolution.agent.path(
            socketPath: self.socketPath, instance: self.instance,
            environment: CommandContext.current.environment)
    }
}

/// A connection to the agent's public socket.
struct WorkloadConnection: Sendable {
    typealias Transport = HTTP2ClientTransport.Posix

    private let client: GRPCClient<Transport>

    var workload: SpiffeWorkloadAPI.Client<Transport> { .init(wrapping: self.client) }
    var health: Grpc_Health_V1_Health.Client<Transport> { .init(wrapping: self.client) }

    /// The header without which the Workload API answers nobody.
    static let metadata: Metadata = ["workload.spiffe.io": "true"]

    /// Options of a call that fails at once when nobody listens.
    ///
    /// - Parameter timeout: Nil for calls that last until they are cancelled.
    static func options(timeout: Duration?) -> CallOptions {
        var options = CallOptions.defaults
        options.waitForReady = false
        options.timeout = timeout
        options.maxResponseMessageBytes = 64 * 1024 * 1024
        return options
    }

    /// Connects, runs the body and disconnects.
    ///
    /// - Throws: ``CommandError`` for failed calls, in SPIRE's words; what else the body throws.
    static func with<Result: Sendable>(
        _ flags: AgentSocketFlags,
        _ body: @Sendable (WorkloadConnection) async throws -> Result
    ) async throws -> Result {
        let path = try flags.resolve()
        do {
            return try await withGRPCClient(
                transport: try HTTP2ClientTransport.Posix(
                    target: .unixDomainSocket(path: path, authority: "localhost"),
                    transportSecurity: .plaintext)
            ) { client in
                try await body(WorkloadConnection(client: client))
            }
        } catch let error as RPCError {
            throw WorkloadConnection.explain(error, path: path)
        }
    }

    /// What a failed call means to the user.
    static func explain(_ error: RPCError, path: String) -> CommandError {
        let call = StatusCodeName.describe(code: error.code.rawValue, message: error.message)
        switch error.code {
        case .unavailable where !UnixSocketPath.isListening(path):
            return CommandError(
                "cannot reach the agent at \(QuotedText.quoted(path)): nobody listens there",
                hints: [
                    "start the agent: cygnet-agent run -config conf/agent/agent.conf",
                    "or name its socket with -socketPath or SPIRE_AGENT_PUBLIC_SOCKET",
                ])
        case .permissionDenied:
            return CommandError(
                call,
                hints: [
                    "see which selectors entries ask for: cygnet-server entry show",
                    "register this workload: cygnet-server entry create -parentID <agent> "
                        + "-spiffeID <id> -selector unix:uid:$(id -u)",
                ])
        case .deadlineExceeded:
            return CommandError(call, hints: ["wait longer: -timeout 10s"])
        default:
            return CommandError(call)
        }
    }
}
