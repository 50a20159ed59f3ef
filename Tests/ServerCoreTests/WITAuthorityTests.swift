import PluginAPI
import Plugins
import SPIFFE
import ServerCore
import ServerTestSupport
import Testing
import Transparency

@Suite struct WITAuthorityTests {
    private static let settings = AuthorityManager.Settings(issuesWITSVIDs: true)

    private static func bundle(_ plane: TestPlane) throws -> TrustBundle {
        try #require(plane.directory.ownBundle)
    }

    @Test func `an authority for WIT-SVIDs is made, recorded, published and kept like the others`()
        async throws
    {
        let plane = try await TestPlane(authority: Self.settings)
        let authority = try plane.authorities.witAuthority()
        let bundle = try Self.bundle(plane)
        #expect(bundle.witAuthorities.map(\.keyID) == [authority.id])
        #expect(bundle.witAuthorities.map(\.expiresAt) == [authority.notAfter])
        #expect(
            bundle.witAuthorities.map(\.publicKeyDER) == [authority.signer.publicKey.publicKeyDER])
        let made = plane.recorder.authorities.filter { $0.action == .prepared }
        #expect(made.map(\.authorityType) == [.x509, .jwt, .wit])
        let journal = try await plane.store.loadJournal()
        #expect(journal.map(\.kind) == [.x509, .jwt, .wit])
        #expect(journal.map(\.keyID).last == "WIT-Signer-A")
        let second = try await TestPlane(
            clock: plane.clock, authority: Self.settings, store: plane.store, keys: plane.keys)
        #expect(try second.authorities.witAuthority().id == authority.id)
        #expect(second.recorder.events.isEmpty)
    }

    @Test func `STB-01: without the switch there is no such key, and none is used`() async throws {
        let plane = try await TestPlane()
        #expect(try Self.bundle(plane).witAuthorities.isEmpty)
        let error = #expect(throws: ServerError.self) { try plane.authorities.witAuthority() }
        #expect(error?.code == .unimplemented)
        // Switched on later, and off again: what was made is not lost, but not used either.
        let on = try await TestPlane(
            clock: plane.clock, authority: Self.settings, store: plane.store, keys: plane.keys)
        let id = try on.authorities.witAuthority().id
        let off = try await TestPlane(clock: plane.clock, store: plane.store, keys: plane.keys)
        #expect(throws: ServerError.self) { try off.authorities.witAuthority() }
        #expect(try Self.bundle(off).witAuthorities.map(\.keyID) == [id])
        let again = try await TestPlane(
            clock: plane.clock, authority: Self.settings, store: plane.store, keys: plane.keys)
        #expect(try again.authorities.witAuthority().id == id)
    }

    @Test
    func `WIT-04: rotation always gives a new key with a new key ID, published before it signs`()
        async throws
    {
        let plane = try await TestPlane(
            authority: .init(authorityTTL: .seconds(600), issuesWITSVIDs: true))
        var seen = [try plane.authorities.witAuthority().id]
        for _ in 0..<20 {
            plane.clock.advance(by: 90)
            try await plane.authorities.rotate()
            let authority = try plane.authorities.witAuthority()
            let published = try Self.bundle(plane).witAuthorities
            #expect(published.map(\.keyID).contains(authority.id))
            if authority.id != seen.last {
                #expect(!seen.contains(authority.id))
                seen.append(authority.id)
            }
            let next = published.filter { !seen.contains($0.keyID) }
            #expect(next.count <= 1)
        }
        #expect(seen.count > 2)
        let bundle = try Self.bundle(plane)
        #expect(Set(bundle.witAuthorities.map(\.publicKeyDER)).count == bundle.witAuthorities.count)
        #expect(try await plane.store.loadJournal().count == 6)
    }

    @Test func `WIT-33: key IDs of WIT and JWT authorities never meet`() async throws {
        let plane = try await TestPlane(
            authority: .init(authorityTTL: .seconds(600), issuesWITSVIDs: true))
        for _ in 0..<10 {
            plane.clock.advance(by: 90)
            try await plane.authorities.rotate()
        }
        let bundle = try Self.bundle(plane)
        let ids = bundle.jwtAuthorities.map(\.keyID) + bundle.witAuthorities.map(\.keyID)
        #expect(Set(ids).count == ids.count)
        let document = try SPIFFEBundle(
            trustDomain: plane.trustDomain,
            jwtAuthorities: bundle.jwtAuthorities.map {
                JWTAuthorityKey(keyID: $0.keyID, publicKeyDER: $0.publicKeyDER)
            },
            witAuthorities: bundle.witAuthorities.map {
                WITAuthorityKey(keyID: $0.keyID, publicKeyDER: $0.publicKeyDER)
            })
        #expect(document.witAuthorities.count == bundle.witAuthorities.count)
    }

    @Test func `an authority for WIT-SVIDs whose record cannot be written is not published`()
        async throws
    {
        let plane = try await TestPlane(
            authority: .init(authorityTTL: .seconds(600), issuesWITSVIDs: true))
        let published = try Self.bundle(plane).witAuthorities
        plane.clock.advance(by: 301)
        plane.recorder.fail(ServerError(.unavailable, "disk is full"))
        await #expect(throws: ServerError.self) { try await plane.authorities.rotate() }
        #expect(try Self.bundle(plane).witAuthorities == published)
    }
}
