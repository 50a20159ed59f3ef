import GRPCCore
import GRPCNIOTransportHTTP2Posix
import SPIFFE
import SPIFFEGRPC
import SPIFFETLS
import SPIFFEWorkloadAPI

/// The code of the article on gRPC.
enum GRPCCalls {
    static func serve(
        _ source: X509Source, _ reports: any RegistrableRPCService
    ) async throws {
        let server = GRPCServer(
            transport: SPIFFEServerTransport(
                host: "0.0.0.0", port: 8443, svid: source, bundles: source,
                authorizer: .member(of: try TrustDomain("example.org")),
                onRefused: { error in print("refused: \(error)") }),
            services: [reports])
        try await server.serve()
    }

    static func handler(_ context: ServerContext) throws -> String {
        let caller = try context.requirePeerSPIFFEID()
        guard caller.path.hasPrefix("/billing/") else {
            throw RPCError(code: .permissionDenied, message: "this is for billing")
        }
        return "hello \(caller)"
    }

    static func call(_ source: X509Source) async throws {
        let transport = try SPIFFEClientTransport(
            target: .dns(host: "reports.internal", port: 8443), svid: source, bundles: source,
            authorizer: .exactly(try SPIFFEID("spiffe://example.org/reports")))
        try await withGRPCClient(transport: transport) { client in
            try await Self.useClient(client)
        }
    }

    static func useClient(_ client: GRPCClient<SPIFFEClientTransport>) async throws {}

    static func tokens(
        _ source: X509Source, _ tokens: JWTSource, _ reports: any RegistrableRPCService
    ) async throws {
        let server = GRPCServer(
            transport: SPIFFEServerTransport(
                host: "0.0.0.0", port: 8443, svid: source, bundles: source,
                authorizer: .allowingAny, clientCertificate: .optional),
            services: [reports],
            interceptors: [
                JWTSVIDServerInterceptor(
                    JWTSVIDAuthenticator(
                        audience: "reports", bundles: tokens,
                        authorizer: .member(of: try TrustDomain("example.org"))))
            ])
        try await server.serve()
    }

    static func callWithToken(_ source: X509Source, _ tokens: JWTSource) async throws {
        let transport = try SPIFFEClientTransport(
            target: .dns(host: "reports.internal", port: 8443), unauthenticatedWith: source,
            authorizer: .exactly(try SPIFFEID("spiffe://example.org/reports")))
        let interceptor = JWTSVIDClientInterceptor(JWTSVIDCache(tokens), audience: ["reports"])
        try await withGRPCClient(transport: transport, interceptors: [interceptor]) { client in
            try await Self.useClient(client)
        }
    }
}
