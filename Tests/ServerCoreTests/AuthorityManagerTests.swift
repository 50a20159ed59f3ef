import PluginAPI
import Plugins
import SPIFFE
import ServerCore
import ServerTestSupport
import Testing
import Transparency
import X509

@Suite struct AuthorityManagerTests {
    private static func bundle(_ plane: TestPlane) throws -> TrustBundle {
        try #require(plane.directory.ownBundle)
    }

    @Test
    func `at the first start one authority of each kind is made, recorded, published and kept`()
        async throws
    {
        let plane = try await TestPlane()
        let bundle = try Self.bundle(plane)
        #expect(bundle.x509Authorities.map(\.der) == [try plane.authorities.x509Authority().der])
        #expect(bundle.jwtAuthorities.map(\.keyID) == [try plane.authorities.jwtAuthority().id])
        let made = plane.recorder.authorities.filter { $0.action == .prepared }
        #expect(made.map(\.authorityType) == [.x509, .jwt])
        let journal = try await plane.store.loadJournal()
        #expect(journal.map(\.kind) == [.x509, .jwt])
        #expect(journal.allSatisfy { $0.status == .active && $0.slot == "A" })
    }

    @Test func `a restart with the same keys goes on with the same authorities`() async throws {
        let first = try await TestPlane()
        let second = try await TestPlane(clock: first.clock, store: first.store, keys: first.keys)
        #expect(
            try second.authorities.x509Authority().id == (try first.authorities.x509Authority().id))
        #expect(
            try second.authorities.jwtAuthority().id == (try first.authorities.jwtAuthority().id))
        #expect(try Self.bundle(second) == (try Self.bundle(first)))
        #expect(second.recorder.events.isEmpty)
    }

    @Test func `a restart with lost keys makes new authorities beside the old ones`() async throws {
        let first = try await TestPlane()
        let old = try Self.bundle(first)
        let second = try await TestPlane(
            clock: first.clock, store: first.store, keys: MemoryKeyManager())
        let new = try Self.bundle(second)
        #expect(new.x509Authorities.count == 2 && new.jwtAuthorities.count == 2)
        #expect(new.x509Authorities.first == old.x509Authorities.first)
        #expect(try second.authorities.x509Authority().der == new.x509Authorities.last?.der)
    }

    @Test func `BND-21: a server whose store is new takes over no keys that it finds`() async throws
    {
        let first = try await TestPlane()
        let firstKey = try first.authorities.x509Authority().certificate.publicKey
        let firstJWT = try Self.bundle(first).jwtAuthorities.map(\.publicKeyDER)
        let second = try await TestPlane(keys: first.keys)
        let secondKey = try second.authorities.x509Authority().certificate.publicKey
        let secondJWT = try Self.bundle(second).jwtAuthorities.map(\.publicKeyDER)
        #expect(firstKey != secondKey)
        #expect(firstJWT.count == 1 && secondJWT.count == 1)
        #expect(firstJWT != secondJWT)
    }

    @Test func `a restart never signs with a key that is not the journal's`() async throws {
        let first = try await TestPlane()
        // The key under the same name is another one, as after a restored key file.
        _ = try await first.keys.generateKey(id: "x509-CA-A", type: .ecP256)
        let second = try await TestPlane(clock: first.clock, store: first.store, keys: first.keys)
        let authority = try second.authorities.x509Authority()
        #expect(authority.certificate.publicKey == authority.key.privateKey.publicKey)
        #expect(try Self.bundle(second).x509Authorities.map(\.der).contains(authority.der))
        #expect(authority.id != (try first.authorities.x509Authority().id))
    }

    @Test func `FED-28: the next authority is published long before it signs`() async throws {
        let plane = try await TestPlane(authority: .init(authorityTTL: .seconds(600)))
        let first = try plane.authorities.x509Authority().id
        plane.clock.advance(by: 300)
        try await plane.authorities.rotate()
        #expect(try Self.bundle(plane).x509Authorities.count == 1)
        plane.clock.advance(by: 1)
        try await plane.authorities.rotate()
        #expect(try Self.bundle(plane).x509Authorities.count == 2)
        #expect(try plane.authorities.x509Authority().id == first)
        plane.clock.advance(by: 200)
        try await plane.authorities.rotate()
        let second = try plane.authorities.x509Authority()
        #expect(second.id != first)
        #expect(second.der == (try Self.bundle(plane)).x509Authorities.last?.der)
        #expect(try Self.bundle(plane).jwtAuthorities.count == 2)
        let journal = try await plane.store.loadJournal()
        #expect(journal.filter { $0.kind == .x509 }.map(\.status) == [.active, .old])
    }

    @Test func `through many rotations two slots suffice and SVIDs always verify`() async throws {
        let plane = try await TestPlane(authority: .init(authorityTTL: .seconds(600)))
        for _ in 0..<40 {
            plane.clock.advance(by: 90)
            try await plane.authorities.rotate()
            let authority = try plane.authorities.x509Authority()
            #expect(authority.certificate.publicKey == authority.key.privateKey.publicKey)
            #expect(try Self.bundle(plane).x509Authorities.map(\.der).contains(authority.der))
        }
        #expect(try await plane.store.loadJournal().count == 4)
    }

    @Test func `an authority whose record cannot be written is not published`() async throws {
        let plane = try await TestPlane(authority: .init(authorityTTL: .seconds(600)))
        let bundle = try Self.bundle(plane)
        let current = try plane.authorities.x509Authority().id
        plane.clock.advance(by: 301)
        plane.recorder.fail(ServerError(.unavailable, "disk is full"))
        await #expect(throws: ServerError.self) { try await plane.authorities.rotate() }
        #expect(try Self.bundle(plane) == bundle)
        #expect(try plane.authorities.x509Authority().id == current)
        plane.recorder.fail(nil)
        try await plane.authorities.rotate()
        #expect(try Self.bundle(plane).x509Authorities.count == 2)
    }

    @Test func `an authority that the store does not take is made again later`() async throws {
        let plane = try await TestPlane(authority: .init(authorityTTL: .seconds(600)))
        let current = try plane.authorities.x509Authority().id
        plane.clock.advance(by: 301)
        plane.store.fail(ServerError(.unavailable, "disk is full"))
        await #expect(throws: ServerError.self) { try await plane.authorities.rotate() }
        #expect(try plane.authorities.x509Authority().id == current)
        plane.store.fail(nil)
        try await plane.authorities.rotate()
        let restarted = try await TestPlane(
            clock: plane.clock, store: plane.store, keys: plane.keys)
        #expect(try restarted.authorities.x509Authority().id == current)
    }

    @Test func `after a long stop with everything expired a new authority signs at once`()
        async throws
    {
        let first = try await TestPlane(authority: .init(authorityTTL: .seconds(600)))
        first.clock.advance(by: 10_000)
        let second = try await TestPlane(
            clock: first.clock, authority: .init(authorityTTL: .seconds(600)), store: first.store,
            keys: first.keys)
        #expect(try second.authorities.x509Authority().notAfter == first.clock.unixTime + 600)
        #expect(try second.authorities.jwtAuthority().notAfter == first.clock.unixTime + 600)
    }
}
