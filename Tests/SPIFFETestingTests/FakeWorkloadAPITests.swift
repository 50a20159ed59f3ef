import SPIFFE
import SPIFFETesting
import SPIFFEWorkloadAPI
import Testing

@Suite("Fake Workload API", .timeLimit(.minutes(1))) struct FakeWorkloadAPITests {
    private let authority: TestAuthority
    private let fake: FakeWorkloadAPI

    init() throws {
        self.authority = try TestAuthority("acme.test")
        self.fake = try FakeWorkloadAPI()
    }

    private var quick: WorkloadAPIConfiguration {
        var configuration = WorkloadAPIConfiguration()
        configuration.firstBackOff = .milliseconds(5)
        configuration.longestBackOff = .milliseconds(20)
        return configuration
    }

    @Test("At first it knows no identity for its caller")
    func nothing() async throws {
        try await self.fake.serving {
            try await WorkloadAPIClient.with(address: self.fake.address) { client in
                let calls: [@Sendable () async throws -> Void] = [
                    { _ = try await client.fetchX509SVIDs() },
                    { _ = try await client.fetchX509Bundles() },
                    { _ = try await client.fetchJWTBundles() },
                    { _ = try await client.fetchJWTSVID(audience: ["db"]) },
                ]
                for call in calls {
                    let error = try await #require(throws: WorkloadAPIError.self) {
                        try await call()
                    }
                    #expect(error.code == .noIdentity)
                }
            }
        }
    }

    @Test("It serves identities, bundles and tokens of an authority and its friends")
    func serve() async throws {
        let partner = try TestAuthority("partner.test")
        try self.fake.serve(self.authority, paths: ["/a", "/b"], federatedWith: [partner])
        try await self.fake.serving {
            try await WorkloadAPIClient.with(address: self.fake.address) { client in
                let context = try await client.fetchX509Context()
                #expect(context.svids.map(\.id.path) == ["/a", "/b"])
                #expect(
                    context.bundles.x509Bundle(for: partner.trustDomain)
                        == (try partner.x509Bundle))
                #expect(try await client.fetchJWTBundles().bundles.count == 2)
                let b = try self.authority.id("/b")
                #expect(try await client.fetchJWTSVID(audience: ["db"], id: b).id == b)
                #expect(try await client.fetchJWTSVIDs(audience: ["db"]).count == 2)
                let stranger = try SPIFFEID("spiffe://acme.test/c")
                let error = try await #require(throws: WorkloadAPIError.self) {
                    try await client.fetchJWTSVID(audience: ["db"], id: stranger)
                }
                #expect(error.code == .noIdentity)
            }
        }
    }

    @Test("Failures begin, reach open streams, and end")
    func failures() async throws {
        try self.fake.serve(self.authority, paths: ["/a"])
        try await self.fake.serving {
            try await withX509Source(address: self.fake.address, configuration: self.quick) {
                source in
                var updates = source.updates.makeAsyncIterator()
                _ = await updates.next()
                self.fake.fail(.fetchX509SVID, with: .noIdentity)
                #expect(await updates.next() == .empty)
                self.fake.recover(.fetchX509SVID)
                #expect(await updates.next()?.svids.count == 1)
                let before = self.fake.callCount(of: .fetchX509SVID)
                self.fake.breakStreams(.fetchX509SVID, with: .internalError)
                await self.fake.waitForCalls(of: .fetchX509SVID, atLeast: before + 1)
                let id = try source.x509SVID().id
                #expect(id.path == "/a")
            }
        }
    }

    @Test("A delayed call is answered late")
    func delay() async throws {
        try self.fake.serve(self.authority, paths: ["/a"])
        self.fake.delay(.fetchJWTSVID, by: .seconds(3600))
        try await self.fake.serving {
            var configuration = WorkloadAPIConfiguration()
            configuration.callTimeout = .milliseconds(50)
            try await WorkloadAPIClient.with(
                address: self.fake.address, configuration: configuration
            ) { client in
                let error = try await #require(throws: WorkloadAPIError.self) {
                    try await client.fetchJWTSVID(audience: ["db"])
                }
                #expect(error.code == .deadlineExceeded)
                self.fake.delay(.fetchJWTSVID, by: .zero)
            }
            try await WorkloadAPIClient.with(address: self.fake.address) { client in
                _ = try await client.fetchJWTSVID(audience: ["db"])
            }
        }
    }

    @Test("It can be served again after it ended, as an agent that was restarted")
    func restart() async throws {
        try self.fake.serve(self.authority, paths: ["/a"])
        for _ in 0..<2 {
            try await self.fake.serving {
                try await WorkloadAPIClient.with(address: self.fake.address) { client in
                    let svids = try await client.fetchX509SVIDs()
                    #expect(svids.count == 1)
                }
            }
        }
    }

    @Test("A socket that cannot be bound is reported")
    func badSocket() async throws {
        let fake = try FakeWorkloadAPI(socketPath: "/nonexistent/folder/api.sock")
        await #expect(throws: (any Error).self) {
            try await fake.serving { Issue.record("the body ran without a socket") }
        }
    }
}
