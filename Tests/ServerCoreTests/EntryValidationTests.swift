import SPIFFE
import ServerCore
import ServerTestSupport
import Testing

@Suite struct EntryValidationTests {
    struct Case: Sendable, CustomTestStringConvertible {
        let name: String
        let isValid: Bool
        let change: @Sendable (inout Entry) throws -> Void
        var testDescription: String { self.name }

        static func good(_ name: String, _ change: @escaping @Sendable (inout Entry) throws -> Void)
            -> Case
        {
            Case(name: name, isValid: true, change: change)
        }

        static func bad(_ name: String, _ change: @escaping @Sendable (inout Entry) throws -> Void)
            -> Case
        {
            Case(name: name, isValid: false, change: change)
        }
    }

    private static let cases: [Case] = [
        .good("as it is") { _ in },
        .good("ID of 255 bytes") { $0.id = String(repeating: "a", count: 255) },
        .good("ID of all kinds of characters") { $0.id = "Az09._-" },
        .bad("ID of 256 bytes") { $0.id = String(repeating: "a", count: 256) },
        .bad("empty ID") { $0.id = "" },
        .bad("ID with a slash") { $0.id = "a/b" },
        .bad("ID with a space") { $0.id = "a b" },
        .bad("ID with a letter that is not ASCII") { $0.id = "é" },
        .bad("ID with a newline") { $0.id = "a\n" },
        .bad("SPIFFE ID without path") { $0.spiffeID = try SPIFFEID("spiffe://acme.test") },
        .bad("SPIFFE ID elsewhere") { $0.spiffeID = try SPIFFEID("spiffe://evil.test/a") },
        .bad("SPIFFE ID of the server") {
            $0.spiffeID = try SPIFFEID("spiffe://acme.test/spire/server")
        },
        .bad("SPIFFE ID of an agent") {
            $0.spiffeID = try SPIFFEID("spiffe://acme.test/spire/agent/x/1")
        },
        .bad("SPIFFE ID /spire") { $0.spiffeID = try SPIFFEID("spiffe://acme.test/spire") },
        .bad("SPIFFE ID that signs invites") {
            $0.spiffeID = try SPIFFEID("spiffe://acme.test/cygnet/federation/invite")
        },
        .bad("SPIFFE ID /cygnet") { $0.spiffeID = try SPIFFEID("spiffe://acme.test/cygnet") },
        .good("SPIFFE ID that only starts like /cygnet") {
            $0.spiffeID = try SPIFFEID("spiffe://acme.test/cygnets/a")
        },
        .good("SPIFFE ID with a reserved name further down") {
            $0.spiffeID = try SPIFFEID("spiffe://acme.test/a/cygnet/federation/invite")
        },
        .good("SPIFFE ID that only starts like /spire") {
            $0.spiffeID = try SPIFFEID("spiffe://acme.test/spirella")
        },
        .good("parent is the server") {
            $0.parentID = try SPIFFEID("spiffe://acme.test/spire/server")
        },
        .good("parent is a workload") { $0.parentID = try SPIFFEID("spiffe://acme.test/w") },
        .bad("parent elsewhere") {
            $0.parentID = try SPIFFEID("spiffe://evil.test/spire/agent/x/1")
        },
        .bad("parent without path") { $0.parentID = try SPIFFEID("spiffe://acme.test") },
        .bad("no selector") { $0.selectors = [] },
        .good("TTLs of 0") {
            $0.x509SVIDTTL = 0
            $0.jwtSVIDTTL = 0
        },
        .bad("negative X.509 TTL") { $0.x509SVIDTTL = -1 },
        .bad("negative JWT TTL") { $0.jwtSVIDTTL = .min },
        .bad("negative expiry") { $0.expiresAt = -1 },
        .good("hint of 1024 bytes") { $0.hint = String(repeating: "h", count: 1024) },
        .bad("hint of 1025 bytes") { $0.hint = String(repeating: "h", count: 1025) },
        .bad("DNS name with a space") { $0.dnsNames = ["a b"] },
        .good("stored with selectors of one type") { $0.storeSVID = true },
        .bad("stored with selectors of two types") {
            $0.storeSVID = true
            $0.selectors = [try Selector("a:1"), try Selector("b:1")]
        },
        .bad("stored and not prefetched") {
            $0.storeSVID = true
            $0.disableX509SVIDPrefetch = true
        },
        .bad("stored and revoked with its process") {
            $0.storeSVID = true
            $0.revokesOnExit = true
        },
        .good("revoked with its process") { $0.revokesOnExit = true },
        .good("not prefetched") { $0.disableX509SVIDPrefetch = true },
    ]

    @Test(arguments: cases) func `the rules of an entry, X509-05 and WAPI-25 among them`(row: Case)
        throws
    {
        var entry = try Entry.test(
            "id", "/a", parent: "/spire/agent/x/1", ["unix:uid:1", "unix:gid:1"])
        try row.change(&entry)
        let domain = try TrustDomain("acme.test")
        if row.isValid {
            try EntryValidation.check(entry, in: domain)
        } else {
            let error = #expect(throws: ServerError.self) {
                try EntryValidation.check(entry, in: domain)
            }
            #expect(error?.code == .invalidArgument)
            #expect(error?.message.utf8.count ?? 0 < 600)
        }
    }

    @Test(arguments: 0..<256) func `an ID takes exactly its alphabet`(byte: Int) throws {
        let character = Character(Unicode.Scalar(UInt8(byte)))
        var entry = try Entry.test("id", "/a", parent: "/b")
        entry.id = "a\(character)"
        let allowed = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-"
        let domain = try TrustDomain("acme.test")
        let isValid = (try? EntryValidation.check(entry, in: domain)) != nil
        #expect(isValid == allowed.contains(character))
    }

    @Test func `an agent ID lies below the agents' path of the own trust domain`() throws {
        let domain = try TrustDomain("acme.test")
        try EntryValidation.checkAgentID(
            try SPIFFEID("spiffe://acme.test/spire/agent/x"), in: domain)
        for text in [
            "spiffe://acme.test/spire/agent", "spiffe://acme.test/spire/agents/x",
            "spiffe://evil.test/spire/agent/x", "spiffe://acme.test",
        ] {
            let id = try SPIFFEID(text)
            #expect(throws: ServerError.self) { try EntryValidation.checkAgentID(id, in: domain) }
        }
    }
}

@Suite struct DNSNamesTests {
    @Test(arguments: [
        ["a"], ["a.b.c"], ["A1-b.Example"], ["*.example"], ["*.example", "a.b.example"],
        ["*.example", "example"], ["1"], ["xn--bcher-kva.example"],
        [String(repeating: "a", count: 63) + ".b"], [],
        // 253 bytes: three labels of 63, one of 61.
        [[63, 63, 63, 61].map { String(repeating: "a", count: $0) }.joined(separator: ".")],
    ])
    func `accepts`(names: [String]) throws { try DNSNames.check(names) }

    @Test(arguments: [
        [""], ["."], ["a."], [".a"], ["a..b"], ["*"], ["*."], ["**.a"], ["a.*"], ["*.*.a"],
        ["a*.b"],
        ["-a"], ["a-"], ["a.-b.c"], ["a_b"], ["a b"], ["bücher.example"], ["a\0"], ["a/b"], ["a:1"],
        ["*.example", "a.example"], ["b.example", "*.example"],
        [String(repeating: "a", count: 64)],
        [[63, 63, 63, 62].map { String(repeating: "a", count: $0) }.joined(separator: ".")],
    ])
    func `refuses`(names: [String]) {
        let error = #expect(throws: ServerError.self) { try DNSNames.check(names) }
        #expect(error?.code == .invalidArgument)
    }

    @Test func `a wildcard covers names in any case`() {
        #expect(throws: ServerError.self) {
            try DNSNames.check(["*.Example.org", "a.example.org"])
        }
    }
}
