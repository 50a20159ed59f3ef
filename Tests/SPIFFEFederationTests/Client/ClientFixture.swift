import LoopbackTestSupport
import SPIFFE
import SPIFFEFederation
import SPIFFETesting
import Testing

/// What the tests of the client share: a partner whose bundle is served, an endpoint's trust domain, a web authority.
struct ClientFixture: Sendable {
    let partner: TestAuthority
    let web: WebAuthority
    /// The document that endpoints serve.
    let document: [UInt8]

    init() throws {
        self.partner = try TestAuthority("partner.test")
        self.web = try WebAuthority()
        self.document = try self.partner.bundle.json()
    }

    /// A certificate for `localhost`, under which the server is reached.
    var webCertificate: ServerCertificate {
        get throws { try self.web.certificate(names: ["localhost"]) }
    }

    func client(
        _ adjust: (inout BundleEndpointClientConfiguration) -> Void = { _ in }
    ) -> BundleEndpointClient {
        var configuration = BundleEndpointClientConfiguration()
        configuration.usesSystemTrustRoots = false
        configuration.additionalTrustRoots = [self.web.rootDER]
        adjust(&configuration)
        return BundleEndpointClient(configuration: configuration)
    }

    func webEndpoint(_ url: String) throws -> BundleEndpoint {
        try BundleEndpoint(
            trustDomain: self.partner.trustDomain, url: url, profile: .httpsWeb)
    }

    func spiffeEndpoint(_ url: String, _ id: SPIFFEID? = nil) throws -> BundleEndpoint {
        try BundleEndpoint(
            trustDomain: self.partner.trustDomain, url: url,
            profile: .httpsSPIFFE(endpointSPIFFEID: try id ?? self.partner.id("/endpoint")))
    }

    /// Fetches from a server with a web certificate.
    func fetchWeb(
        _ server: TestBundleServer, entityTag: String? = nil,
        _ adjust: (inout BundleEndpointClientConfiguration) -> Void = { _ in }
    ) async throws -> BundleEndpointResponse {
        try await self.client(adjust).fetch(
            try self.webEndpoint(server.url()), authenticatingWith: X509BundleSet(),
            entityTag: entityTag)
    }

    /// The error of a fetch from a server with a web certificate.
    func webFailure(
        _ server: TestBundleServer, sourceLocation: SourceLocation = #_sourceLocation,
        _ adjust: (inout BundleEndpointClientConfiguration) -> Void = { _ in }
    ) async throws -> BundleEndpointError {
        try await #require(throws: BundleEndpointError.self, sourceLocation: sourceLocation) {
            try await self.fetchWeb(server, adjust)
        }
    }

    /// The error of a fetch.
    func failure(
        _ endpoint: BundleEndpoint, _ bundles: any X509BundleSource = X509BundleSet(),
        sourceLocation: SourceLocation = #_sourceLocation
    ) async throws -> BundleEndpointError {
        try await #require(throws: BundleEndpointError.self, sourceLocation: sourceLocation) {
            try await self.client().fetch(endpoint, authenticatingWith: bundles)
        }
    }
}
