import NIOCore
import NIOHTTP1
import SPIFFE
import SPIFFEHTTP
import SPIFFETLS
import SPIFFEWorkloadAPI

/// The code of the article on JWT-SVIDs.
enum JWTSVIDs {
    static func source() async throws {
        try await withJWTSource { source in
            let svid = try await source.jwtSVID(audience: ["reports"])
            print("\(svid.id) until \(svid.expiresAt)")
        }
    }

    static func validate(_ token: String, _ source: JWTSource) throws {
        let svid = try JWTSVID.validate(token, audience: "reports", bundles: source)
        print(svid.id, svid.claims["exp"] ?? .null)
    }

    static func authenticate(
        _ headers: [String: [String]], _ source: JWTSource
    ) throws -> SPIFFEID {
        let authenticator = JWTSVIDAuthenticator(
            audience: "reports", bundles: source,
            authorizer: .member(of: try TrustDomain("example.org")))
        return try authenticator.authenticate(authorization: headers["authorization"] ?? []).id
    }

    static func send(_ trust: X509Source, _ source: JWTSource) async throws {
        let client = SPIFFEHTTPClient(
            tls: MTLSClientConfiguration(
                unauthenticatedWith: trust,
                authorizer: .exactly(try SPIFFEID("spiffe://example.org/reports"))),
            tokens: JWTSVIDInjector(JWTSVIDCache(source), audience: ["reports"]))
        let response = try await client.get("https://reports.internal:8443/today")
        print(response.status)
    }

    static func header(_ injector: JWTSVIDInjector, _ url: String) async throws -> String {
        try await injector.authorization(for: url)
    }

    static func pipeline(_ channel: any Channel, _ authenticator: JWTSVIDAuthenticator) throws {
        try channel.pipeline.syncOperations.configureHTTPServerPipeline()
        try channel.pipeline.syncOperations.addHandler(
            JWTSVIDServerHandler(authenticator) { error in print("refused: \(error)") })
    }
}
