import LoopbackTestSupport
import SPIFFE
import SPIFFEFederation
import SPIFFETesting
import Testing

@Suite("Redirections of bundle endpoints", .timeLimit(.minutes(2))) struct RedirectionTests {
    private let fixture: ClientFixture

    init() throws { self.fixture = try ClientFixture() }

    @Test("FED-20: every kind is followed, and none is remembered")
    func followed() async throws {
        let fixture = self.fixture
        let document = fixture.document
        for status in [
            "301 Moved Permanently", "302 Found", "303 See Other", "307 Temporary Redirect",
            "308 Permanent Redirect",
        ] {
            try await TestBundleServer.with(try fixture.webCertificate) { server in
                server.answer { request in
                    request.target == "/bundle"
                        ? .redirect("here?v=1", status) : .response(body: document)
                }
                let client = fixture.client()
                let endpoint = try fixture.webEndpoint(server.url())
                for _ in 0..<2 {
                    let response = try await client.fetch(
                        endpoint, authenticatingWith: X509BundleSet())
                    #expect(response.bundle != nil)
                    #expect(response.url.string == server.url("/here?v=1"))
                }
                #expect(
                    server.requests.map(\.target) == [
                        "/bundle", "/here?v=1", "/bundle", "/here?v=1",
                    ], "\(status)")
            }
        }
    }

    @Test("FED-06, FED-18: never to plain HTTP, never with user information, never to nonsense")
    func refused() async throws {
        let fixture = self.fixture
        try await TestBundleServer.with(try fixture.webCertificate) { server in
            for location in [
                "http://localhost:\(server.port)/bundle", "https://u:p@localhost:\(server.port)/",
                "ftp://localhost/", "https://", "//", "/a b", "https://localhost:99999/",
            ] {
                server.answer(.redirect(location))
                let error = try await fixture.webFailure(server)
                #expect(error.code == .redirect, "\(location)")
                #expect(error.message.contains(server.url()), "\(location)")
            }
            let before = server.requests.count
            server.answer(.response("302 Found"))
            #expect(try await fixture.webFailure(server).code == .redirect)
            server.answer(.response("302 Found", ["location: /a", "location: /b"]))
            #expect(try await fixture.webFailure(server).code == .redirect)
            #expect(server.requests.count == before + 2)
        }
    }

    @Test("FED-18: loops end, and redirections can be switched off")
    func bounded() async throws {
        let fixture = self.fixture
        try await TestBundleServer.with(try fixture.webCertificate) { server in
            server.answer(.redirect("/bundle"))
            #expect(try await fixture.webFailure(server).code == .redirect)
            #expect(server.requests.count == 6)
            let error = try await fixture.webFailure(server) { $0.maximumRedirects = 0 }
            #expect(error.code == .redirect)
            #expect(server.requests.count == 7)
            #expect(
                try await fixture.webFailure(server) { $0.maximumRedirects = -1 }.code == .redirect)
        }
    }

    @Test("FED-19: the certificate of the target must name the target")
    func targetName() async throws {
        let fixture = self.fixture
        try await TestBundleServer.with(try fixture.webCertificate) { server in
            server.answer(.redirect(server.addressURL("/elsewhere")))
            let error = try await fixture.webFailure(server)
            #expect(error.code == .refusedServer)
            #expect(error.message.contains("redirected to"))
            #expect(server.requests.count == 1)
            #expect(server.connections == 2)
        }
    }
}
