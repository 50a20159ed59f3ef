import GRPCCore
import GRPCNIOTransportHTTP2Posix
import Hummingbird
import SPIFFE
import SPIFFEGRPC
import SPIFFEHTTP
import SPIFFEHummingbird
import SPIFFETLS
import SPIFFETesting
import SPIFFEWorkloadAPI

/// The code in documentation comments of the SDK, so that it is compiled as well.
enum DocComments {
    // MARK: SPIFFE, SPIFFEWorkloadAPI

    static func authorizer() throws -> Authorizer {
        let rule = Authorizer.anyOf([
            .exactly(try SPIFFEID("spiffe://example.org/db")),
            try .path("/ns/*/sa/web", in: try TrustDomain("example.org")),
        ])
        return rule
    }

    static func authenticator(
        _ source: JWTSource, _ trustDomain: TrustDomain, _ token: String
    ) throws {
        let authenticator = JWTSVIDAuthenticator(
            audience: "reports", bundles: source, authorizer: .member(of: trustDomain))
        let caller = try authenticator.authenticate(authorization: ["Bearer \(token)"])
        print(caller.id)
    }

    static func x509Source() async throws {
        try await withX509Source { source in
            print("I am \(try source.x509SVID().id)")
        }
        try await withX509Source { source in
            print("I am \(try source.x509SVID().id)")
            // Pass `source` to SPIFFETLS: it is asked at every handshake, so rotation needs no restart.
        }
    }

    static func client() async throws -> String {
        let token = try await WorkloadAPIClient.with { client in
            try await client.fetchJWTSVID(audience: ["reports"]).token
        }
        return token
    }

    static func files() async throws {
        try await withX509Source { source in
            try await PEMFiles(folder: "/run/web/identity").keepFresh(from: source)
        }
    }

    // MARK: SPIFFETLS

    static func server(_ source: X509Source, _ trustDomain: TrustDomain) async throws {
        let server = MTLSServer(
            host: "0.0.0.0", port: 8443,
            configuration: MTLSServerConfiguration(
                svid: source, bundles: source, authorizer: .member(of: trustDomain)))
        try await server.run { connection in
            try await connection.write("hello \(connection.peer.id)\n")
        }
    }

    static func connection(_ source: X509Source, _ database: SPIFFEID) async throws {
        try await MTLSConnection.connect(
            host: "db.internal", port: 8443,
            configuration: MTLSClientConfiguration(
                svid: source, bundles: source, authorizer: .exactly(database))
        ) { connection in
            try await connection.write("hello")
        }
    }

    // MARK: SPIFFEGRPC

    static func grpcServer(
        _ source: X509Source, _ trustDomain: TrustDomain, _ service: any RegistrableRPCService
    ) async throws {
        let server = GRPCServer(
            transport: SPIFFEServerTransport(
                host: "0.0.0.0", port: 8443, svid: source, bundles: source,
                authorizer: .member(of: trustDomain)),
            services: [service])
        try await server.serve()
    }

    static func grpcClient(_ source: X509Source, _ reports: SPIFFEID) async throws {
        let transport = try SPIFFEClientTransport(
            target: .dns(host: "reports.internal", port: 8443), svid: source, bundles: source,
            authorizer: .exactly(reports))
        try await withGRPCClient(transport: transport) { client in
            // Calls.
        }
    }

    static func grpcTokens(
        _ source: JWTSource, _ transport: SPIFFEServerTransport, _ trustDomain: TrustDomain,
        _ service: any RegistrableRPCService
    ) -> GRPCServer<SPIFFEServerTransport> {
        let server = GRPCServer(
            transport: transport, services: [service],
            interceptors: [
                JWTSVIDServerInterceptor(
                    JWTSVIDAuthenticator(
                        audience: "reports", bundles: source, authorizer: .member(of: trustDomain)))
            ])
        return server
    }

    static func grpcTokens(
        _ source: JWTSource, _ transport: SPIFFEClientTransport
    ) -> GRPCClient<SPIFFEClientTransport> {
        let client = GRPCClient(
            transport: transport,
            interceptors: [JWTSVIDClientInterceptor(JWTSVIDCache(source), audience: ["reports"])])
        return client
    }

    // MARK: SPIFFEHTTP, SPIFFEHummingbird

    static func http(_ source: X509Source, _ reports: SPIFFEID) async throws {
        let client = SPIFFEHTTPClient(
            tls: MTLSClientConfiguration(
                svid: source, bundles: source, authorizer: .exactly(reports)))
        let response = try await client.get("https://reports.internal:8443/today")
        print(response.status, response.text)
    }

    /// A request of some other HTTP client.
    struct OtherRequest {
        var headers: [String: String] = [:]
    }

    static func injector(
        _ source: JWTSource, _ url: String, _ request: inout OtherRequest
    ) async throws {
        let injector = JWTSVIDInjector(JWTSVIDCache(source), audience: ["reports"])
        request.headers["authorization"] = try await injector.authorization(for: url)
    }

    static func hummingbird(
        _ router: Router<BasicSPIFFERequestContext>, _ source: X509Source,
        _ trustDomain: TrustDomain
    ) async throws {
        let app = Application(
            router: router,
            server: .spiffe(
                svid: source, bundles: source, authorizer: .member(of: trustDomain)),
            configuration: ApplicationConfiguration(address: .hostname("0.0.0.0", port: 8443)))
        try await app.run()
    }

    // MARK: SPIFFETesting

    static func authority() throws -> (X509SVID, X509SVIDVerifier) {
        let authority = try TestAuthority("example.org")
        let web = try authority.x509SVID("/web")
        let verifier = X509SVIDVerifier(bundles: try authority.x509Bundle)
        return (web, verifier)
    }

    static func fake() async throws {
        let authority = try TestAuthority("example.org")
        let api = try FakeWorkloadAPI()
        try api.serve(authority, paths: ["/web"])
        try await api.serving {
            try await withX509Source(address: api.address) { source in
                print(try source.x509SVID().id)
            }
        }
    }
}
