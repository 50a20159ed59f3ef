import GRPCCore
import GRPCNIOTransportHTTP2Posix
import SPIFFE
import SPIFFEGRPC
import SPIFFEWorkloadAPI

/// Both ends of `interop.Echo/WhoAmI`, whose messages are bytes as they are.
enum GRPCPeer {
    static let method = MethodDescriptor(
        service: ServiceDescriptor(fullyQualifiedService: "interop.Echo"), method: "WhoAmI")

    /// Tells authorized clients who they are, until it is ended.
    static func serve(port: Int, _ client: SPIFFEID) async throws {
        try await withX509Source { source in
            let transport = SPIFFEServerTransport(
                host: "127.0.0.1", port: port, svid: source, bundles: source,
                authorizer: .exactly(client),
                onRefused: { SDKPeer.say(["refused": .string("\($0)")]) })
            let server = GRPCServer(transport: transport, services: [EchoService()])
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask { try await server.serve() }
                if let port = await transport.boundPort {
                    SDKPeer.say(["listening": .int(Int64(port))])
                }
                try await group.waitForAll()
            }
        }
    }

    /// Asks a server, with a JWT-SVID on the call.
    static func call(port: Int, _ server: SPIFFEID, audience: String) async throws {
        try await withX509Source { source in
            try await withJWTSource { tokens in
                try await withGRPCClient(
                    transport: try SPIFFEClientTransport(
                        target: .ipv4(address: "127.0.0.1", port: port), svid: source,
                        bundles: source, authorizer: .exactly(server)),
                    interceptors: [
                        JWTSVIDClientInterceptor(JWTSVIDCache(tokens), audience: [audience])
                    ]
                ) { client in
                    let answer = try await client.unary(
                        request: ClientRequest(message: Array("who am I".utf8)),
                        descriptor: self.method, serializer: Raw(), deserializer: Raw(),
                        options: .defaults
                    ) { response in String(decoding: try response.message, as: UTF8.self) }
                    SDKPeer.say(["answer": .string(answer)])
                }
            }
        }
    }
}

private struct EchoService: RegistrableRPCService {
    func registerMethods<Transport: ServerTransport>(with router: inout RPCRouter<Transport>) {
        router.registerHandler(
            forMethod: GRPCPeer.method, deserializer: Raw(), serializer: Raw()
        ) { _, context in
            let answer = Array(try context.requirePeerSPIFFEID().string.utf8)
            return StreamingServerResponse<[UInt8]> { writer in
                try await writer.write(answer)
                return [:]
            }
        }
    }
}

private struct Raw: MessageSerializer, MessageDeserializer {
    func serialize<Bytes: GRPCContiguousBytes>(_ message: [UInt8]) throws -> Bytes {
        Bytes(message)
    }

    func deserialize<Bytes: GRPCContiguousBytes>(_ bytes: Bytes) throws -> [UInt8] {
        bytes.withUnsafeBytes { Array($0) }
    }
}
