import SPIFFE
import SPIFFEFederation
import Testing

@Suite("URLs of bundle endpoints") struct BundleEndpointURLTests {
    @Test(
        "FED-04, FED-06: what is no https URL with a host is refused, and so is user information",
        arguments: [
            "", "acme.test", "/bundle", "//acme.test/b", "http://acme.test/b", "HTTP://acme.test/",
            "ftp://acme.test/b", "https:/acme.test", "https:acme.test/b", "https://", "https:///b",
            "https://:8443/b", "https://u:p@acme.test/b", "https://u@acme.test/b",
            "https://@acme.test/b", "https://acme.test:0/b", "https://acme.test:65536/b",
            "https://acme.test:/b", "https://acme.test:4x/b", "https://acme.test/b#f",
            "https://acme.test/a b", "https://acme.test/\r\nhost: b", "https://bücher.test/b",
            "https://[::1/b", "https://[]/b", "https://acme%2etest/b",
            "https://acme.test/" + String(repeating: "a", count: 2031),
        ])
    func refused(url: String) throws {
        let error = try #require(throws: BundleEndpointError.self) {
            try BundleEndpoint(
                trustDomain: try TrustDomain("acme.test"), url: url, profile: .httpsWeb)
        }
        #expect(error.code == .invalidURL)
        #expect(error.message.utf8.count < 700)
        #expect(error.message.utf8.allSatisfy { $0 >= 0x20 && $0 < 0x7F || $0 > 0x7F })
    }

    @Test("FED-07: port, path and query are free")
    func accepted() throws {
        let url = try BundleEndpointURL("https://Acme.test:8443/a/b.json?v=1&w=%20")
        #expect(url.host == "acme.test")
        #expect(url.port == 8443)
        #expect(url.string == "https://Acme.test:8443/a/b.json?v=1&w=%20")
        #expect(try BundleEndpointURL("HTTPS://acme.test").port == 443)
        #expect(try BundleEndpointURL("https://[::1]:1/").host == "::1")
        #expect(try BundleEndpointURL("https://10.0.0.1?v").host == "10.0.0.1")
        #expect(
            try BundleEndpointURL("https://acme.test/" + String(repeating: "a", count: 2030))
                .string.utf8.count == 2048)
    }

    @Test("FED-04, FED-05, FED-08: three parameters say all, and none follows from another")
    func endpoint() throws {
        let trustDomain = try TrustDomain("partner.test")
        let web = try BundleEndpoint(
            trustDomain: trustDomain, url: "https://elsewhere.test/b", profile: .httpsWeb)
        #expect(web.trustDomain == trustDomain)
        #expect(web.endpointSPIFFEID == nil)
        #expect(!web.isSelfServing)
        func spiffe(_ id: String) throws -> BundleEndpoint {
            try BundleEndpoint(
                trustDomain: trustDomain, url: "https://elsewhere.test/b",
                profile: .httpsSPIFFE(endpointSPIFFEID: try SPIFFEID(id)))
        }
        #expect(try spiffe("spiffe://partner.test/server").isSelfServing)
        #expect(try !spiffe("spiffe://elsewhere.test/server").isSelfServing)
    }

    @Test("FED-18: redirections are resolved as RFC 3986 says")
    func redirections() throws {
        let base = try BundleEndpointURL("https://acme.test:8443/a/b/c?q=1")
        for (location, target) in [
            ("/x", "/x"), ("x", "/a/b/x"), ("./x", "/a/b/x"), ("../x", "/a/x"),
            ("../../../../x", "/x"), ("x/../y/.", "/a/b/y/"), ("..", "/a/"), (".", "/a/b/"),
            ("/x/./../y?z=../1", "/y?z=../1"), ("?r=2", "/a/b/c?r=2"), ("", "/a/b/c?q=1"),
            ("#f", "/a/b/c?q=1"), ("/x#f", "/x"), ("/x//y", "/x//y"), ("x:y/..", nil),
            ("x?a:b", "/a/b/x?a:b"), ("x/a:b", "/a/b/x/a:b"),
        ] {
            guard let target else {
                #expect(throws: BundleEndpointError.self) { try base.redirected(to: location) }
                continue
            }
            #expect(
                try base.redirected(to: location).string == "https://acme.test:8443" + target,
                "\(location)")
        }
        #expect(
            try base.redirected(to: "//other.test/x").string == "https://other.test/x")
        #expect(
            try base.redirected(to: "https://other.test:1/x#f").string == "https://other.test:1/x")
    }

    @Test("FED-06, FED-18: no redirection leads to plain HTTP or has user information")
    func refusedRedirections() throws {
        let base = try BundleEndpointURL("https://acme.test/a")
        for location in [
            "http://acme.test/a", "HTTP://acme.test", "https://u:p@acme.test/", "//u@acme.test/",
            "ftp://acme.test/", "javascript:alert(1)", "https://", "//", ":", "https:/x",
            "/a b", "/\u{7F}", "https://acme.test:99999/",
        ] {
            let error = try #require(throws: BundleEndpointError.self, "\(location)") {
                try base.redirected(to: location)
            }
            #expect(error.code == .invalidURL)
        }
    }
}
