import Foundation
import SPIFFE
import SPIFFETesting
import SPIFFEWorkloadAPI
import SwiftProtobuf
import Testing
import WorkloadAPIProto

private typealias Message = Cygnet_Workload_V1_FetchPartnerLimitsResponse
private typealias Entry = Cygnet_Workload_V1_TrustDomainLimits

@Suite("Partners' limits at sources", .timeLimit(.minutes(1))) struct PartnerLimitSourceTests {
    private let acme: TestAuthority
    private let energy: TestAuthority
    private let fake: FakeWorkloadAPI

    init() throws {
        self.acme = try TestAuthority("acme.test")
        self.energy = try TestAuthority("energy.test")
        self.fake = try FakeWorkloadAPI()
        try self.fake.serve(self.acme, paths: ["/web"], federatedWith: [self.energy])
    }

    private var both: [TrustDomain] { [self.acme.trustDomain, self.energy.trustDomain] }

    private func serve(_ acceptedPaths: [String]?, x509: Bool = true, jwt: Bool = true) throws {
        self.fake.serve(
            limits: [
                try TrustDomainLimits(
                    of: self.energy.trustDomain, allowsX509: x509, allowsJWT: jwt,
                    acceptedPaths: acceptedPaths)
            ], of: self.both)
    }

    /// Returns as soon as the source has been told something new and the condition holds.
    private func wait(_ source: any PartnerLimitSource, until isTrue: () -> Bool) async {
        let (changes, changed) = AsyncStream.makeStream(of: Void.self)
        let observation = source.observePartnerLimits { changed.yield() }
        if isTrue() { return }
        for await _ in changes where isTrue() { break }
        withExtendedLifetime(observation) {}
    }

    /// Why a new X509-SVID is refused; nil when it is accepted.
    private func refusal(
        _ source: X509Source, _ path: String, by authority: TestAuthority
    ) async throws -> X509SVIDError.Code? {
        let chain = try authority.x509SVID(path).certificateChainDER
        do throws(X509SVIDError) {
            _ = try await X509SVIDVerifier(bundles: source).verify(chainDER: chain)
            return nil
        } catch {
            return error.code
        }
    }

    /// The same for a new token.
    private func refusal(
        _ source: JWTSource, _ path: String, by authority: TestAuthority
    ) throws -> JWTSVIDError.Code? {
        let token = try authority.jwtSVID(path, audience: ["db"]).token
        do throws(JWTSVIDError) {
            _ = try JWTSVID.validate(token, audience: "db", bundles: source)
            return nil
        } catch {
            return error.code
        }
    }

    @Test(
        "an X.509 source refuses what lies outside, heeds narrower limits at once, and keeps them")
    func x509() async throws {
        try self.serve(["/agents/*"])
        try await self.fake.serving {
            try await withX509Source(
                address: self.fake.address, readyWithin: patience, configuration: quick
            ) { source in
                #expect(try await self.refusal(source, "/agents/a", by: self.energy) == nil)
                #expect(
                    try await self.refusal(source, "/meters/7", by: self.energy) == .outsideLimits)
                #expect(try await self.refusal(source, "/meters/7", by: self.acme) == nil)
                try self.serve(["/agents/b"])
                await self.wait(source) {
                    source.partnerLimits(for: self.energy.trustDomain)?.acceptedPaths
                        == ["/agents/b"]
                }
                #expect(
                    try await self.refusal(source, "/agents/a", by: self.energy) == .outsideLimits)
                #expect(try await self.refusal(source, "/agents/b", by: self.energy) == nil)
                // A stream that breaks, and an agent that has it no more, change nothing.
                for failure in [FakeWorkloadAPI.Failure.unavailable, .notSupported] {
                    let calls = self.fake.callCount(of: .fetchPartnerLimits)
                    self.fake.fail(.fetchPartnerLimits, with: failure)
                    await self.fake.waitForCalls(of: .fetchPartnerLimits, atLeast: calls + 1)
                    #expect(
                        try await self.refusal(source, "/agents/a", by: self.energy)
                            == .outsideLimits)
                    #expect(try await self.refusal(source, "/agents/b", by: self.energy) == nil)
                }
            }
        }
    }

    @Test("an agent without the stream has no limits, and is asked again when it has come back")
    func notSupported() async throws {
        try await self.fake.serving {
            try await withX509Source(
                address: self.fake.address, readyWithin: patience, configuration: quick
            ) { source in
                #expect(source.partnerLimits(for: self.energy.trustDomain) == nil)
                #expect(try await self.refusal(source, "/meters/7", by: self.energy) == nil)
                #expect(self.fake.callCount(of: .fetchPartnerLimits) == 1)
                try self.serve([])
                self.fake.breakStreams(.fetchX509SVID, with: .unavailable)
                await self.wait(source) {
                    source.partnerLimits(for: self.energy.trustDomain) != nil
                }
                #expect(
                    try await self.refusal(source, "/meters/7", by: self.energy) == .outsideLimits)
                #expect(self.fake.callCount(of: .fetchPartnerLimits) == 2)
            }
        }
    }

    @Test("an agent that says neither takes away the knowledge that there are none")
    func saysNeither() async throws {
        try await self.fake.serving {
            try await withX509Source(
                address: self.fake.address, readyWithin: patience, configuration: quick
            ) { source in
                #expect(try await self.refusal(source, "/meters/7", by: self.energy) == nil)
                self.fake.fail(.fetchPartnerLimits, with: .internalError)
                self.fake.breakStreams(.fetchX509SVID, with: .unavailable)
                await self.fake.waitForCalls(of: .fetchPartnerLimits, atLeast: 3)
                #expect(
                    try await self.refusal(source, "/meters/7", by: self.energy) == .limitsUnknown)
                #expect(try await self.refusal(source, "/web", by: self.acme) == nil)
                try self.serve(["/meters/*"])
                self.fake.recover(.fetchPartnerLimits)
                await self.wait(source) {
                    source.partnerLimits(for: self.energy.trustDomain)?.acceptedPaths
                        == ["/meters/*"]
                }
                #expect(try await self.refusal(source, "/meters/7", by: self.energy) == nil)
            }
        }
    }

    @Test("a call that is refused as invalid is tried again, and limits that are known stay")
    func invalidRequest() async throws {
        try self.serve(["/agents/*"])
        try await self.fake.serving {
            try await withX509Source(
                address: self.fake.address, readyWithin: patience, configuration: quick
            ) { source in
                self.fake.fail(.fetchPartnerLimits, with: .invalidRequest)
                await self.fake.waitForCalls(of: .fetchPartnerLimits, atLeast: 3)
                #expect(
                    try await self.refusal(source, "/meters/7", by: self.energy) == .outsideLimits)
                try self.serve(["/meters/*"])
                self.fake.recover(.fetchPartnerLimits)
                await self.wait(source) {
                    source.partnerLimits(for: self.energy.trustDomain)?.acceptedPaths
                        == ["/meters/*"]
                }
                #expect(try await self.refusal(source, "/meters/7", by: self.energy) == nil)
            }
        }
    }

    @Test("a program that ignores limits does not ask for them")
    func ignored() async throws {
        try self.serve([])
        var configuration = quick
        configuration.partnerLimits = .ignored
        try await self.fake.serving {
            try await withX509Source(
                address: self.fake.address, readyWithin: patience, configuration: configuration
            ) { source in
                let refused = try await self.refusal(source, "/meters/7", by: self.energy)
                #expect(refused == nil)
                #expect(self.fake.callCount(of: .fetchPartnerLimits) == 0)
            }
        }
    }

    @Test("before the first answer nobody of a partner is accepted, and the source is not ready")
    func beforeTheFirst() async throws {
        try self.serve(["/agents/*"])
        self.fake.fail(.fetchPartnerLimits, with: .unavailable)
        let source = try X509Source(address: self.fake.address, configuration: quick)
        try await withThrowingTaskGroup(of: Void.self) { group in
            defer { group.cancelAll() }
            group.addTask { try await source.run() }
            try await self.fake.serving {
                for await context in source.updates where !context.svids.isEmpty { break }
                #expect(try await self.refusal(source, "/web", by: self.acme) == nil)
                #expect(
                    try await self.refusal(source, "/agents/a", by: self.energy) == .limitsUnknown)
                await self.fake.waitForCalls(of: .fetchPartnerLimits, atLeast: 3)
                let error = await #expect(throws: WorkloadAPIError.self) {
                    try await source.ready(within: .milliseconds(1))
                }
                #expect(error?.code == .unavailable)
                self.fake.recover(.fetchPartnerLimits)
                try await source.ready(within: patience)
                #expect(try await self.refusal(source, "/agents/a", by: self.energy) == nil)
                #expect(
                    try await self.refusal(source, "/meters/7", by: self.energy) == .outsideLimits)
            }
        }
    }

    @Test("a partner of which nothing is said yet is not accepted, whatever bundles are there")
    func notNamed() async throws {
        self.fake.serve(limits: [], of: [self.acme.trustDomain])
        try await self.fake.serving {
            try await withX509Source(
                address: self.fake.address, readyWithin: patience, configuration: quick
            ) { source in
                #expect(source.x509Bundle(for: self.energy.trustDomain) != nil)
                let before = try await self.refusal(source, "/agents/a", by: self.energy)
                #expect(before == .limitsUnknown)
                self.fake.serve(limits: [], of: self.both)
                await self.wait(source) {
                    source.partnerLimits(for: self.energy.trustDomain) == nil
                }
                #expect(try await self.refusal(source, "/agents/a", by: self.energy) == nil)
            }
        }
    }

    @Test("nobody limits the own trust domain")
    func own() async throws {
        self.fake.serve(
            limits: [try TrustDomainLimits(of: self.acme.trustDomain, acceptedPaths: [])],
            of: self.both)
        try await self.fake.serving {
            try await withX509Source(
                address: self.fake.address, readyWithin: patience, configuration: quick
            ) { source in
                let refused = try await self.refusal(source, "/any", by: self.acme)
                #expect(refused == nil)
            }
        }
    }

    @Test("a JWT source refuses in the same way")
    func jwt() async throws {
        try self.serve(["/agents/*"], x509: false)
        try await self.fake.serving {
            try await withJWTSource(
                address: self.fake.address, readyWithin: patience, configuration: quick
            ) { source in
                #expect(try self.refusal(source, "/agents/a", by: self.energy) == nil)
                #expect(try self.refusal(source, "/meters/7", by: self.energy) == .outsideLimits)
                #expect(try self.refusal(source, "/meters/7", by: self.acme) == nil)
                try self.serve(nil, jwt: false)
                await self.wait(source) {
                    source.partnerLimits(for: self.energy.trustDomain)?.allowsJWT == false
                }
                #expect(try self.refusal(source, "/agents/a", by: self.energy) == .outsideLimits)
                #expect(try self.refusal(source, "/meters/7", by: self.acme) == nil)
            }
        }
    }

    @Test("a WIT source refuses in the same way")
    func wit() async throws {
        let own = try self.acme.witSVID("/web")
        self.fake.send(
            try WITSVIDResponse.with { message in
                message.svids = [
                    try WorkloadAPIProto.WITSVID.with {
                        $0.spiffeID = own.id.string
                        $0.witSvid = own.token
                        $0.witSvidKey = try own.proofKey.privateJWK()
                    }
                ]
            })
        self.fake.send(
            WITBundlesResponse.with { message in
                for authority in [self.acme, self.energy] {
                    message.bundles[authority.bundleKey] = authority.witBundle.jwks()
                }
            })
        try self.serve(["/agents/*"])
        let inside = try self.energy.witSVID("/agents/a").token
        let outside = try self.energy.witSVID("/meters/7").token
        try await self.fake.serving {
            try await withWITSource(
                address: self.fake.address, readyWithin: patience, configuration: quick
            ) { source in
                _ = try UnprovenWITSVID(validating: own.token, bundles: source)
                _ = try UnprovenWITSVID(validating: inside, bundles: source)
                let error = #expect(throws: WITSVIDError.self) {
                    try UnprovenWITSVID(validating: outside, bundles: source)
                }
                #expect(error?.code == .outsideLimits)
            }
        }
    }

    // MARK: Hostile messages

    /// A message that breaks a rule, and a word of the error.
    private static func hostile(_ name: String) -> (message: Message, word: String) {
        switch name {
        case "name": (Message.with { $0.trustDomains = ["no domain!"] }, "no domain!")
        case "limits of a name":
            (
                Message.with {
                    $0.limits = [Entry.with { $0.trustDomain = "spiffe://energy.test/path" }]
                }, "energy.test/path"
            )
        case "twice":
            (
                Message.with {
                    $0.limits = (0..<2).map { _ in Entry.with { $0.trustDomain = "energy.test" } }
                }, "twice"
            )
        case "many names":
            (
                Message.with { $0.trustDomains = (0...10_000).map { "t\($0).test" } }, "10001"
            )
        default:
            (
                Message.with {
                    $0.limits = (0...10_000).map { number in
                        Entry.with { $0.trustDomain = "t\(number).test" }
                    }
                }, "10001"
            )
        }
    }

    @Test(
        "a message that breaks a rule changes nothing and is told",
        arguments: ["name", "limits of a name", "twice", "many names", "many limits"])
    func hostile(name: String) async throws {
        let (message, word) = Self.hostile(name)
        try self.serve(["/agents/*"])
        try await self.fake.serving {
            try await withX509Source(
                address: self.fake.address, readyWithin: patience, configuration: quick
            ) { source in
                self.fake.send(message)
                while source.lastError == nil { try await Task.sleep(for: .milliseconds(5)) }
                #expect(source.lastError?.code == .invalidResponse)
                #expect(source.lastError?.message.contains(word) == true)
                #expect(try await self.refusal(source, "/agents/a", by: self.energy) == nil)
                #expect(
                    try await self.refusal(source, "/meters/7", by: self.energy) == .outsideLimits)
            }
        }
    }

    @Test(
        "a pattern that cannot be read accepts nothing and costs no other; too many accept nothing")
    func patterns() async throws {
        func message(_ patterns: [String]) -> Message {
            Message.with { message in
                message.trustDomains = self.both.map(\.name)
                message.limits = [
                    Entry.with {
                        $0.trustDomain = "energy.test"
                        $0.x509 = true
                        $0.limitsPaths = true
                        $0.acceptedPaths = patterns
                    }
                ]
            }
        }
        self.fake.send(message(["/a/**/b", "/agents/*"]))
        try await self.fake.serving {
            try await withX509Source(
                address: self.fake.address, readyWithin: patience, configuration: quick
            ) { source in
                while source.lastError == nil { try await Task.sleep(for: .milliseconds(5)) }
                #expect(source.lastError?.message.contains("/a/**/b") == true)
                #expect(try await self.refusal(source, "/agents/a", by: self.energy) == nil)
                #expect(
                    try await self.refusal(source, "/a/x/b", by: self.energy) == .outsideLimits)
                self.fake.send(message(Array(repeating: "/**", count: 1_001)))
                await self.wait(source) {
                    source.partnerLimits(for: self.energy.trustDomain)?.acceptedPaths == []
                }
                #expect(
                    try await self.refusal(source, "/agents/a", by: self.energy) == .outsideLimits)
            }
        }
    }
}
