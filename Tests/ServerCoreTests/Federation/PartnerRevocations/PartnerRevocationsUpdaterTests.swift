import NIOConcurrencyHelpers
import SPIFFE
import ServerCore
import ServerTestSupport
import Testing

/// A control plane with a relationship to a partner that signs lists.
private struct World {
    let plane: TestPlane
    let partner: RevokingPartner
    let registry: FederationRegistry
    let endpoints = ScriptedRevocationEndpoints()
    let updater: PartnerRevocationsUpdater
    private let uptime: NIOLockedValueBox<Duration>

    /// - Parameter settings: nil asks and fetches as often as the test likes.
    init(settings: PartnerRevocationsUpdater.Settings? = nil) async throws {
        var generous = PartnerRevocationsUpdater.Settings()
        generous.burstBytes = .max
        let uptime = NIOLockedValueBox(Duration.zero)
        self.uptime = uptime
        self.plane = try await TestPlane()
        self.partner = try await RevokingPartner(at: self.plane.clock)
        self.registry = FederationRegistry(
            directory: self.plane.directory, store: self.plane.store)
        self.updater = PartnerRevocationsUpdater(
            directory: self.plane.directory, fetcher: self.endpoints,
            settings: settings ?? generous, logger: TestPlane.logger, now: self.plane.clock.now,
            jitter: { 0 }, uptime: { uptime.withLockedValue { $0 } })
    }

    /// Lets time pass for the partner's budget.
    func pass(_ seconds: Int) { self.uptime.withLockedValue { $0 += .seconds(seconds) } }

    /// Asks until something holds.
    func asked(_ condition: () async -> Bool) async -> Bool {
        await eventually {
            await self.updater.ask(self.partner.trustDomain)
            return await condition()
        }
    }

    var isDeferred: Bool {
        get async { await self.status?.lastError?.contains("comes later") == true }
    }

    /// Runs the updater beside `body`.
    func running(_ body: () async throws -> Void) async throws {
        let run = Task { try await self.updater.run() }
        do {
            try await body()
        } catch {
            run.cancel()
            throw error
        }
        run.cancel()
        await #expect(throws: CancellationError.self) { try await run.value }
    }

    func relate(bundle: Bool = true) async throws {
        _ = try await self.registry.create(
            .init(try Partner.relationship(self.partner.trustDomain.name)))
        if bundle { try await self.store(self.partner) }
    }

    /// Stores the bundle of somebody as the partner's.
    func store(_ other: RevokingPartner, sequence: UInt64 = 1) async throws {
        try await self.store(
            TrustBundle(fetched: try other.served(sequence: sequence)),
            of: self.partner.trustDomain)
    }

    func store(_ bundle: TrustBundle, of trustDomain: TrustDomain) async throws {
        _ = try await self.plane.store.writeBundle(trustDomain, requiring: nil) {
            (_: TrustBundle?) throws(ServerError) -> TrustBundle? in bundle
        }
    }

    /// Has the partner publish this CRL, and this status list.
    func serve(
        _ crl: [UInt8]?, statusList: [UInt8]? = nil, appliedWait: Duration? = nil
    ) throws {
        var documents: [RevocationDocument: [UInt8]] = [
            .listing: try self.partner.listing(crl: crl, statusList: statusList)
        ]
        documents[.crl(authorityID: self.partner.x509.id)] = crl
        documents[.statusList] = statusList
        self.endpoints.serve(
            self.partner.trustDomain, documents, appliedWait: appliedWait)
    }

    var told: TrustDomainLists? {
        self.plane.directory.publishedRevocations(self.partner.trustDomain)?.state
    }
    var crl: [UInt8]? { self.told?.crls[self.partner.x509.id] }

    var status: PartnerRevocationStatus? {
        get async { await self.updater.status()[self.partner.trustDomain] }
    }
}

/// Waits until something holds; long enough that only what never holds fails.
private func eventually(_ condition: () async -> Bool) async -> Bool {
    for _ in 0..<6_000 {
        if await condition() { return true }
        try? await Task.sleep(for: .milliseconds(5))
    }
    return false
}

@Suite("revocations of partners", .timeLimit(.minutes(2))) struct PartnerRevocationsUpdaterTests {
    @Test("a partner with a bundle is asked at once, and what is good is told")
    func fetches() async throws {
        let world = try await World()
        let crl = try await world.partner.crl(["ab"])
        let status = try await world.partner.statusList([3])
        try world.serve(crl, statusList: status)
        try await world.running {
            try await world.relate()
            #expect(await eventually { world.told?.statusLists.isEmpty == false })
            #expect(world.crl == crl)
            #expect(
                world.told?.statusLists
                    == [world.partner.statusListURI: String(decoding: status, as: UTF8.self)])
            #expect(await eventually { await world.status?.lastSuccess != nil })
            let state = try #require(await world.status)
            #expect(state.isPublished == true && state.crls == 1 && state.hasStatusList)
            #expect(state.nextUpdate == 1_900_000_300 && state.lastError == nil)
        }
        #expect(
            world.endpoints.requests.allSatisfy {
                $0.maximumBytes <= 2 * 1024 * 1024
                    && ($0.patience == nil) == ($0.document != .listing)
            })
    }

    @Test("without a bundle nobody is asked; the bundle that comes wakes the loop")
    func waitsForTheBundle() async throws {
        let world = try await World()
        try world.serve(try await world.partner.crl())
        try await world.running {
            try await world.relate(bundle: false)
            #expect(await eventually { await world.status != nil })
            #expect(world.endpoints.requests.isEmpty)
            try await world.store(world.partner)
            #expect(await eventually { world.crl != nil })
        }
    }

    @Test("a partner that publishes none is no error, and is left alone")
    func absent() async throws {
        let world = try await World()
        try await world.running {
            try await world.relate()
            #expect(await eventually { await world.status?.lastSuccess != nil })
            let state = try #require(await world.status)
            #expect(state.isPublished == false && state.lastError == nil && state.failures == 0)
            #expect(world.told == nil)
            #expect(world.endpoints.requests.map(\.document) == [.listing])
        }
    }

    @Test("an endpoint that holds answers back is waited at, and what comes is told")
    func waits() async throws {
        let world = try await World()
        let first = try await world.partner.crl(number: 1)
        let second = try await world.partner.crl(["ab"], number: 2)
        let listings = (
            try world.partner.listing(crl: first), try world.partner.listing(crl: second)
        )
        let isRevoked = NIOLockedValueBox(false)
        let (news, feed) = AsyncStream.makeStream(of: Void.self)
        world.endpoints.answer(world.partner.trustDomain) { request in
            if let patience = request.patience, patience > .zero,
                !isRevoked.withLockedValue({ $0 })
            {
                for await _ in news { break }
            }
            try Task.checkCancellation()
            let revoked = isRevoked.withLockedValue { $0 }
            guard request.document == .listing else {
                return FetchedRevocationDocument(.document(revoked ? second : first))
            }
            let bytes = revoked ? listings.1 : listings.0
            return FetchedRevocationDocument(
                .document(bytes), entityTag: EntityTag.of(bytes), appliedWait: .seconds(60))
        }
        try await world.running {
            try await world.relate()
            #expect(await eventually { await world.status?.isWaiting == true })
            #expect(world.crl == first)
            isRevoked.withLockedValue { $0 = true }
            feed.yield()
            #expect(await eventually { world.crl == second })
        }
        let tags = world.endpoints.requests.filter { $0.patience == .seconds(60) }.map(\.entityTag)
        #expect(tags.first == EntityTag.of(listings.0))
    }

    @Test("what is bad is not told: the last good one stays, and the status says why")
    func keepsTheLastGood() async throws {
        let world = try await World()
        let stranger = try await RevokingPartner(at: world.plane.clock)
        let good = try await world.partner.crl(["ab"], number: 5)
        let listed = try await world.partner.crl(["ab", "cd"], number: 6)
        let id = RevocationDocument.crl(authorityID: world.partner.x509.id)
        try world.serve(good)
        try await world.running {
            try await world.relate()
            #expect(await eventually { world.crl == good })
            let bad: [(String, [UInt8])] = [
                ("wrong key", try await world.partner.crl(number: 6, signedBy: stranger)),
                ("backwards", try await world.partner.crl(number: 4)),
                ("10 MB", [UInt8](repeating: 0x30, count: 10_000_000)),
                ("garbage", Array("<html></html>".utf8)),
            ]
            for (what, crl) in bad {
                let failures = await world.status?.failures ?? 0
                world.endpoints.serve(
                    world.partner.trustDomain,
                    [.listing: try world.partner.listing(crl: listed), id: crl])
                #expect(
                    await eventually {
                        await world.updater.ask(world.partner.trustDomain)
                        return await (world.status?.failures ?? 0) > failures
                    }, "\(what)")
                #expect(world.crl == good, "\(what)")
                #expect(await world.status?.lastError?.isEmpty == false, "\(what)")
                #expect(await world.status?.crls == 1, "\(what)")
            }
            // The listing alone may be bad, too, and an endpoint may go away.
            for answer in [Array("[]".utf8), nil] as [[UInt8]?] {
                let failures = await world.status?.failures ?? 0
                world.endpoints.answer(world.partner.trustDomain) { _ in
                    guard let answer else { throw ServerError(.unavailable, "gone\naway") }
                    return FetchedRevocationDocument(.document(answer))
                }
                #expect(
                    await eventually {
                        await world.updater.ask(world.partner.trustDomain)
                        return await (world.status?.failures ?? 0) > failures
                    })
                #expect(world.crl == good)
            }
            #expect(await world.status?.lastError?.contains("gone away") == true)
            try world.serve(listed)
            #expect(
                await eventually {
                    await world.updater.ask(world.partner.trustDomain)
                    return world.crl == listed
                })
            #expect(await eventually { await world.status?.lastError == nil })
        }
    }

    @Test("a bad status list keeps no CRL away")
    func independent() async throws {
        let world = try await World()
        let other = try await RevokingPartner("c.test", at: world.plane.clock)
        let crl = try await world.partner.crl(["ab"])
        try world.serve(
            crl, statusList: try await other.statusList(uri: world.partner.statusListURI))
        try await world.running {
            try await world.relate()
            #expect(await eventually { await world.status?.lastError != nil })
            #expect(world.crl == crl && world.told?.statusLists == [:])
        }
    }

    @Test("lists of an authority that leaves the bundle go with it")
    func withTheBundle() async throws {
        let world = try await World()
        let successor = try await RevokingPartner(at: world.plane.clock)
        try world.serve(try await world.partner.crl())
        try await world.running {
            try await world.relate()
            #expect(await eventually { world.crl != nil })
            try await world.store(successor, sequence: 2)
            #expect(await eventually { world.told?.crls.isEmpty == true })
        }
    }

    @Test("the end of the relationship is the end of its lists")
    func ends() async throws {
        let world = try await World()
        try world.serve(try await world.partner.crl())
        try await world.running {
            try await world.relate()
            #expect(await eventually { world.crl != nil })
            try await world.registry.delete(world.partner.trustDomain)
            #expect(await eventually { world.told == nil })
            #expect(await eventually { await world.status == nil })
        }
    }

    @Test("beyond the room of all partners only small lists are taken")
    func room() async throws {
        var settings = PartnerRevocationsUpdater.Settings()
        settings.maximumBytes = 1
        settings.reservedBytes = 8 * 1024
        let world = try await World(settings: settings)
        let small = try await world.partner.crl(["ab"])
        let serials = (0..<1_000).map { "7f" + String(0x1_0000 + $0, radix: 16) + "0" }
        let large = try await world.partner.crl(serials, number: 2)
        #expect(large.count > settings.reservedBytes)
        try world.serve(small)
        try await world.running {
            try await world.relate()
            #expect(await eventually { world.crl == small })
            try world.serve(large)
            #expect(
                await eventually {
                    await world.updater.ask(world.partner.trustDomain)
                    return await world.status?.lastError?.contains("all partners") == true
                })
            #expect(world.crl == small)
        }
    }

    // MARK: Budget

    /// 2,000 bytes at once and one a second.
    private static var meagre: PartnerRevocationsUpdater.Settings {
        var settings = PartnerRevocationsUpdater.Settings()
        settings.burstBytes = 2_000
        settings.bytesPerSecond = 1
        return settings
    }

    private static let serials = (0..<1_000).map { "7f" + String(0x1_0000 + $0, radix: 16) + "0" }

    @Test(
        "a partner that changes much all the time is taken in turns; the first news waits for nothing"
    )
    func budget() async throws {
        let world = try await World(settings: Self.meagre)
        let large = try await world.partner.crl(Self.serials)
        let next = try await world.partner.crl(Self.serials, number: 2)
        let status = try await world.partner.statusList([3])
        try world.serve(large)
        try await world.running {
            try await world.relate()
            #expect(await eventually { world.crl == large })
            try world.serve(next)
            #expect(await world.asked { await world.isDeferred })
            #expect(world.crl == large)
            // What a listing costs is paid; enough for one list, and that is the one that has waited longer.
            try world.serve(next, statusList: status)
            let listings = [
                try world.partner.listing(crl: large), try world.partner.listing(crl: next),
                try world.partner.listing(crl: next, statusList: status),
            ]
            world.pass(
                large.count + listings.reduce(0) { $0 + $1.count } + status.count - 1 - 2_000)
            #expect(await world.asked { world.told?.statusLists.isEmpty == false })
            #expect(await world.asked { await world.isDeferred })
            #expect(world.crl == large)
            world.pass(1_000_000)
            #expect(await world.asked { world.crl == next })
            #expect(await world.asked { await world.status?.lastError == nil })
        }
    }

    @Test("a list that cannot be fetched costs as if it had come")
    func failedFetches() async throws {
        let world = try await World(settings: Self.meagre)
        let listing = try world.partner.listing(crl: try await world.partner.crl())
        world.endpoints.answer(world.partner.trustDomain) { request in
            guard request.document == .listing else { throw ServerError(.unavailable, "too long") }
            return FetchedRevocationDocument(.document(listing))
        }
        try await world.running {
            try await world.relate()
            #expect(
                await eventually { await world.status?.lastError?.contains("too long") == true })
            #expect(await world.asked { await world.isDeferred })
        }
        #expect(world.endpoints.requests.filter { $0.document != .listing }.count == 1)
    }

    @Test("a failure before much has come costs little")
    func failedEarly() async throws {
        struct Refused: RevocationFetchFailure { let mayHaveTransferred = false }
        var settings = Self.meagre
        settings.burstBytes = 1 << 20
        let world = try await World(settings: settings)
        let listing = try world.partner.listing(crl: try await world.partner.crl())
        world.endpoints.answer(world.partner.trustDomain) { request in
            guard request.document == .listing else { throw Refused() }
            return FetchedRevocationDocument(.document(listing))
        }
        try await world.running {
            try await world.relate()
            // Of 2 MiB each the first would have used up everything.
            #expect(
                await world.asked {
                    world.endpoints.requests.filter { $0.document != .listing }.count == 3
                })
            #expect(await !world.isDeferred)
        }
    }

    @Test("a CRL whose name turns out to be another's goes, whether or not the endpoint answers")
    func rivalWithoutListing() async throws {
        let world = try await World()
        let victim = try await RevokingPartner("v.test", at: world.plane.clock)
        let claiming = try world.partner.bundle(claiming: victim)
        let forged = try await victim.crl(signedBy: world.partner)
        let listing = Array(
            #"""
            {"trust_domain": "\#(world.partner.trustDomain)", "crls": [{"authority_key_id": "\#(victim.x509.id)",
             "sha256": "\#(Base64URL.encode(RevocationListing.digest(forged)))"}]}
            """#.utf8)
        world.endpoints.serve(
            world.partner.trustDomain,
            [.listing: listing, .crl(authorityID: victim.x509.id): forged])
        try await world.running {
            try await world.relate(bundle: false)
            try await world.store(claiming, of: world.partner.trustDomain)
            #expect(await eventually { world.told?.crls[victim.x509.id] == forged })
            world.endpoints.answer(world.partner.trustDomain) { _ in
                throw ServerError(.unavailable, "silent")
            }
            try await world.store(victim.bundle, of: victim.trustDomain)
            #expect(await eventually { world.told?.crls[victim.x509.id] == nil })
        }
    }

    // MARK: Rules without a loop

    @Test("lists are asked for before they end, absent ones once an hour, first ones soon")
    func schedule() {
        func wait(_ isAbsent: Bool, _ remaining: Int64?, _ failures: Int) -> Duration {
            PartnerRevocationSchedule.wait(
                hint: 300, isAbsent: isAbsent, remaining: remaining, failures: failures, jitter: 0)
        }
        #expect(wait(false, 200, 0) == .seconds(100))
        #expect(wait(false, 20, 0) == .seconds(30) && wait(false, -900, 9) == .seconds(30))
        #expect(wait(false, 86_400, 0) == .seconds(300) && wait(false, .max, 0) == .seconds(300))
        #expect(wait(true, nil, 0) == .seconds(3_600) && wait(true, 200, 0) == .seconds(100))
        #expect(wait(false, nil, 1) == .seconds(5) && wait(false, nil, 10) == .seconds(60))
        #expect(wait(false, nil, 0) == .seconds(300) && wait(false, nil, 11) == .seconds(300))
        #expect(
            PartnerRevocationSchedule.wait(
                hint: 0, isAbsent: true, remaining: nil, failures: 0, jitter: 1) == .seconds(3_240))
    }
}
