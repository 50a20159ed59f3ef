import Foundation
import LoopbackTestSupport
import NIOSSL
import SPIFFE
import SPIFFEFederation
import SPIFFETesting
import Testing

@Suite("Profile https_web", .timeLimit(.minutes(2))) struct HTTPSWebTests {
    private let fixture: ClientFixture

    init() throws { self.fixture = try ClientFixture() }

    @Test(
        "FED-01, FED-07, FED-08, FED-17, BND-19: a trusted certificate for the host name is enough")
    func fetch() async throws {
        let fixture = self.fixture
        try await TestBundleServer.with(try fixture.webCertificate) { server in
            server.answer(
                .response(
                    "200 OK", ["etag: \"v1\"", "cache-control: public, max-age=75"],
                    body: fixture.document))
            let endpoint = try fixture.webEndpoint(server.url("/a/b.json?v=1"))
            let response = try await fixture.client().fetch(
                endpoint, authenticatingWith: X509BundleSet())
            // The document does not say whose it is, nor does the host.
            #expect(response.bundle?.trustDomain == fixture.partner.trustDomain)
            #expect(try response.bundle == fixture.partner.bundle)
            #expect(response.entityTag == "\"v1\"")
            #expect(response.maxAge == .seconds(75))
            #expect(response.url == endpoint.url)
            #expect(response.warnings.isEmpty)
            let request = try #require(server.requests.first)
            #expect(request.lines.first == "GET /a/b.json?v=1 HTTP/1.1")
            #expect(request.value("host") == "localhost:\(server.port)")
            #expect(request.value("accept-encoding") == "identity")
            #expect(request.value("authorization") == nil)
            #expect(request.value("if-none-match") == nil)
            #expect(request.value("prefer") == nil)
        }
    }

    @Test("FED-17: a certificate for an IP address is for that address")
    func address() async throws {
        let fixture = self.fixture
        let certificate = try fixture.web.certificate(addresses: [[127, 0, 0, 1]])
        try await TestBundleServer.with(certificate) { server in
            server.answer(.response(body: fixture.document))
            let response = try await fixture.client().fetch(
                try fixture.webEndpoint(server.addressURL()), authenticatingWith: X509BundleSet())
            #expect(response.bundle != nil)
            let error = try await fixture.webFailure(server)
            #expect(error.code == .refusedServer)
        }
    }

    @Test("FED-17: wrong host name, unknown authority, expired: refused before anything is sent")
    func refused() async throws {
        let fixture = self.fixture
        let certificates: [(String, ServerCertificate)] = [
            ("other name", try fixture.web.certificate(names: ["elsewhere.test"])),
            ("name below", try fixture.web.certificate(names: ["a.localhost"])),
            ("address only", try fixture.web.certificate(addresses: [[127, 0, 0, 1]])),
            ("unknown authority", try WebAuthority().certificate(names: ["localhost"])),
            (
                "expired",
                try fixture.web.certificate(names: ["localhost"], notAfter: Date() - 600)
            ),
            ("X509-SVID", try ServerCertificate(fixture.partner, "/endpoint")),
        ]
        for (name, certificate) in certificates {
            try await TestBundleServer.with(certificate) { server in
                server.answer(.response(body: fixture.document))
                let error = try await fixture.webFailure(server)
                #expect(error.code == .refusedServer, "\(name)")
                #expect(error.message.contains(server.url()), "\(name)")
                #expect(error.message.contains("certificate"), "\(name)")
                #expect(server.requests.isEmpty, "\(name)")
            }
        }
    }

    @Test("FED-05: what fails as https_web is not tried as https_spiffe")
    func noFallback() async throws {
        let fixture = self.fixture
        try await TestBundleServer.with(try ServerCertificate(fixture.partner, "/endpoint")) {
            server in
            server.answer(.response(body: fixture.document))
            let error = try await fixture.failure(
                try fixture.webEndpoint(server.addressURL()), try fixture.partner.x509Bundle)
            #expect(error.code == .refusedServer)
            #expect(server.connections == 1)
        }
    }

    @Test("Trust roots that cannot be read stop the fetch, with a reason")
    func trustRoots() async throws {
        let fixture = self.fixture
        try await TestBundleServer.with(try fixture.webCertificate) { server in
            let error = try await fixture.webFailure(server) {
                $0.additionalTrustRoots = [[1, 2, 3]]
            }
            #expect(error.code == .trustRoots)
            #expect(server.connections == 0)
        }
    }

    @Test("TLS 1.2 with forward secrecy will do; older versions and CBC will not")
    func versions() async throws {
        let fixture = self.fixture
        try await TestBundleServer.with(try fixture.webCertificate) { server in
            server.answer(.response(body: fixture.document))
            server.adjustTLS { $0.maximumTLSVersion = .tlsv12 }
            let response = try await fixture.fetchWeb(server)
            #expect(response.bundle != nil)
            server.adjustTLS {
                $0.maximumTLSVersion = .tlsv12
                $0.cipherSuites = "ECDHE-ECDSA-AES128-SHA"
            }
            var error = try await fixture.webFailure(server)
            #expect(error.code == .unreachable)
            server.adjustTLS { $0.maximumTLSVersion = .tlsv11 }
            error = try await fixture.webFailure(server)
            #expect(error.code == .unreachable)
            #expect(server.requests.count == 1)
        }
    }
}
