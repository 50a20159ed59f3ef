import SPIFFE
import Testing

@Suite("Limits of partners")
struct TrustDomainLimitsTests {
    private let energy: TrustDomain

    init() throws { self.energy = try TrustDomain("energy.test") }

    private func id(_ path: String, of name: String = "energy.test") throws -> SPIFFEID {
        try SPIFFEID("spiffe://\(name)\(path)")
    }

    @Test(
        "paths: the patterns of an authorizer, any of them",
        arguments: [
            ("/agents/a", true), ("/agents/a/b", false), ("/agents", false), ("/grid/a", true),
            ("/grid/a/b/c", true), ("/grid", false), ("/meters/7", true), ("/meters/8", false),
            ("/AGENTS/a", false),
        ])
    func paths(path: String, isAccepted: Bool) throws {
        let limits = try TrustDomainLimits(
            of: self.energy, acceptedPaths: ["/agents/*", "/grid/**", "/meters/7"])
        #expect(limits.accepts(try self.id(path)) == isAccepted)
        #expect(!limits.accepts(try self.id(path, of: "other.test")))
    }

    @Test("no patterns accept every path, an empty list and unknown limits accept none")
    func none() throws {
        let all = try TrustDomainLimits(of: self.energy)
        #expect(all.accepts(try self.id("/any/thing")))
        #expect(!all.accepts(try self.id("/any/thing", of: "other.test")))
        #expect(
            !(try TrustDomainLimits(of: self.energy, acceptedPaths: []))
                .accepts(try self.id("/agents/a")))
        let unknown = TrustDomainLimits.unknown(of: self.energy)
        #expect(!unknown.accepts(try self.id("/agents/a")))
        #expect(!unknown.allowsX509 && !unknown.allowsJWT)
        // Nobody says that nothing is accepted: nobody has said anything.
        #expect(
            try unknown
                != TrustDomainLimits(
                    of: self.energy, allowsX509: false, allowsJWT: false, acceptedPaths: []))
    }

    @Test(
        "a pattern that could match nothing is an error",
        arguments: ["", "agents/*", "/a/**/b", "/a//b", "/agents/", "/a*", "/ä"])
    func malformed(pattern: String) throws {
        let error = #expect(throws: AuthorizationError.self) {
            try TrustDomainLimits(of: self.energy, acceptedPaths: ["/agents/*", pattern])
        }
        #expect(error?.code == .pattern)
        // From elsewhere it costs itself only.
        let (limits, problem) = TrustDomainLimits.reading(
            of: self.energy, allowsX509: true, allowsJWT: false,
            acceptedPaths: [pattern, "/agents/*"])
        #expect(problem == error)
        #expect(limits.accepts(try self.id("/agents/a")))
        #expect(!limits.accepts(try self.id("/a/b")))
        #expect(limits.allowsX509 && !limits.allowsJWT)
        #expect(limits.acceptedPaths == [pattern, "/agents/*"])
    }

    @Test("too many patterns are an error, and accept nothing where they come from elsewhere")
    func bounds() throws {
        let most = (0..<TrustDomainLimits.maximumPatterns).map { "/p/\($0)" }
        #expect(
            try TrustDomainLimits(of: self.energy, acceptedPaths: most)
                .accepts(try self.id("/p/999")))
        let error = #expect(throws: AuthorizationError.self) {
            try TrustDomainLimits(of: self.energy, acceptedPaths: most + ["/p/*"])
        }
        #expect(error?.code == .pattern)
        #expect(error?.message.contains("1001") == true)
        let (limits, problem) = TrustDomainLimits.reading(
            of: self.energy, allowsX509: true, allowsJWT: true, acceptedPaths: most + ["/p/*"])
        #expect(problem == error)
        #expect(limits.acceptedPaths == [])
        #expect(!limits.accepts(try self.id("/p/1")))
    }

    @Test("as a source they speak of their own trust domain only")
    func source() throws {
        let limits = try TrustDomainLimits(of: self.energy, allowsJWT: false)
        #expect(limits.partnerLimits(for: self.energy) == limits)
        #expect(limits.partnerLimits(for: try TrustDomain("other.test")) == nil)
    }
}
