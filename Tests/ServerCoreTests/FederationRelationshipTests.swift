import SPIFFE
import ServerCore
import ServerTestSupport
import Testing

@Suite struct FederationRelationshipTests {
    private static let own = "acme.test"

    private static func check(_ url: String) throws(ServerError) {
        try BundleEndpointAddress.check(url)
    }

    @Test(
        "FED-07: port, path and query of an endpoint's URL are free",
        arguments: [
            "https://b.test", "https://b.test/", "https://b.test:8443/a/b.json?v=1",
            "HTTPS://B.test/x", "https://10.0.0.1:1", "https://[2001:db8::1]:65535/x",
            "https://[::1]", "https://b_1.test?x=https://other.test/@", "https://b.test/%40/a:b",
        ])
    func acceptsURLs(_ url: String) {
        #expect(throws: Never.self) { try Self.check(url) }
    }

    @Test(
        "FED-06: an endpoint's URL is https, with a host and without user information",
        arguments: [
            ("", "missing"), ("http://b.test/b", "https"), ("b.test/b", "https"),
            ("https:/b.test", "https"), ("ftp://b.test", "https"), ("https://", "no host"),
            ("https:///path", "no host"), ("https://:443/", "no host"), ("https://?x", "no host"),
            ("https://u:p@b.test/b", "user information"),
            ("https://@b.test", "user information"),
            ("https://b.test@evil.test/", "user information"),
            ("https://b.test/#x", "fragment"), ("https://b.test:0", "port"),
            ("https://b.test:65536", "port"), ("https://b.test:", "port"),
            ("https://b.test:+80", "port"), ("https://b.test:80:80", "port"),
            ("https://[::1", "bracket"), ("https://[]", "IPv6"), ("https://[::1]x", "follows"),
            ("https://[b.test]", "IPv6"), ("https://b test/", "percent"),
            ("https://b.test/\n", "percent"), ("https://b.test\\@evil.test", "percent"),
            ("https://bü.test", "percent"), ("https://b%2etest", "host name"),
        ])
    func refusesURLs(_ url: String, _ part: String) {
        let error = #expect(throws: ServerError.self) { try Self.check(url) }
        #expect(error?.code == .invalidArgument)
        #expect(error?.message.contains(part) == true, "\(error as Any)")
        #expect(error?.message.contains("u:p") != true, "no password in a message")
    }

    @Test func `a URL of 2048 bytes is accepted, one more is not`() {
        let stem = "https://b.test/"
        let longest = stem + String(repeating: "a", count: 2_048 - stem.utf8.count)
        #expect(throws: Never.self) { try Self.check(longest) }
        #expect(throws: ServerError.self) { try Self.check(longest + "a") }
    }

    @Test func `our own trust domain is no partner`() throws {
        let own = try TrustDomain(Self.own)
        let error = #expect(throws: ServerError.self) {
            try Partner.relationship(Self.own).check(own: own)
        }
        #expect(error?.code == .invalidArgument)
        #expect(throws: Never.self) { try Partner.relationship("b.test").check(own: own) }
    }

    @Test func `an endpoint may be in another trust domain, but must have a path`() throws {
        let own = try TrustDomain(Self.own)
        var relationship = try Partner.relationship("b.test")
        for text in ["spiffe://c.test/endpoint", "spiffe://b.test/x", "spiffe://acme.test/proxy"] {
            relationship.profile = .httpsSPIFFE(endpointID: try SPIFFEID(text))
            let current = relationship
            #expect(throws: Never.self) { try current.check(own: own) }
        }
        relationship.profile = .httpsSPIFFE(endpointID: try SPIFFEID("spiffe://b.test"))
        let current = relationship
        let error = #expect(throws: ServerError.self) { try current.check(own: own) }
        #expect(error?.message.contains("path") == true)
    }

    @Test(
        "BND-11, BND-12, FED-31: the next attempt follows the hint, within bounds",
        arguments: [
            (0, 300_000), (-5, 300_000), (1, 60_000), (60, 60_000), (600, 600_000),
            (86_400, 86_400_000), (1_000_000_000_000, 86_400_000), (Int64.max, 86_400_000),
            (Int64.min, 300_000),
        ] as [(Int64, Int64)])
    func waits(hint: Int64, milliseconds: Int64) {
        for failures in [0, 1, 50] {
            #expect(
                FederationSchedule.wait(hint: hint, failures: failures, jitter: 0)
                    == .milliseconds(milliseconds), "FED-37: the same after a failure")
            #expect(
                FederationSchedule.wait(hint: hint, failures: failures, jitter: 1)
                    == .milliseconds(milliseconds * 9 / 10))
        }
    }

    @Test func `without any bundle the first attempts come soon, and no storm follows`() {
        let waits = (0...10).map { FederationSchedule.wait(hint: nil, failures: $0, jitter: 0) }
        #expect(waits[0] == .seconds(5) && waits[1] == .seconds(5) && waits[2] == .seconds(10))
        #expect(waits[5] == .seconds(60) && waits[10] == .seconds(60))
        #expect(
            FederationSchedule.wait(hint: nil, failures: .max, jitter: .nan) == .seconds(54))
    }
}
