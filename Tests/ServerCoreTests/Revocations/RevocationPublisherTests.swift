import NIOConcurrencyHelpers
import PluginAPI
import SPIFFE
import ServerCore
import ServerTestSupport
import Testing

@Suite("revocation publisher") struct RevocationPublisherTests {
    private static let uri = "https://acme.test/statuslist"
    private static let settings = RevocationPublisher.Settings(
        listTTL: .seconds(300), statusListURI: uri)

    /// A publisher over the authorities of a control plane, with a clock that stands still.
    private struct Fixture {
        let plane: TestPlane
        let revoked = ScriptedRevocations()
        let audience = RecordingAudience()
        let authorities: FaultyAuthorities
        let publisher: RevocationPublisher

        init(
            _ settings: RevocationPublisher.Settings = RevocationPublisherTests.settings,
            authority: AuthorityManager.Settings = .init(),
            tokenPlaces: @escaping @Sendable () -> Int64 = { 0 }
        ) async throws {
            self.plane = try await TestPlane(authority: authority)
            self.authorities = FaultyAuthorities(self.plane.authorities)
            self.publisher = RevocationPublisher(
                trustDomain: self.plane.trustDomain, settings: settings, revoked: self.revoked,
                authorities: self.authorities, audience: self.audience, tokenPlaces: tokenPlaces,
                logger: TestPlane.logger, now: self.plane.clock.now)
        }

        var active: String { get throws { try self.plane.authorities.x509Authority().id } }

        func revoke(_ serial: String, of id: String? = nil) throws {
            let id = try id ?? self.active
            let certificate = try #require(
                RevokedCertificate(
                    serial: serial, revokedAt: self.plane.clock.unixTime, isSuspended: false))
            self.revoked.change { $0.certificates[id, default: []].append(certificate) }
        }

        func crl(_ id: String) throws -> ReadCRL {
            try ReadCRL(try #require(self.publisher.lists.crls[id]).bytes)
        }
    }

    private static func claims(_ list: SignedList?) throws -> JSONValue {
        let parts = String(decoding: try #require(list).bytes, as: UTF8.self).split(separator: ".")
        return try JSONValue(parsing: try Base64URL.decode(parts[1]))
    }

    // MARK: What is published

    @Test("an authority that issued nothing revoked has an empty list, and all are valid")
    func first() async throws {
        let fixture = try await Fixture()
        #expect(fixture.publisher.published == 0 && fixture.publisher.lists.crls.isEmpty)
        let number = await fixture.publisher.flush()
        let id = try fixture.active
        #expect(Set(fixture.publisher.lists.crls.keys) == [id])
        #expect(try fixture.crl(id).serials.isEmpty)
        let now = fixture.plane.clock.unixTime
        #expect(fixture.publisher.lists.crls[id]?.expiresAt == now + 300)
        let claims = try Self.claims(fixture.publisher.lists.statusList)
        #expect(claims["sub"] == .string(Self.uri) && claims["exp"] == .int(now + 300))
        #expect(claims["ttl"] == 150)
        let told = try #require(fixture.audience.told.first)
        #expect(fixture.audience.told.count == 1 && told.number == number && number > 0)
        #expect(told.revocations.trustDomain == fixture.plane.trustDomain)
        #expect(told.revocations.crls == [id: try #require(fixture.publisher.lists.crls[id]).bytes])
        #expect(Set(told.revocations.statusLists.keys) == [Self.uri])
    }

    @Test("the status list is a token of its own type under the active JWT authority")
    func statusListHeader() async throws {
        let fixture = try await Fixture()
        await fixture.publisher.flush()
        let list = try #require(fixture.publisher.lists.statusList)
        let token = String(decoding: list.bytes, as: UTF8.self).split(separator: ".")
        let header = try JSONValue(parsing: try Base64URL.decode(token[0]))
        #expect(header["typ"] == "statuslist+jwt" && header["alg"] == "ES256")
        let authority = try fixture.plane.authorities.jwtAuthority()
        #expect(header["kid"] == .string(authority.id))
        #expect(
            authority.signer.publicKey.isValidSignature(
                try Base64URL.decode(token[2]), for: Array("\(token[0]).\(token[1])".utf8),
                algorithm: .es256))
    }

    @Test("what is revoked is listed; what has not changed is not signed again")
    func changes() async throws {
        let fixture = try await Fixture()
        let first = await fixture.publisher.flush()
        #expect(await fixture.publisher.flush() == first)
        #expect(fixture.audience.told.count == 1)
        let status = fixture.publisher.lists.statusList
        try fixture.revoke("aa")
        let second = await fixture.publisher.flush()
        #expect(second > first && fixture.audience.told.map(\.number) == [first, second])
        #expect(try fixture.crl(try fixture.active).serials == [[0xAA]])
        #expect(fixture.publisher.lists.statusList == status)
        let crls = fixture.publisher.lists.crls
        fixture.revoked.change { $0.statuses = [5: true] }
        let third = await fixture.publisher.flush()
        #expect(third > second && fixture.publisher.lists.crls == crls)
        #expect(fixture.publisher.lists.statusList != status)
        fixture.revoked.change { $0.tokens = [[1, 2, 3]] }
        let fourth = await fixture.publisher.flush()
        #expect(fourth > third)
        #expect(fixture.audience.told.last?.revocations.revokedTokens == [[1, 2, 3]])
        #expect(fixture.publisher.lists.crls == crls)
    }

    @Test("CRL numbers grow, also when the clock goes back, and over a restart")
    func numbers() async throws {
        let fixture = try await Fixture()
        var last = await fixture.publisher.flush()
        for (index, step) in [Int64(0), 1, -3_600, 0, 100].enumerated() {
            fixture.plane.clock.advance(by: step)
            try fixture.revoke(String(index + 16, radix: 16))
            let number = await fixture.publisher.flush()
            #expect(number > last)
            let read = try fixture.crl(try fixture.active).number.reduce(UInt64(0)) {
                $0 << 8 | UInt64($1)
            }
            #expect(read == number)
            last = number
        }
        let later = try await Fixture()
        later.plane.clock.advance(by: 3_600)
        #expect(await later.publisher.flush() > last)
    }

    // MARK: Time

    @Test("lists are signed anew at half of their life, and when the clock was set back")
    func refresh() async throws {
        let fixture = try await Fixture()
        let first = await fixture.publisher.flush()
        fixture.plane.clock.advance(by: 149)
        #expect(!fixture.publisher.isDue)
        #expect(await fixture.publisher.flush() == first)
        fixture.plane.clock.advance(by: 1)
        #expect(fixture.publisher.isDue)
        let second = await fixture.publisher.flush()
        let now = fixture.plane.clock.unixTime
        #expect(second > first && !fixture.publisher.isDue)
        #expect(fixture.publisher.lists.crls[try fixture.active]?.expiresAt == now + 300)
        #expect(try Self.claims(fixture.publisher.lists.statusList)["exp"] == .int(now + 300))
        fixture.plane.clock.advance(by: -7_200)
        #expect(fixture.publisher.isDue)
        await fixture.publisher.flush()
        #expect(fixture.publisher.lists.crls[try fixture.active]?.signedAt == now - 7_200)
    }

    @Test("the status list grows before tokens have places beyond its end")
    func growth() async throws {
        let places = NIOLockedValueBox<Int64>(0)
        let fixture = try await Fixture(tokenPlaces: { places.withLockedValue { $0 } })
        await fixture.publisher.flush()
        let list = fixture.publisher.lists.statusList
        places.withLockedValue { $0 = 1 << 19 }
        #expect(!fixture.publisher.isDue)
        places.withLockedValue { $0 += 1 }
        #expect(fixture.publisher.isDue)
        await fixture.publisher.flush()
        #expect(fixture.publisher.lists.statusList != list && !fixture.publisher.isDue)
    }

    // MARK: Authorities

    @Test("prepared, old and tainted authorities have lists until they are revoked")
    func authorities() async throws {
        let fixture = try await Fixture()
        let manager = fixture.plane.authorities
        let first = try fixture.active
        try fixture.revoke("aa", of: first)
        await fixture.publisher.flush()
        let second = try await manager.prepare(.x509, requestedBy: "test").id
        #expect(fixture.publisher.isDue)
        await fixture.publisher.flush()
        #expect(Set(fixture.publisher.lists.crls.keys) == [first, second])
        _ = try await manager.activate(.x509, authorityID: second, requestedBy: "test")
        _ = try await manager.taint(.x509, authorityID: first, requestedBy: "test")
        // The old one still signs: its key is in the key manager.
        try fixture.revoke("bb", of: first)
        await fixture.publisher.flush()
        #expect(try fixture.crl(first).serials == [[0xAA], [0xBB]])
        #expect(try fixture.crl(second).serials.isEmpty)
        _ = try await manager.revoke(.x509, authorityID: first, requestedBy: "test")
        #expect(fixture.publisher.isDue)
        await fixture.publisher.flush()
        #expect(Set(fixture.publisher.lists.crls.keys) == [second])
        #expect(fixture.audience.told.last?.revocations.crls.count == 1)
    }

    @Test("after a restart an old authority signs its list again")
    func restart() async throws {
        let fixture = try await Fixture()
        let old = try fixture.active
        let manager = fixture.plane.authorities
        let next = try await manager.prepare(.x509, requestedBy: "test").id
        _ = try await manager.activate(.x509, authorityID: next, requestedBy: "test")
        let again = try await TestPlane(
            clock: fixture.plane.clock, store: fixture.plane.store, keys: fixture.plane.keys)
        let publisher = RevocationPublisher(
            trustDomain: again.trustDomain, settings: Self.settings, revoked: fixture.revoked,
            authorities: again.authorities, audience: fixture.audience, logger: TestPlane.logger,
            now: again.clock.now)
        try fixture.revoke("aa", of: old)
        await publisher.flush()
        #expect(Set(publisher.lists.crls.keys) == [old, next])
        #expect(try ReadCRL(try #require(publisher.lists.crls[old]).bytes).serials == [[0xAA]])
    }

    @Test("an authority whose key is gone has no list, and that is no failure")
    func keyless() async throws {
        let fixture = try await Fixture()
        let old = try fixture.active
        let manager = fixture.plane.authorities
        let next = try await manager.prepare(.x509, requestedBy: "test").id
        _ = try await manager.activate(.x509, authorityID: next, requestedBy: "test")
        try await fixture.plane.keys.deleteKey(id: "x509-CA-A")
        let number = await fixture.publisher.flush()
        #expect(number == fixture.publisher.published)
        #expect(Set(fixture.publisher.lists.crls.keys) == [next])
        #expect(old != next && !fixture.publisher.isDue)
    }

    @Test("a new JWT authority signs the status list at once")
    func jwtAuthority() async throws {
        let fixture = try await Fixture()
        await fixture.publisher.flush()
        let manager = fixture.plane.authorities
        let next = try await manager.prepare(.jwt, requestedBy: "test").id
        _ = try await manager.activate(.jwt, authorityID: next, requestedBy: "test")
        await fixture.publisher.flush()
        #expect(fixture.publisher.lists.statusList?.authorityID == next)
    }

    // MARK: Failures

    @Test("a list that cannot be signed stays, the others are published, and it is tried again")
    func failure() async throws {
        let fixture = try await Fixture()
        let id = try fixture.active
        fixture.authorities.breakStatusList(true)
        let number = await fixture.publisher.flush()
        // Whoever waits for what could not be published waits for a later number.
        #expect(number > fixture.publisher.published && fixture.publisher.published > 0)
        #expect(fixture.publisher.lists.statusList == nil)
        #expect(fixture.publisher.lists.crls[id] != nil)
        #expect(!fixture.publisher.isDue)
        fixture.plane.clock.advance(by: 5)
        #expect(fixture.publisher.isDue)
        fixture.authorities.breakStatusList(false)
        let later = await fixture.publisher.flush()
        #expect(later >= number && later == fixture.publisher.published)
        let good = try #require(fixture.publisher.lists.statusList)
        fixture.authorities.breakStatusList(true)
        fixture.revoked.change { $0.statuses = [1: true] }
        await fixture.publisher.flush()
        #expect(fixture.publisher.lists.statusList == good)
        fixture.authorities.breakStatusList(false)
        await fixture.publisher.flush()
        #expect(fixture.publisher.lists.statusList != good)
    }

    @Test("one authority that cannot be had does not hold up the lists of others")
    func oneFailure() async throws {
        let fixture = try await Fixture()
        let first = try fixture.active
        let second = try await fixture.plane.authorities.prepare(.x509, requestedBy: "test").id
        fixture.authorities.breakCRL(of: [second])
        try fixture.revoke("aa")
        let number = await fixture.publisher.flush()
        #expect(number > fixture.publisher.published)
        #expect(Set(fixture.publisher.lists.crls.keys) == [first])
        fixture.authorities.breakCRL(of: [])
        await fixture.publisher.flush()
        #expect(Set(fixture.publisher.lists.crls.keys) == [first, second])
    }

    // MARK: Switched off

    @Test("nothing is signed when lists are off; revoked tokens are told all the same")
    func off() async throws {
        let fixture = try await Fixture(.init(signsCRLs: false, statusListURI: nil))
        fixture.authorities.breakStatusList(true)
        fixture.authorities.breakCRL(of: [try fixture.active])
        try fixture.revoke("aa")
        fixture.revoked.change {
            $0.tokens = [[9]]
            $0.statuses = [1: true]
        }
        let number = await fixture.publisher.flush()
        #expect(number == fixture.publisher.published)
        #expect(fixture.publisher.lists.crls.isEmpty && fixture.publisher.lists.statusList == nil)
        let told = try #require(fixture.audience.told.last?.revocations)
        #expect(told.crls.isEmpty && told.statusLists.isEmpty && told.revokedTokens == [[9]])
        fixture.plane.clock.advance(by: 100_000)
        #expect(!fixture.publisher.isDue)
    }

    // MARK: Running

    @Test("while it runs, changes and new authorities are published without anybody asking")
    func runs() async throws {
        let fixture = try await Fixture()
        let publisher = fixture.publisher
        let running = Task { try await publisher.run() }
        var told = fixture.audience.stream.makeAsyncIterator()
        #expect(await told.next()?.revocations.crls.count == 1)
        fixture.revoked.change { $0.tokens = [[1]] }
        #expect(await told.next()?.revocations.revokedTokens == [[1]])
        _ = try await fixture.plane.authorities.prepare(.x509, requestedBy: "test")
        #expect(await told.next()?.revocations.crls.count == 2)
        running.cancel()
        await #expect(throws: CancellationError.self) { try await running.value }
    }
}
