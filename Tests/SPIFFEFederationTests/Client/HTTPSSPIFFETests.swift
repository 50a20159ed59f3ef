import Foundation
import LoopbackTestSupport
import NIOConcurrencyHelpers
import NIOSSL
import SPIFFE
import SPIFFEFederation
import SPIFFETesting
import Testing

@Suite("Profile https_spiffe", .timeLimit(.minutes(2))) struct HTTPSSPIFFETests {
    private let fixture: ClientFixture

    init() throws { self.fixture = try ClientFixture() }

    /// Runs a server that shows an X509-SVID of the partner and serves the partner's bundle.
    private func withEndpoint(
        _ certificate: ServerCertificate? = nil,
        _ body: @Sendable (TestBundleServer) async throws -> Void
    ) async throws {
        let certificate = try certificate ?? ServerCertificate(self.fixture.partner, "/endpoint")
        try await TestBundleServer.with(certificate) { server in
            server.answer(.response(body: self.fixture.document))
            try await body(server)
        }
    }

    @Test(
        "FED-01, FED-22, FED-25: an X509-SVID with the configured ID, whatever the host is called")
    func fetch() async throws {
        let fixture = self.fixture
        // The bundle for the first contact as a document, and as PEM.
        let document = try SPIFFEBundle(
            trustDomain: fixture.partner.trustDomain, json: fixture.document
        ).x509Bundle
        let pem = try X509Bundle(
            trustDomain: fixture.partner.trustDomain, pem: try fixture.partner.x509Bundle.pem)
        try await self.withEndpoint { server in
            for bundle in [document, pem] {
                for url in [server.url(), server.addressURL()] {
                    let response = try await fixture.client().fetch(
                        try fixture.spiffeEndpoint(url), authenticatingWith: bundle)
                    #expect(try response.bundle == fixture.partner.bundle)
                }
            }
            server.adjustTLS { $0.maximumTLSVersion = .tlsv12 }
            let response = try await fixture.client().fetch(
                try fixture.spiffeEndpoint(server.url()), authenticatingWith: pem)
            #expect(response.bundle != nil)
        }
    }

    @Test("FED-25: another ID, an expired SVID, an impostor and a web certificate are refused")
    func refused() async throws {
        let fixture = self.fixture
        let impostor = try TestAuthority("partner.test")
        let other = try TestAuthority("other.test")
        let certificates: [(String, ServerCertificate)] = [
            ("sibling", try ServerCertificate(fixture.partner, "/endpoint2")),
            ("below", try ServerCertificate(fixture.partner, "/endpoint/a")),
            ("other trust domain", try ServerCertificate(other, "/endpoint")),
            ("impostor", try ServerCertificate(impostor, "/endpoint")),
            (
                "expired",
                try ServerCertificate(fixture.partner, "/endpoint", notAfter: Date() - 30)
            ),
            ("web", try fixture.webCertificate),
        ]
        let bundles = X509BundleSet([
            try fixture.partner.x509Bundle, try other.x509Bundle,
        ])
        for (name, certificate) in certificates {
            try await self.withEndpoint(certificate) { server in
                let error = try await fixture.failure(
                    try fixture.spiffeEndpoint(server.url()), bundles)
                #expect(error.code == .refusedServer, "\(name)")
                #expect(error.message.contains(server.url()), "\(name)")
                #expect(server.requests.isEmpty, "\(name)")
                // FED-05: and it is not tried in another way.
                #expect(server.connections == 1, "\(name)")
            }
        }
    }

    @Test("FED-21, FED-23: without a bundle of the endpoint's trust domain there is no contact")
    func noBundle() async throws {
        let fixture = self.fixture
        let other = try TestAuthority("other.test")
        try await self.withEndpoint { server in
            var error = try await fixture.failure(try fixture.spiffeEndpoint(server.url()))
            #expect(error.code == .noBundle)
            error = try await fixture.failure(
                try fixture.spiffeEndpoint(server.url()), try other.x509Bundle)
            #expect(error.code == .noBundle)
            error = try await fixture.failure(
                try fixture.spiffeEndpoint(server.url()),
                try X509Bundle(trustDomain: fixture.partner.trustDomain, authoritiesDER: []))
            #expect(error.code == .noBundle)
            // The bundle that is served there does not count for who serves it.
            error = try await fixture.failure(
                try fixture.spiffeEndpoint(server.url(), try other.id("/endpoint")),
                try fixture.partner.x509Bundle)
            #expect(error.code == .noBundle)
            #expect(server.connections == 0)
        }
    }

    @Test(
        "FED-27: an endpoint of another trust domain is verified with the newest bundle of that one"
    )
    func otherTrustDomain() async throws {
        let fixture = self.fixture
        let host = try TestAuthority("host.test")
        let bundles = TestX509Source(svid: nil, bundles: [try host.x509Bundle])
        try await self.withEndpoint(try ServerCertificate(host, "/endpoint")) { server in
            let endpoint = try fixture.spiffeEndpoint(server.url(), try host.id("/endpoint"))
            let client = fixture.client()
            #expect(
                try await client.fetch(endpoint, authenticatingWith: bundles).bundle?.trustDomain
                    == fixture.partner.trustDomain)
            try host.rotate()
            host.dropOldAuthorities()
            server.set(try ServerCertificate(host, "/endpoint"))
            #expect(try await fixture.failure(endpoint, bundles).code == .refusedServer)
            bundles.set(bundles: [try host.x509Bundle])
            #expect(try await client.fetch(endpoint, authenticatingWith: bundles).bundle != nil)
        }
    }

    @Test("FED-19: where an endpoint redirects to must have the same SPIFFE ID")
    func redirection() async throws {
        let fixture = self.fixture
        try await self.withEndpoint { target in
            try await self.withEndpoint { server in
                let url = target.addressURL("/moved")
                server.answer(.redirect(url))
                let endpoint = try fixture.spiffeEndpoint(server.url())
                let bundle = try fixture.partner.x509Bundle
                let response = try await fixture.client().fetch(
                    endpoint, authenticatingWith: bundle)
                #expect(response.bundle != nil)
                #expect(response.url.string == url)
                #expect(target.requests.map(\.target) == ["/moved"])

                target.set(try ServerCertificate(fixture.partner, "/elsewhere"))
                let error = try await fixture.failure(endpoint, bundle)
                #expect(error.code == .refusedServer)
                #expect(error.message.contains(server.url()))
                #expect(error.message.contains(url))
                #expect(target.requests.count == 1)
            }
        }
    }
}
