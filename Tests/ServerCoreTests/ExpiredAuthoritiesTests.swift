import ServerCore
import ServerTestSupport
import Testing

@Suite struct ExpiredAuthoritiesTests {
    /// A plane whose first authorities have been replaced, and when those end.
    private static func rotated() async throws -> (plane: TestPlane, firstEnd: Int64) {
        let plane = try await TestPlane(authority: .init(authorityTTL: .seconds(600)))
        let firstEnd = try plane.authorities.x509Authority().notAfter
        for seconds: Int64 in [301, 200] {
            plane.clock.advance(by: seconds)
            try await plane.authorities.rotate()
        }
        return (plane, firstEnd)
    }

    @Test func `FED-30: an authority leaves the bundle when nothing that it signed can live on`()
        async throws
    {
        // No SVID outlives its authority, so the authority's own end is the one to wait for.
        let (plane, firstEnd) = try await Self.rotated()
        let bundle = try #require(plane.directory.ownBundle)
        #expect(bundle.x509Authorities.count == 2 && bundle.jwtAuthorities.count == 2)
        #expect(ExpiredAuthorities.prune(bundle, expiredBefore: firstEnd) == nil)
        let pruned = try #require(
            ExpiredAuthorities.prune(bundle, expiredBefore: firstEnd + 1))
        #expect(pruned.x509Authorities.map(\.der) == [try plane.authorities.x509Authority().der])
        #expect(pruned.jwtAuthorities.map(\.keyID) == [try plane.authorities.jwtAuthority().id])
    }

    @Test func `of each kind the last authority stays, however long it has ended`() async throws {
        let (plane, _) = try await Self.rotated()
        let bundle = try #require(plane.directory.ownBundle)
        let pruned = try #require(ExpiredAuthorities.prune(bundle, expiredBefore: .max))
        #expect(pruned.x509Authorities == Array(bundle.x509Authorities.suffix(1)))
        #expect(pruned.jwtAuthorities == Array(bundle.jwtAuthorities.suffix(1)))
    }

    @Test func `STB-01: keys of WIT-SVIDs leave the bundle to the last when they have ended`()
        async throws
    {
        let plane = try await TestPlane(authority: .init(issuesWITSVIDs: true))
        let bundle = try #require(plane.directory.ownBundle)
        let end = try plane.authorities.witAuthority().notAfter
        #expect(bundle.witAuthorities.count == 1)
        #expect(ExpiredAuthorities.prune(bundle, expiredBefore: end) == nil)
        let pruned = try #require(ExpiredAuthorities.prune(bundle, expiredBefore: end + 1))
        #expect(pruned.witAuthorities.isEmpty)
    }
}
