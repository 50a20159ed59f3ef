import SPIFFE
import ServerTestSupport
import Testing

@testable import ServerCore

@Suite struct PartnerLimitsInUseTests {
    private static func limits(
        _ name: String, paths: [String]? = nil, uses: PartnerLimits.Uses = .all
    ) throws -> PartnerLimits {
        try PartnerLimits(
            trustDomain: try TrustDomain(name), acceptedPaths: paths, uses: uses)
    }

    @Test("uses have names")
    func names() throws {
        #expect(try PartnerLimits.Uses(names: []) == .all)
        #expect(try PartnerLimits.Uses(names: ["jwt"]) == .jwt)
        #expect(try PartnerLimits.Uses(names: ["jwt", "x509"]).names == ["x509", "jwt"])
        for name in ["", "JWT", "wit"] {
            #expect(throws: ServerError.self, "\(name)") { try PartnerLimits.Uses(names: [name]) }
        }
    }

    @Test("limits are set and taken away, before there is a relationship and without one")
    func sets() async throws {
        let plane = try await TestPlane()
        let registry = FederationRegistry(directory: plane.directory, store: plane.store)
        let partner = try TrustDomain("b.test")
        let one = try Self.limits("b.test", paths: ["/agents/*"], uses: .jwt)
        try await registry.setLimits(one)
        #expect(plane.directory.limits == [one])
        let bundle = try Partner.stored("b.test")
        let limited = plane.directory.limited(bundle)
        #expect(limited.x509Authorities.isEmpty && limited.jwtAuthorities == bundle.jwtAuthorities)
        let two = try Self.limits("b.test", paths: [])
        try await registry.setLimits(two)
        #expect(plane.directory.limits(partner) == two)
        try await registry.deleteLimits(partner)
        #expect(plane.directory.limits(partner) == nil && plane.directory.limited(bundle) == bundle)
        let gone = await #expect(throws: ServerError.self) {
            try await registry.deleteLimits(partner)
        }
        #expect(gone?.code == .notFound)
        for bad in [try Self.limits("acme.test"), try Self.limits("b.test", uses: [])] {
            let error = await #expect(throws: ServerError.self) {
                try await registry.setLimits(bad)
            }
            #expect(error?.code == .invalidArgument)
        }
    }

    @Test("the configuration's limits count before others and are not changed by them")
    func configured() async throws {
        let configured = try Self.limits("b.test", uses: .x509)
        let directory = Directory(trustDomain: try TrustDomain("acme.test"), limits: [configured])
        let store = MemoryStore()
        store.setConsumer(directory)
        let registry = FederationRegistry(directory: directory, store: store)
        let error = await #expect(throws: ServerError.self) {
            try await registry.setLimits(try Self.limits("b.test"))
        }
        #expect(error?.code == .failedPrecondition)
        // One that was stored before the configuration named the partner.
        try await store.setLimits(try Self.limits("b.test", uses: .jwt))
        #expect(directory.limits == [configured])
    }

    @Test("agents get the bundle again when its limits change")
    func givesAnew() async throws {
        let plane = try await TestPlane()
        let partner = try TrustDomain("b.test")
        let agent = try plane.id("/spire/agent/join_token/1")
        var entry = Entry(
            id: "e", spiffeID: try plane.id("/light"), parentID: agent,
            selectors: [try Selector("unix:uid:1")])
        entry.federatesWith = [partner]
        _ = try await plane.store.createEntries([entry])
        let bundle = try await plane.store.updateBundle(partner) { $0.refreshHint = 60 }
        _ = try await plane.store.attestNode(
            AttestedNode(id: agent, attestationType: "join_token", serial: "01", expiresAt: .max))
        let session = plane.directory.openSession(agent: agent, knownDigest: [])
        _ = try await session.next()
        try await plane.store.setLimits(try Self.limits("b.test", paths: []))
        #expect(try await session.next()?.bundles == [bundle])
        _ = try await plane.store.deleteLimits(bundle.trustDomain)
        #expect(try await session.next()?.bundles == [bundle])
        // Of a partner that nobody federates with nobody hears.
        try await plane.store.setLimits(try Self.limits("c.test"))
        #expect(session.settled != nil)
    }
}
