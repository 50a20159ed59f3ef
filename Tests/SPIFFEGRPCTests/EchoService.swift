import GRPCCore
import GRPCNIOTransportHTTP2Posix
import NIOConcurrencyHelpers
import SPIFFE
import SPIFFEGRPC
import SPIFFETLS
import SPIFFETesting
import Testing

/// Bytes as they are.
struct Raw: MessageSerializer, MessageDeserializer {
    func serialize<Bytes: GRPCContiguousBytes>(_ message: [UInt8]) throws -> Bytes {
        Bytes(message)
    }

    func deserialize<Bytes: GRPCContiguousBytes>(_ bytes: Bytes) throws -> [UInt8] {
        bytes.withUnsafeBytes { Array($0) }
    }
}

/// A service that says who called; `Watch` answers to each message of a stream.
struct EchoService: RegistrableRPCService {
    static let whoAmI = MethodDescriptor(
        service: ServiceDescriptor(fullyQualifiedService: "test.Echo"), method: "WhoAmI")
    static let watch = MethodDescriptor(
        service: ServiceDescriptor(fullyQualifiedService: "test.Echo"), method: "Watch")

    func registerMethods<Transport: ServerTransport>(with router: inout RPCRouter<Transport>) {
        for method in [Self.whoAmI, Self.watch] {
            router.registerHandler(
                forMethod: method, deserializer: Raw(), serializer: Raw()
            ) { request, context in
                let answer = Array(Self.describe(context, request.metadata).utf8)
                return StreamingServerResponse<[UInt8]> { writer in
                    for try await _ in request.messages { try await writer.write(answer) }
                    return [:]
                }
            }
        }
    }

    private static func describe(_ context: ServerContext, _ metadata: Metadata) -> String {
        let peer = context.peerSPIFFEID?.string ?? "nobody"
        let caller = context.callerJWTSVID.map { " for \($0.id)" } ?? ""
        let header = metadata[stringValues: "authorization"].contains { _ in true }
        return peer + caller + (header ? " with header" : "")
    }
}

/// A server with ``EchoService`` on the loopback interface.
struct EchoEndpoint: Sendable {
    let port: Int
    let transport: SPIFFEServerTransport

    var target: any ResolvableTarget { .ipv4(address: "127.0.0.1", port: self.port) }

    /// Runs a server while the body runs.
    static func with<Result: Sendable>(
        _ source: TestX509Source, authorizer: Authorizer, clientCertificateIsOptional: Bool = false,
        interceptors: [any ServerInterceptor] = [], refused: NIOLockedValueBox<[String]>? = nil,
        _ body: (EchoEndpoint) async throws -> Result
    ) async throws -> Result {
        let transport = SPIFFEServerTransport(
            host: "127.0.0.1", port: 0, svid: source, bundles: source, authorizer: authorizer,
            clientCertificate: clientCertificateIsOptional ? .optional : .required,
            onRefused: { error in refused?.withLockedValue { $0.append("\(error)") } })
        let server = GRPCServer(
            transport: transport, services: [EchoService()], interceptors: interceptors)
        return try await withThrowingTaskGroup(of: Void.self) { group in
            defer { group.cancelAll() }
            group.addTask { try await server.serve() }
            let port = try #require(await transport.boundPort)
            return try await body(EchoEndpoint(port: port, transport: transport))
        }
    }

    /// Asks the server over a client of its own who called.
    func whoAmI(
        _ source: TestX509Source, authorizer: Authorizer,
        interceptors: [any ClientInterceptor] = [], refused: NIOLockedValueBox<[String]>? = nil
    ) async throws -> String {
        let transport = try SPIFFEClientTransport(
            target: self.target, svid: source, bundles: source, authorizer: authorizer,
            onRefused: { error in refused?.withLockedValue { $0.append("\(error)") } })
        return try await self.whoAmI(transport, interceptors: interceptors)
    }

    /// Asks over a transport.
    func whoAmI(
        _ transport: some ClientTransport, interceptors: [any ClientInterceptor] = []
    ) async throws -> String {
        try await withGRPCClient(transport: transport, interceptors: interceptors) { client in
            try await Self.whoAmI(client)
        }
    }

    /// Asks over an open client. Fails at once when there is no connection.
    static func whoAmI(_ client: GRPCClient<some ClientTransport>) async throws -> String {
        var options = CallOptions.defaults
        options.waitForReady = false
        return try await client.unary(
            request: ClientRequest(message: [1]), descriptor: EchoService.whoAmI,
            serializer: Raw(), deserializer: Raw(), options: options
        ) { response in String(decoding: try response.message, as: UTF8.self) }
    }
}
