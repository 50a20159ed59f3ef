import Testing

@testable import SPIFFEHTTP

@Suite("https URLs") struct HTTPSURLTests {
    @Test(
        "Host, port and target",
        arguments: [
            ("https://a", "a", 443, "a", "/"),
            ("https://A.b-c_d:8443", "a.b-c_d", 8443, "A.b-c_d:8443", "/"),
            ("HTTPS://a/x?y=z#part", "a", 443, "a", "/x?y=z"),
            ("https://a?q", "a", 443, "a", "/?q"),
            ("https://[::1]/", "::1", 443, "[::1]", "/"),
            ("https://[2001:db8::1]:8443/x", "2001:db8::1", 8443, "[2001:db8::1]:8443", "/x"),
            ("https://127.0.0.1:65535/", "127.0.0.1", 65535, "127.0.0.1:65535", "/"),
        ])
    func good(url: String, host: String, port: Int, authority: String, target: String) throws {
        let parsed = try HTTPSURL(url)
        #expect(parsed.origin == HTTPSURL.Origin(host: host, port: port))
        #expect(parsed.authority == authority)
        #expect(parsed.target == target)
    }
}
