import SPIFFE
import ServerCore
import Testing

@Suite struct PartnerLimitsTests {
    private func limits(
        _ paths: [String]?, _ uses: PartnerLimits.Uses = .all
    ) throws -> PartnerLimits {
        try PartnerLimits(
            trustDomain: TrustDomain("partner.test"), acceptedPaths: paths, uses: uses)
    }

    @Test(arguments: [
        ("spiffe://partner.test/agents/a1", true), ("spiffe://partner.test/agents", false),
        ("spiffe://partner.test/agents/a1/x", false), ("spiffe://partner.test/agentsx/a1", false),
        ("spiffe://partner.test/x/agents/a1", false), ("spiffe://partner.test/grid/a/b", true),
        ("spiffe://partner.test", false), ("spiffe://other.test/agents/a1", false),
        ("spiffe://sub.partner.test/agents/a1", false),
    ])
    func acceptsWholeSegments(id: String, expected: Bool) throws {
        let limits = try self.limits(["/agents/*", "/grid/**"])
        #expect(limits.accepts(try SPIFFEID(id), for: .x509) == expected)
    }

    @Test func everythingAndNothing() throws {
        let id = try SPIFFEID("spiffe://partner.test/a")
        #expect(try self.limits(nil).accepts(id, for: .all))
        #expect(try !self.limits([]).accepts(id, for: .x509))
        #expect(try !self.limits(nil).accepts(id, for: []))
        #expect(try !self.limits(nil).accepts(SPIFFEID("spiffe://other.test/a"), for: .x509))
        #expect(try !self.limits(nil, .jwt).accepts(id, for: .x509))
        #expect(try self.limits(nil, .jwt).accepts(id, for: .jwt))
        #expect(try !self.limits(nil, .jwt).accepts(id, for: .all))
    }

    @Test(arguments: ["", "agents/*", "/agents/a*", "/agents//x", "/**/x", "/é", "/..", "/a/"])
    func refusesPatternsThatMatchNothing(pattern: String) {
        #expect {
            _ = try self.limits([pattern])
        } throws: { error in
            (error as? ServerError)?.code == .invalidArgument
        }
    }

    @Test func takesAuthoritiesOutOfBundles() throws {
        var bundle = TrustBundle(trustDomain: try TrustDomain("partner.test"))
        bundle.x509Authorities = [.init(der: [1])]
        bundle.jwtAuthorities = [.init(keyID: "j", publicKeyDER: [2], expiresAt: 0)]
        bundle.witAuthorities = [.init(keyID: "w", publicKeyDER: [3], expiresAt: 0)]
        #expect(try self.limits(nil).limited(bundle) == bundle)
        let x509 = try self.limits(nil, .x509).limited(bundle)
        #expect(x509.x509Authorities.count == 1)
        #expect(x509.jwtAuthorities.isEmpty && x509.witAuthorities.isEmpty)
        let jwt = try self.limits(nil, .jwt).limited(bundle)
        #expect(jwt.x509Authorities.isEmpty && jwt.jwtAuthorities.count == 1)
        let foreign = TrustBundle(trustDomain: try TrustDomain("other.test"))
        #expect(try self.limits(nil, []).limited(foreign) == foreign)
    }

    @Test func groupsExpand() throws {
        let own = try TrustDomain("acme.test")
        let groups = try TrustDomainGroups([
            "city": [TrustDomain("b.test"), TrustDomain("a.test"), own], "none": [],
        ])
        #expect(groups.names == ["city", "none"])
        let found = try groups.expand(
            ["group:city", "spiffe://c.test", "a.test", "group:none"], without: own)
        #expect(found.map(\.name) == ["a.test", "b.test", "c.test"])
        for reference in ["group:other", "group:", "City.test", "", "group:city "] {
            #expect(throws: ServerError.self) {
                _ = try groups.expand([reference], without: own)
            }
        }
        for name in ["", "City", "a:b", String(repeating: "a", count: 64)] {
            #expect(throws: ServerError.self) { _ = try TrustDomainGroups([name: []]) }
        }
    }
}
