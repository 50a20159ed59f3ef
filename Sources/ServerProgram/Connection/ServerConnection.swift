import ArgumentParser
import ControlPlaneProto
import GRPCCore
import GRPCNIOTransportHTTP2Posix
import ServiceRuntime

/// The flags that say where the server's local API is.
struct ServerSocketFlags: ParsableArguments {
    @Option(
        name: .go("socketPath"), parsing: .unconditional,
        help: "Path of the server's local API socket.")
    var socketPath = SocketResolution.server.defaultPath

    @Option(
        name: .go("instance"), parsing: .unconditional,
        help: "Name that replaces %i in SPIRE_SERVER_PRIVATE_SOCKET_TEMPLATE.")
    var instance = ""

    /// The path to use.
    func resolve() throws(CommandError) -> String {
        try SocketResolution.server.path(
            socketPath: self.socketPath, instance: self.instance,
            environment: CommandContext.current.environment)
    }
}

/// A connection to the server's local API, with one client for each service.
struct ServerConnection: Sendable {
    typealias Transport = HTTP2ClientTransport.Posix

    private let client: GRPCClient<Transport>

    var agents: Spire_Api_Server_Agent_V1_Agent.Client<Transport> { .init(wrapping: self.client) }
    var bundles: Spire_Api_Server_Bundle_V1_Bundle.Client<Transport> {
        .init(wrapping: self.client)
    }
    var entries: Spire_Api_Server_Entry_V1_Entry.Client<Transport> { .init(wrapping: self.client) }
    var federation: Cygnet_Federation_V1_Federation.Client<Transport> {
        .init(wrapping: self.client)
    }
    var ledger: Cygnet_Ledger_V1_Ledger.Client<Transport> { .init(wrapping: self.client) }
    var revocations: Cygnet_Revocation_V1_Revocations.Client<Transport> {
        .init(wrapping: self.client)
    }
    var trustDomains: Spire_Api_Server_Trustdomain_V1_TrustDomain.Client<Transport> {
        .init(wrapping: self.client)
    }
    var health: Grpc_Health_V1_Health.Client<Transport> { .init(wrapping: self.client) }
    var localAuthority: Spire_Api_Server_Localauthority_V1_LocalAuthority.Client<Transport> {
        .init(wrapping: self.client)
    }
    var svids: Spire_Api_Server_Svid_V1_SVID.Client<Transport> { .init(wrapping: self.client) }

    /// The options of every call: fail at once when nobody listens, and end in any case.
    static let options: CallOptions = {
        var options = CallOptions.defaults
        options.waitForReady = false
        options.timeout = .seconds(60)
        options.maxResponseMessageBytes = 64 * 1024 * 1024
        return options
    }()

    /// Connects, runs the body and disconnects.
    ///
    /// - Throws: ``CommandError`` for failed calls, in SPIRE's words; what else the body throws.
    static func with<Result: Sendable>(
        _ flags: ServerSocketFlags,
        _ body: @Sendable (ServerConnection) async throws -> Result
    ) async throws -> Result {
        try await Self.with(socketPath: try flags.resolve(), body)
    }

    /// Connects to the local API at that path, runs the body and disconnects; rules as ``with(_:_:)``.
    static func with<Result: Sendable>(
        socketPath path: String, _ body: @Sendable (ServerConnection) async throws -> Result
    ) async throws -> Result {
        do {
            return try await withGRPCClient(
                transport: try HTTP2ClientTransport.Posix(
                    target: .unixDomainSocket(path: path, authority: "localhost"),
                    transportSecurity: .plaintext)
            ) { client in
                try await body(ServerConnection(client: client))
            }
        } catch let error as RPCError {
            throw ServerConnection.explain(error, path: path)
        }
    }

    /// All items of a list that the server gives page by page.
    ///
    /// - Parameter page: Asks for one page, by the token that the one before gave, or an empty one for the first.
    /// - Throws: What `page` throws.
    static func allPages<Item>(
        _ page: (_ token: String) async throws -> (items: [Item], next: String)
    ) async throws -> [Item] {
        var all: [Item] = []
        var token = ""
        while true {
            let (items, next) = try await page(token)
            all += items
            if next.isEmpty || items.isEmpty { return all }
            token = next
        }
    }

    private static func explain(_ error: RPCError, path: String) -> CommandError {
        let call = StatusCodeName.describe(code: error.code.rawValue, message: error.message)
        guard error.code == .unavailable, !UnixSocketPath.isListening(path) else {
            return CommandError(call)
        }
        return CommandError(
            "cannot reach the server at \(QuotedText.quoted(path)): nobody listens there",
            hints: [
                "start the server: cygnet-server run -config conf/server/server.conf",
                "or name its socket with -socketPath or SPIRE_SERVER_PRIVATE_SOCKET",
            ])
    }
}
