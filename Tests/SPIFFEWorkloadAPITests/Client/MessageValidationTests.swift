import Foundation
import SPIFFE
import SPIFFETesting
import SPIFFEWorkloadAPI
import Testing
import WorkloadAPIProto

/// A message that breaks a rule.
struct BadMessage: Sendable, CustomTestStringConvertible {
    let name: String
    let change: @Sendable (inout X509SVIDResponse) throws -> Void
    var testDescription: String { self.name }

    static let all = [
        BadMessage(name: "no svids") { $0.svids = [] },
        BadMessage(name: "no spiffe_id") { $0.svids[0].spiffeID = "" },
        BadMessage(name: "no x509_svid") { $0.svids[0].x509Svid = Data() },
        BadMessage(name: "no x509_svid_key") { $0.svids[0].x509SvidKey = Data() },
        BadMessage(name: "no bundle") { $0.svids[0].bundle = Data() },
        BadMessage(name: "another spiffe_id") { $0.svids[0].spiffeID = "spiffe://acme.test/other" },
        BadMessage(name: "a byte behind the chain") { $0.svids[0].x509Svid.append(0) },
        BadMessage(name: "a byte behind the bundle") { $0.svids[0].bundle.append(0) },
        BadMessage(name: "another key") {
            $0.svids[0].x509SvidKey = try TestAuthority("acme.test").entry("/web").x509SvidKey
        },
        BadMessage(name: "a second entry without key") {
            var second = $0.svids[0]
            second.x509SvidKey = Data()
            $0.svids.append(second)
        },
        BadMessage(name: "bundle key without scheme") {
            $0.federatedBundles["partner.test"] = $0.svids[0].bundle
        },
        BadMessage(name: "bundle key with slash") {
            $0.federatedBundles["spiffe://partner.test/"] = $0.svids[0].bundle
        },
        BadMessage(name: "bundle key with path") {
            $0.federatedBundles["spiffe://partner.test/web"] = $0.svids[0].bundle
        },
        BadMessage(name: "broken federated bundle") {
            $0.federatedBundles["spiffe://partner.test"] = Data([1, 2, 3])
        },
    ]
}

@Suite("Messages of the Workload API", .timeLimit(.minutes(1))) struct MessageValidationTests {
    @Test("WAPI-15: a bad message is reported and the old state kept", arguments: BadMessage.all)
    func badMessage(bad: BadMessage) async throws {
        let authority = try TestAuthority("acme.test")
        let good = try authority.message()
        var changed = good
        try bad.change(&changed)
        let broken = changed
        let fake = try FakeWorkloadAPI()
        fake.send(good)
        let (errors, continuation) = AsyncStream.makeStream(of: WorkloadAPIError.self)
        try await fake.serving {
            try await WorkloadAPIClient.with(address: fake.address, configuration: quick) {
                client in
                let updates = Recorder<X509Context>()
                await withThrowingTaskGroup(of: Void.self) { group in
                    group.addTask {
                        try await client.watchX509Context(
                            onUpdate: {
                                updates.append($0)
                                fake.send(broken)
                            }, onError: { continuation.yield($0) })
                    }
                    defer { group.cancelAll() }
                    var iterator = errors.makeAsyncIterator()
                    #expect(await iterator.next()?.code == .invalidResponse)
                }
                #expect(updates.all.count == 1)
            }
        }
        #expect(fake.callCount(of: .fetchX509SVID) == 1)
    }

    @Test(
        "WAPI-24: the first of two hints counts; empty hints and those that look alike do not clash"
    )
    func hints() async throws {
        let authority = try TestAuthority("acme.test")
        var message = X509SVIDResponse()
        message.svids = [
            try authority.entry("/a", hint: "x"), try authority.entry("/b", hint: "x"),
            try authority.entry("/c"), try authority.entry("/d"),
            try authority.entry("/e", hint: "caf\u{E9}"),
            try authority.entry("/f", hint: "cafe\u{301}"),
        ]
        let fake = try FakeWorkloadAPI()
        fake.send(message)
        try await fake.serving {
            try await WorkloadAPIClient.with(address: fake.address, configuration: quick) {
                let paths = try await $0.fetchX509SVIDs().map(\.id.path)
                #expect(paths == ["/a", "/c", "/d", "/e", "/f"])
            }
        }
    }

    @Test("A federated bundle never takes the place of the own one")
    func ownBundle() async throws {
        let authority = try TestAuthority("acme.test")
        let impostor = try TestAuthority("acme.test")
        var message = try authority.message()
        message.federatedBundles[impostor.bundleKey] = Data(try impostor.rootDER)
        let fake = try FakeWorkloadAPI()
        fake.send(message)
        try await fake.serving {
            try await WorkloadAPIClient.with(address: fake.address, configuration: quick) {
                let bundles = try await $0.fetchX509Context().bundles
                #expect(
                    bundles.x509Bundle(for: authority.trustDomain)
                        == (try authority.x509Bundle))
            }
        }
    }

    @Test("WAPI-15: answers about JWT-SVIDs without their fields are discarded")
    func jwtMessages() async throws {
        let authority = try TestAuthority("acme.test")
        let fake = try FakeWorkloadAPI()
        var tokens = JWTSVIDResponse()
        tokens.svids = [try authority.token("/web", audience: ["db"])]
        tokens.svids[0].spiffeID = ""
        var validation = ValidateJWTSVIDResponse()
        validation.spiffeID = "spiffe://acme.test/web"
        fake.answer(tokens: tokens, validation: validation)
        fake.send(X509BundlesResponse())
        fake.send(JWTBundlesResponse())
        try await fake.serving {
            try await WorkloadAPIClient.with(address: fake.address, configuration: quick) {
                client in
                let calls: [@Sendable () async throws -> Void] = [
                    { _ = try await client.fetchJWTSVID(audience: ["db"]) },
                    { _ = try await client.validateJWTSVID("t", audience: "db") },
                    { _ = try await client.fetchX509Bundles() },
                    { _ = try await client.fetchJWTBundles() },
                ]
                for call in calls {
                    let error = try await #require(throws: WorkloadAPIError.self) {
                        try await call()
                    }
                    #expect(error.code == .invalidResponse)
                }
            }
        }
    }
}
