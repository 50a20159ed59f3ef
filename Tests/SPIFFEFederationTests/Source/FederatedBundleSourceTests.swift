import Foundation
import NIOConcurrencyHelpers
import SPIFFE
import SPIFFEFederation
import SPIFFETesting
import Testing

@Suite("Federated bundle source", .timeLimit(.minutes(2))) struct FederatedBundleSourceTests {
    private let endpoints = ScriptedEndpoints()
    private let time = ManualTime()
    private let partner: TestAuthority
    private let other: TestAuthority

    init() throws {
        self.partner = try TestAuthority("partner.test")
        self.other = try TestAuthority("other.test")
    }

    private func web(_ authority: TestAuthority) throws -> BundleEndpoint {
        try BundleEndpoint(
            trustDomain: authority.trustDomain, url: "https://\(authority.trustDomain)/",
            profile: .httpsWeb)
    }

    private func spiffe(_ authority: TestAuthority, at host: TestAuthority) throws -> BundleEndpoint
    {
        try BundleEndpoint(
            trustDomain: authority.trustDomain, url: "https://\(host.trustDomain)/",
            profile: .httpsSPIFFE(endpointSPIFFEID: try host.id("/endpoint")))
    }

    private func source(
        _ list: [BundleEndpoint], bootstrap: [SPIFFEBundle] = [],
        endpointBundles: (any X509BundleSource)? = nil,
        onFetch: (@Sendable (BundleFetchRecord) -> Void)? = nil
    ) -> FederatedBundleSource {
        var limits = BundleRefreshSchedule.Limits()
        limits.jitter = 0
        let time = self.time
        return FederatedBundleSource(
            endpoints: list, bootstrap: bootstrap, endpointBundles: endpointBundles, limits: limits,
            onFetch: onFetch, fetch: self.endpoints.fetch, sleep: { try await time.sleep($0) },
            now: { time.now })
    }

    private func bundle(
        _ authority: TestAuthority, sequence: UInt64?, hint: Duration? = nil
    ) throws -> SPIFFEBundle {
        try SPIFFEBundle(
            trustDomain: authority.trustDomain,
            x509Authorities: try authority.x509Bundle.authoritiesDER, refreshHint: hint,
            sequenceNumber: sequence)
    }

    private func status(_ source: FederatedBundleSource) throws -> BundleEndpointStatus {
        try #require(source.status.first)
    }

    @Test("FED-31, FED-35, BND-20: each bundle at its own interval, kept apart, replaced whole")
    func keepsFresh() async throws {
        try self.endpoints.serve(try self.bundle(self.partner, sequence: 1, hint: .seconds(120)))
        try self.endpoints.serve(try self.bundle(self.other, sequence: nil))
        let source = self.source([try self.web(self.partner), try self.web(self.other)])
        try await source.whileRunning { source in
            try await source.ready(within: .seconds(3600))
            await self.time.sleeping(2)
            #expect(Set(self.time.waits) == [.seconds(120), .seconds(300)])
            let old = try self.partner.x509Bundle
            #expect(source.x509Bundle(for: self.partner.trustDomain) == old)
            #expect(
                try source.x509Bundle(for: self.other.trustDomain) == self.other.x509Bundle)
            #expect(source.x509Bundle(for: try TrustDomain("third.test")) == nil)
            try self.partner.rotate()
            self.partner.dropOldAuthorities()
            try self.endpoints.serve(
                try self.bundle(self.partner, sequence: 2, hint: .seconds(600)))
            self.time.advance(300)
            await self.time.sleeping(2)
            let new = try #require(source.x509Bundle(for: self.partner.trustDomain))
            #expect(try new == self.partner.x509Bundle)
            #expect(!new.authoritiesDER.contains(old.authoritiesDER[0]))
            #expect(Set(self.time.waits) == [.seconds(600), .seconds(300)])
        }
        #expect(source.x509Bundle(for: self.partner.trustDomain) == nil)
    }

    @Test("FED-33, FED-37: a failure or an older bundle changes nothing but the status")
    func failures() async throws {
        let records = NIOLockedValueBox<[BundleFetchRecord]>([])
        let current = try self.bundle(self.partner, sequence: 9, hint: .seconds(120))
        try self.endpoints.serve(current)
        let source = self.source([try self.web(self.partner)]) { record in
            records.withLockedValue { $0.append(record) }
        }
        try await source.whileRunning { source in
            await self.time.sleeping(1)
            let begin = self.time.now
            var status = try self.status(source)
            #expect(status.lastError == nil)
            #expect(status.lastSuccess == begin)
            #expect(status.nextRefresh == begin + 120)

            self.endpoints.answer(self.partner.trustDomain, .failure(.sample()))
            self.time.advance(120)
            await self.time.sleeping(1)
            // The next interval, and no sooner.
            #expect(self.time.waits == [.seconds(120)])
            status = try self.status(source)
            #expect(status.lastError?.code == BundleEndpointError.sample().code)
            #expect(status.failures == 1)
            #expect(status.lastAttempt == begin + 120)
            #expect(status.age(at: self.time.now) == .seconds(120))

            let impostor = try TestAuthority("partner.test")
            try self.endpoints.serve(try self.bundle(impostor, sequence: 7))
            self.time.advance(120)
            await self.time.sleeping(1)
            status = try self.status(source)
            #expect(status.lastError?.code == .sequence)
            #expect(status.lastError?.message.contains("7") == true)
            #expect(status.failures == 2)
            #expect(status.sequenceNumber == 9)
            #expect(source.bundle(for: self.partner.trustDomain) == current)

            try self.endpoints.serve(current)
            self.time.advance(120)
            await self.time.sleeping(1)
            status = try self.status(source)
            #expect(status.lastError == nil)
            #expect(status.failures == 0)
            #expect(status.changedAt == begin)
        }
        // FED-40 asks for a log of each fetch: this is what it is made from.
        let seen = records.withLockedValue { $0 }
        #expect(seen.count == 4)
        #expect(seen.allSatisfy { $0.endpoint.trustDomain == self.partner.trustDomain })
        #expect(seen.map(\.sequenceNumber) == [9, 9, 9, 9])
        let outcomes = seen.map { record in
            switch record.outcome {
            case .replaced: "replaced"
            case .unchanged: "unchanged"
            case .failed(let error): error.code.description
            }
        }
        #expect(outcomes == ["replaced", "invalidURL", "sequence", "unchanged"])
    }

    @Test("FED-26: the bundle for the first contact counts until the first fetch, and no longer")
    func selfServing() async throws {
        let bootstrap = try self.bundle(self.partner, sequence: nil)
        let first = try self.partner.x509Bundle
        try self.partner.rotate()
        try self.endpoints.serve(try self.bundle(self.partner, sequence: 1))
        let both = try self.partner.x509Bundle
        let endpoint = try self.spiffe(self.partner, at: self.partner)
        // The same bundle is on offer elsewhere, and stays there.
        let source = self.source([endpoint], bootstrap: [bootstrap], endpointBundles: first)
        try await source.refresh(self.partner.trustDomain)
        self.partner.dropOldAuthorities()
        try self.endpoints.serve(try self.bundle(self.partner, sequence: 2))
        try await source.refresh(self.partner.trustDomain)
        try await source.refresh(self.partner.trustDomain)
        let last = try self.partner.x509Bundle
        #expect(self.endpoints.asked.map(\.authorities) == [first, both, last])
        #expect(!last.authoritiesDER.contains(first.authoritiesDER[0]))
    }

    @Test(
        "FED-21, FED-27: an endpoint elsewhere is verified with what is newest of its trust domain")
    func chain() async throws {
        try self.endpoints.serve(try self.bundle(self.partner, sequence: 1))
        try self.endpoints.serve(try self.bundle(self.other, sequence: 1))
        let source = self.source([
            try self.web(self.other), try self.spiffe(self.partner, at: self.other),
        ])
        try await source.refresh(self.partner.trustDomain)
        try await source.refresh(self.other.trustDomain)
        try await source.refresh(self.partner.trustDomain)
        let newest = try self.other.x509Bundle
        #expect(self.endpoints.asked.map(\.authorities) == [nil, nil, newest])
    }

    @Test("Entity tags are kept with their bundle")
    func entityTags() async throws {
        let bundle = try self.bundle(self.partner, sequence: 1, hint: .seconds(900))
        try self.endpoints.serve(bundle, entityTag: "\"1\"")
        let source = self.source([try self.web(self.partner)])
        try await source.refresh(self.partner.trustDomain)
        let url = try BundleEndpointURL("https://partner.test/")
        self.endpoints.answer(
            self.partner.trustDomain,
            .success(BundleEndpointResponse(content: .notModified, entityTag: "\"2\"", url: url)))
        try await source.refresh(self.partner.trustDomain)
        try await source.refresh(self.partner.trustDomain)
        #expect(self.endpoints.asked.map(\.entityTag) == [nil, "\"1\"", "\"2\""])
        #expect(source.bundle(for: self.partner.trustDomain) == bundle)
        // The tag of a bundle that is refused is not kept.
        try self.endpoints.serve(try self.bundle(self.partner, sequence: 0), entityTag: "\"3\"")
        await #expect(throws: BundleEndpointError.self) {
            try await source.refresh(self.partner.trustDomain)
        }
        _ = try? await source.refresh(self.partner.trustDomain)
        #expect(self.endpoints.asked.last?.entityTag == "\"2\"")
    }

    @Test("FED-34: a bundle that is set by hand stands until the next refresh, even an older one")
    func manual() async throws {
        try self.endpoints.serve(try self.bundle(self.partner, sequence: 5), entityTag: "\"5\"")
        let source = self.source([try self.web(self.partner)])
        try await source.refresh(self.partner.trustDomain)
        let manual = try self.bundle(self.partner, sequence: 2)
        try source.set(manual)
        #expect(source.bundle(for: self.partner.trustDomain) == manual)
        try self.endpoints.serve(try self.bundle(self.partner, sequence: 3))
        try await source.refresh(self.partner.trustDomain)
        #expect(self.endpoints.asked.last?.entityTag == nil)
        #expect(source.bundle(for: self.partner.trustDomain)?.sequenceNumber == 3)
        let error = #expect(throws: BundleEndpointError.self) {
            try source.set(try self.bundle(self.other, sequence: 1))
        }
        #expect(error?.code == .unknownTrustDomain)
        #expect(source.bundle(for: self.other.trustDomain) == nil)
    }

    @Test("FED-39: what is removed is asked no more, and nobody of it is trusted")
    func removal() async throws {
        try self.endpoints.serve(try self.bundle(self.partner, sequence: 1))
        try self.endpoints.serve(try self.bundle(self.other, sequence: 1))
        let source = self.source([try self.web(self.partner)])
        try await source.whileRunning { source in
            await self.time.sleeping(1)
            source.add(try self.web(self.other))
            await self.time.sleeping(2)
            #expect(source.bundle(for: self.other.trustDomain) != nil)
            var updates = source.updates.makeAsyncIterator()
            #expect(await updates.next()?.count == 2)
            source.remove(self.partner.trustDomain)
            #expect(source.x509Bundle(for: self.partner.trustDomain) == nil)
            #expect(await updates.next()?.keys.map(\.name) == ["other.test"])
            await self.time.sleeping(1)
            self.time.advance(86_400)
            await self.endpoints.asked(3)
            await self.time.sleeping(1)
            #expect(
                self.endpoints.asked.map(\.trustDomain.name) == [
                    "partner.test", "other.test", "other.test",
                ])
            #expect(source.status.map(\.endpoint.trustDomain.name) == ["other.test"])
        }
    }

    @Test(
        "Updates begin with what there is and end with the run; refreshes that bring nothing are none"
    )
    func updates() async throws {
        try self.endpoints.serve(try self.bundle(self.partner, sequence: 1))
        let source = self.source([try self.web(self.partner)])
        var updates = source.updates.makeAsyncIterator()
        #expect(await updates.next()?.isEmpty == true)
        try await source.refresh(self.partner.trustDomain)
        #expect(await updates.next()?.values.map(\.sequenceNumber) == [1])
        try await source.refresh(self.partner.trustDomain)
        try self.endpoints.serve(try self.bundle(self.partner, sequence: 2))
        try await source.refresh(self.partner.trustDomain)
        #expect(await updates.next()?.values.map(\.sequenceNumber) == [2])
        try await source.whileRunning { _ in }
        #expect(await updates.next() == nil)
        let error = await #expect(throws: BundleEndpointError.self) { try await source.run() }
        #expect(error?.code == .alreadyRunning)
    }

    @Test("Readiness is a bundle for every endpoint, or the reason why there is none")
    func ready() async throws {
        let source = self.source(
            [try self.web(self.partner), try self.web(self.other)],
            bootstrap: [try self.bundle(self.other, sequence: 1)])
        try await source.whileRunning { source in
            let waiting = Task { try await source.ready(within: .seconds(3)) }
            // Both endpoints have failed and wait, and so does the test for readiness.
            await self.time.sleeping(3)
            #expect(self.time.waits.contains(.seconds(3)))
            self.time.advance(5)
            let result = await waiting.result
            let error = #expect(throws: BundleEndpointError.self) { try result.get() }
            #expect(error?.code == BundleEndpointError.sample().code)
            await self.time.sleeping(2)
            // Waits double while there was no success.
            #expect(self.time.waits == [.seconds(10), .seconds(10)])
            try self.endpoints.serve(try self.bundle(self.partner, sequence: 1))
            self.time.advance(10)
            try await source.ready()
        }
    }

    @Test("FED-32: what was stored is in force after a restart, until the endpoint has answered")
    func restart() async throws {
        let stored = try self.bundle(self.partner, sequence: 4, hint: .seconds(60)).json()
        let source = self.source(
            [try self.web(self.partner)],
            bootstrap: [
                try SPIFFEBundle(trustDomain: self.partner.trustDomain, json: stored),
                try self.bundle(self.other, sequence: 1),
            ])
        try await source.ready()
        #expect(source.bundle(for: self.partner.trustDomain)?.json() == stored)
        #expect(source.bundle(for: self.other.trustDomain) == nil)
        let status = try self.status(source)
        #expect(status.hasBundle)
        #expect(status.lastSuccess == nil)
        #expect(status.age() == nil)
        try self.endpoints.serve(try self.bundle(self.partner, sequence: 3))
        let error = await #expect(throws: BundleEndpointError.self) {
            try await source.refresh(self.partner.trustDomain)
        }
        #expect(error?.code == .sequence)
    }
}
