import NIOConcurrencyHelpers
import SPIFFE
import ServerCore
import ServerTestSupport
import Testing

/// A control plane that fetches from scripted endpoints.
private struct World {
    let plane: TestPlane
    let endpoints = ScriptedEndpoints()
    let registry: FederationRegistry
    let bundles: BundleRegistry
    let updater: FederationUpdater
    let partner: TrustDomain

    init(settings: FederationUpdater.Settings = .init()) async throws {
        self.plane = try await TestPlane()
        self.registry = FederationRegistry(
            directory: self.plane.directory, store: self.plane.store)
        self.bundles = BundleRegistry(directory: self.plane.directory, store: self.plane.store)
        self.updater = FederationUpdater(
            directory: self.plane.directory, store: self.plane.store, fetcher: self.endpoints,
            settings: settings, logger: TestPlane.logger, now: self.plane.clock.now,
            jitter: { 0 })
        self.partner = try TrustDomain("b.test")
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

    func relate(_ name: String = "b.test") async throws {
        _ = try await self.registry.create(.init(try Partner.relationship(name)))
    }

    var stored: TrustBundle? { self.plane.directory.bundle(self.partner) }

    func status(_ trustDomain: TrustDomain? = nil) async -> FederationStatus? {
        let wanted = trustDomain ?? self.partner
        return await self.updater.status().first { $0.relationship.trustDomain == wanted }
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

/// Holds callers until it is opened, whatever becomes of their tasks.
private final class Gate: Sendable {
    private let state = NIOLockedValueBox<
        (isOpen: Bool, waiting: [CheckedContinuation<Void, Never>])
    >(
        (false, []))

    func pass() async {
        await withCheckedContinuation { continuation in
            let isOpen = self.state.withLockedValue { state in
                if !state.isOpen { state.waiting.append(continuation) }
                return state.isOpen
            }
            if isOpen { continuation.resume() }
        }
    }

    func open() {
        let waiting = self.state.withLockedValue { state in
            state.isOpen = true
            defer { state.waiting = [] }
            return state.waiting
        }
        for continuation in waiting { continuation.resume() }
    }
}

@Suite(.timeLimit(.minutes(2))) struct FederationUpdaterTests {
    @Test("FED-32: a new relationship is fetched at once, and what came is stored")
    func fetchesAtOnce() async throws {
        let world = try await World()
        let bundle = try Partner.bundle("b.test", sequence: 5, hint: 600)
        world.endpoints.serve(bundle)
        try await world.running {
            try await world.relate()
            #expect(await eventually { world.stored != nil })
            #expect(world.stored?.x509Authorities.map(\.der) == bundle.x509Authorities)
            #expect(world.stored?.foreignSequence == 5 && world.stored?.isFetched == true)
            #expect(await eventually { await world.status()?.nextAttempt != nil })
            let status = try #require(await world.status())
            #expect(status.lastSuccess == world.plane.clock.unixTime)
            #expect(status.lastError == nil && status.failures == 0 && !status.isConfigured)
            #expect(status.nextAttempt == world.plane.clock.unixTime + 600, "FED-31")
        }
    }

    @Test("FED-37: a partner that fails keeps its last bundle, and the reason is shown")
    func keepsTheLastBundle() async throws {
        let world = try await World()
        world.endpoints.serve(try Partner.bundle("b.test", sequence: 5))
        try await world.relate()
        try await world.updater.refresh(world.partner)
        let good = try #require(world.stored)
        let bad: [SPIFFEBundle] = [
            try Partner.bundle("b.test", sequence: 4),
            try SPIFFEBundle(
                trustDomain: world.partner,
                x509Authorities: [try Partner.certificate(["spiffe://acme.test"])],
                sequenceNumber: 6),
            try Partner.bundle("c.test", sequence: 6),
        ]
        for (number, bundle) in bad.enumerated() {
            world.endpoints.answer(world.partner) { _ in FetchedBundle(.bundle(bundle)) }
            await #expect(throws: ServerError.self) {
                try await world.updater.refresh(world.partner)
            }
            #expect(world.stored == good)
            let status = try #require(await world.status())
            #expect(status.failures == number + 1)
            #expect(status.lastError?.isEmpty == false)
            #expect(status.lastSuccess != nil, "the age goes on from the last success")
        }
        world.endpoints.fail(
            world.partner, ServerError(.unavailable, "connection\nrefused by the network"))
        let error = await #expect(throws: ServerError.self) {
            try await world.updater.refresh(world.partner)
        }
        #expect(error?.code == .unavailable)
        #expect(error?.message.contains("connection refused by the network") == true)
        let newer = try Partner.bundle("b.test", sequence: 6)
        world.endpoints.serve(newer)
        try await world.updater.refresh(world.partner)
        #expect(world.stored?.foreignSequence == 6)
        #expect(await world.status()?.failures == 0)
        #expect(await world.status()?.lastError == nil)
    }

    @Test("BND-03, BND-20: an empty bundle takes the full one's place") func empty() async throws {
        let world = try await World()
        world.endpoints.serve(try Partner.bundle("b.test", sequence: 1))
        try await world.relate()
        try await world.updater.refresh(world.partner)
        world.endpoints.serve(try SPIFFEBundle(trustDomain: world.partner, sequenceNumber: 2))
        try await world.updater.refresh(world.partner)
        #expect(world.stored?.hasNoAuthorities == true)
    }

    @Test func `the entity tag is sent while the stored bundle is the one it names`() async throws {
        let world = try await World()
        world.endpoints.serve(try Partner.bundle("b.test", sequence: 1), entityTag: "\"one\"")
        try await world.relate()
        try await world.updater.refresh(world.partner)
        world.endpoints.answer(world.partner) { _ in FetchedBundle(.notModified) }
        try await world.updater.refresh(world.partner)
        #expect(world.endpoints.requests(world.partner).last?.entityTag == "\"one\"")
        #expect(world.stored?.foreignSequence == 1)
        // A bundle set by hand stands until the next refresh, which must bring the endpoint's again.
        _ = try await world.bundles.set(try Partner.stored("b.test"))
        world.endpoints.serve(try Partner.bundle("b.test", sequence: 1), entityTag: "\"one\"")
        try await world.updater.refresh(world.partner)
        #expect(world.endpoints.requests(world.partner).last?.entityTag == nil)
        #expect(world.stored?.isFetched == true, "FED-34")
    }

    @Test func `nothing new without a bundle is an error, not a success`() async throws {
        let world = try await World()
        world.endpoints.answer(world.partner) { _ in FetchedBundle(.notModified) }
        try await world.relate()
        await #expect(throws: ServerError.self) { try await world.updater.refresh(world.partner) }
        #expect(world.stored == nil)
    }

    @Test func `a partner that hangs holds up nobody, and times out`() async throws {
        var settings = FederationUpdater.Settings()
        settings.concurrency = 2
        settings.slowConcurrency = 1
        settings.timeout = .milliseconds(50)
        let world = try await World(settings: settings)
        let gate = Gate()
        let hanging = try (0..<5).map { number throws in try TrustDomain("h\(number).test") }
        for domain in hanging {
            // Does not heed its cancellation either.
            world.endpoints.answer(domain) { _ in
                await gate.pass()
                throw ServerError(.unavailable, "too late")
            }
        }
        world.endpoints.serve(try Partner.bundle("b.test", sequence: 1))
        try await world.running {
            for domain in hanging { try await world.relate(domain.name) }
            try await world.relate()
            #expect(await eventually { world.stored != nil })
            for domain in hanging {
                #expect(
                    await eventually {
                        await world.status(domain)?.lastError?.contains("did not answer") == true
                    })
            }
            try await world.updater.refresh(world.partner)
        }
        gate.open()
    }

    @Test("FED-39: what a fetch brings after the relationship has ended is not stored")
    func endsDuringFetch() async throws {
        let world = try await World()
        let gate = Gate()
        let bundle = try Partner.bundle("b.test", sequence: 1)
        world.endpoints.answer(world.partner) { _ in
            await gate.pass()
            return FetchedBundle(.bundle(bundle))
        }
        try await world.relate()
        let refresh = Task { try await world.updater.refresh(world.partner) }
        #expect(await eventually { !world.endpoints.requests(world.partner).isEmpty })
        try await world.registry.delete(world.partner)
        gate.open()
        let result = await refresh.result
        #expect(throws: ServerError.self) { try result.get() }
        #expect(world.stored == nil)
        #expect(await world.status() == nil)
    }

    @Test("FED-05: another endpoint is asked from the next attempt on") func update() async throws {
        let world = try await World()
        world.endpoints.serve(try Partner.bundle("b.test", sequence: 1), entityTag: "\"one\"")
        try await world.relate()
        try await world.updater.refresh(world.partner)
        let id = try SPIFFEID("spiffe://c.test/endpoint")
        _ = try await world.registry.update(
            .init(
                world.partner, bundleEndpointURL: "https://other.test/",
                profile: .httpsSPIFFE(endpointID: id)))
        try await world.updater.refresh(world.partner)
        let last = try #require(world.endpoints.requests(world.partner).last)
        #expect(last.relationship.bundleEndpointURL == "https://other.test/")
        #expect(last.relationship.profile == .httpsSPIFFE(endpointID: id))
        #expect(last.entityTag == nil, "tags are the old endpoint's")
    }

    @Test func `refreshing somebody else is refused`() async throws {
        let world = try await World()
        let error = await #expect(throws: ServerError.self) {
            try await world.updater.refresh(world.partner)
        }
        #expect(error?.code == .notFound)
    }

    @Test("FED-39: a bundle whose configured relationship is gone goes at the next start")
    func configurationEnded() async throws {
        let world = try await World()
        let fetched = TrustBundle(fetched: try Partner.bundle("b.test", sequence: 1))
        _ = try await world.plane.store.writeBundle(world.partner, requiring: nil) {
            (_: TrustBundle?) throws(ServerError) -> TrustBundle? in fetched
        }
        let byHand = try Partner.stored("c.test")
        _ = try await world.bundles.set(byHand)
        try await world.running {
            #expect(await eventually { world.stored == nil })
            #expect(world.plane.directory.bundle(byHand.trustDomain) != nil)
        }
    }

    @Test func `a partner that announces changes is waited at, and a change is stored as it comes`()
        async throws
    {
        let world = try await World()
        let gates = [Gate(), Gate()]
        let bundles = try (1...3).map { try Partner.bundle("b.test", sequence: UInt64($0)) }
        let count = NIOLockedValueBox(0)
        world.endpoints.answer(world.partner) { request in
            guard request.patience > .zero else {
                return FetchedBundle(
                    .bundle(bundles[0]), entityTag: "\"0\"", appliedWait: .zero)
            }
            let number = count.withLockedValue { count in
                count += 1
                return count
            }
            guard number <= gates.count else {
                try await Task.sleep(for: .seconds(3_600))
                return FetchedBundle(.notModified)
            }
            await gates[number - 1].pass()
            return FetchedBundle(
                .bundle(bundles[number]), entityTag: "\"\(number)\"", appliedWait: .seconds(60))
        }
        try await world.running {
            try await world.relate()
            for number in 0...2 {
                #expect(await eventually { count.withLockedValue { $0 } == number + 1 })
                #expect(world.stored?.foreignSequence == UInt64(number + 1))
                let last = try #require(world.endpoints.requests(world.partner).last)
                // The tag says to the partner which bundle is stored.
                #expect(last.entityTag == "\"\(number)\"" && last.patience == .seconds(60))
                #expect(await world.status()?.isWaiting == true)
                if number < 2 { gates[number].open() }
            }
            let requests = world.endpoints.requests(world.partner)
            #expect(requests.map(\.patience) == [.zero] + Array(repeating: .seconds(60), count: 3))
        }
    }

    @Test func `those that wait leave the lanes to others, and refreshing does not wait for them`()
        async throws
    {
        var settings = FederationUpdater.Settings()
        settings.concurrency = 1
        settings.slowConcurrency = 1
        let world = try await World(settings: settings)
        let waiting = try (0..<5).map { number throws in try TrustDomain("w\(number).test") }
        for domain in waiting {
            let bundle = try Partner.bundle(domain.name, sequence: 1)
            world.endpoints.answer(domain) { request in
                if request.patience > .zero { try await Task.sleep(for: .seconds(3_600)) }
                return FetchedBundle(.bundle(bundle), entityTag: "\"1\"", appliedWait: .zero)
            }
        }
        world.endpoints.serve(try Partner.bundle("b.test", sequence: 1))
        try await world.running {
            for domain in waiting { try await world.relate(domain.name) }
            for domain in waiting {
                #expect(await eventually { await world.status(domain)?.isWaiting == true })
            }
            try await world.relate()
            #expect(await eventually { world.stored != nil })
            #expect(await world.status()?.isWaiting == false)
            for domain in waiting {
                try await world.updater.refresh(domain)
                #expect(
                    await eventually {
                        world.endpoints.requests(domain).filter { $0.patience > .zero }.count == 2
                    }, "and waits again")
                try await world.registry.delete(domain)
            }
            #expect(await eventually { await world.updater.status().count == 1 })
        }
    }

    @Test func `requests that wait are bounded, and the others are asked at their hint`()
        async throws
    {
        var settings = FederationUpdater.Settings()
        settings.maximumWaiting = 0
        let world = try await World(settings: settings)
        let bundle = try Partner.bundle("b.test", sequence: 1, hint: 600)
        world.endpoints.answer(world.partner) { _ in
            FetchedBundle(.bundle(bundle), entityTag: "\"1\"", appliedWait: .zero)
        }
        try await world.running {
            try await world.relate()
            #expect(await eventually { await world.status()?.nextAttempt != nil })
            #expect(await world.status()?.nextAttempt == world.plane.clock.unixTime + 600)
            #expect(world.endpoints.requests(world.partner).map(\.patience) == [.zero])
        }
    }

    @Test("FED-37: what a waiting request brings is judged like everything else")
    func judgesWhatIsAnnounced() async throws {
        let world = try await World()
        let good = try Partner.bundle("b.test", sequence: 5)
        let bad = try Partner.bundle("b.test", sequence: 4)
        world.endpoints.answer(world.partner) { request in
            FetchedBundle(
                .bundle(request.patience > .zero ? bad : good), entityTag: "\"5\"",
                appliedWait: .seconds(60))
        }
        try await world.running {
            try await world.relate()
            #expect(await eventually { await world.status()?.failures == 1 })
            #expect(world.stored?.foreignSequence == 5)
            #expect(await world.status()?.lastError?.isEmpty == false)
            #expect(await eventually { await world.status()?.nextAttempt != nil })
            #expect(
                await world.status()?.nextAttempt == world.plane.clock.unixTime + 5,
                "soon, but not at once")
        }
    }
}
