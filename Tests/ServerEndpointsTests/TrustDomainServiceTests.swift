import ControlPlaneProto
import GRPCCore
import SPIFFE
import ServerCore
import ServerTestSupport
import SwiftProtobuf
import Testing

@testable import ServerEndpoints

private typealias TrustDomains = Spire_Api_Server_Trustdomain_V1_TrustDomain
private typealias Relationship = Spire_Api_Types_FederationRelationship

@Suite(.timeLimit(.minutes(2))) struct TrustDomainServiceTests {
    private static func web(_ name: String) -> Relationship {
        .with {
            $0.trustDomain = name
            $0.bundleEndpointURL = "https://\(name)/bundle"
            $0.httpsWeb = .init()
        }
    }

    private static func withClient(
        _ body:
            @escaping @Sendable (TrustDomains.Client<ClientTransportInUse>, TestServer) async throws
            -> Void
    ) async throws {
        try await TestServer.with { server in
            try await server.local { try await body(TrustDomains.Client(wrapping: $0), server) }
        }
    }

    private static func code(_ body: () async throws -> Void) async -> RPCError.Code? {
        await #expect(throws: RPCError.self) { try await body() }?.code
    }

    @Test("FED-04, FED-06, FED-08, FED-21: a batch of relationships is judged one by one")
    func create() async throws {
        try await Self.withClient { client, server in
            // SPIRE's clients may write the trust domain as an ID.
            var asID = Self.web("b.test")
            asID.trustDomain = "spiffe://b.test"
            var own = Self.web("acme.test")
            own.trustDomain = "spiffe://acme.test"
            var http = Self.web("c.test")
            http.bundleEndpointURL = "http://c.test"
            var noURL = Self.web("c.test")
            noURL.bundleEndpointURL = ""
            var noProfile = Self.web("c.test")
            noProfile.bundleEndpointProfile = nil
            var noID = Self.web("c.test")
            noID.httpsSpiffe = .init()
            var badID = noID
            badID.httpsSpiffe = .with { $0.endpointSpiffeID = "c.test/endpoint" }
            var elsewhere = Self.web("d.test")
            elsewhere.httpsSpiffe = .with { $0.endpointSpiffeID = "spiffe://e.test/endpoint" }
            var wrongBundle = Self.web("c.test")
            wrongBundle.trustDomainBundle = .with { $0.trustDomain = "x.test" }
            let batch = [
                asID, Self.web("b.test"), own, http, noURL, noProfile, noID,
                badID, elsewhere, wrongBundle, Self.web(""), Self.web("Upper.test"),
            ]
            let response = try await client.batchCreateFederationRelationship(
                .with { $0.federationRelationships = batch })
            #expect(
                response.results.map(\.status.code) == [0, 6, 3, 3, 3, 3, 3, 3, 0, 3, 3, 3])
            #expect(response.results[0].federationRelationship.trustDomain == "b.test")
            #expect(response.results[0].status.message == "OK")
            #expect(!response.results[1].hasFederationRelationship)
            #expect(
                response.results[8].federationRelationship.httpsSpiffe.endpointSpiffeID
                    == "spiffe://e.test/endpoint")
            let list = try await client.listFederationRelationships(.init())
            #expect(list.federationRelationships.map(\.trustDomain) == ["b.test", "d.test"])
            #expect(list.nextPageToken.isEmpty)
        }
    }

    @Test func `the bundle comes with the relationship, unless the mask leaves it out`()
        async throws
    {
        try await Self.withClient { client, server in
            let bundle = try Partner.stored("b.test", sequence: 9)
            var wanted = Self.web("b.test")
            wanted.trustDomainBundle = Wire.message(bundle)
            let relationship = wanted
            let made = try await client.batchCreateFederationRelationship(
                .with {
                    $0.federationRelationships = [relationship]
                    $0.outputMask = .with { $0.bundleEndpointURL = true }
                })
            #expect(
                made.results[0].federationRelationship
                    == .with {
                        $0.trustDomain = "b.test"
                        $0.bundleEndpointURL = "https://b.test/bundle"
                    })
            let whole = try await client.getFederationRelationship(
                .with { $0.trustDomain = "spiffe://b.test" })
            #expect(whole == relationship)
            #expect(whole.trustDomainBundle.sequenceNumber == 9)
            let bare = try await client.getFederationRelationship(
                .with {
                    $0.trustDomain = "b.test"
                    $0.outputMask = .init()
                })
            #expect(bare == .with { $0.trustDomain = "b.test" })
            #expect(
                await Self.code {
                    _ = try await client.getFederationRelationship(
                        .with { $0.trustDomain = "c.test" })
                } == .notFound)
            #expect(
                await Self.code {
                    _ = try await client.getFederationRelationship(.init())
                } == .invalidArgument)
        }
    }

    @Test func `an input mask changes, and checks, only what it names`() async throws {
        try await Self.withClient { client, _ in
            _ = try await client.batchCreateFederationRelationship(
                .with { $0.federationRelationships = [Self.web("b.test")] })
            var change = Self.web("b.test")
            change.bundleEndpointURL = "http://ignored"
            change.httpsSpiffe = .with { $0.endpointSpiffeID = "spiffe://b.test/x" }
            var newURL = change
            newURL.bundleEndpointURL = "https://new.test"
            newURL.bundleEndpointProfile = nil
            let updates = [change, newURL]
            let profile = try await client.batchUpdateFederationRelationship(
                .with {
                    $0.federationRelationships = [updates[0]]
                    $0.inputMask = .with { $0.bundleEndpointProfile = true }
                })
            #expect(profile.results.map(\.status.code) == [0])
            let url = try await client.batchUpdateFederationRelationship(
                .with {
                    $0.federationRelationships = [updates[1], Self.web("none.test")]
                    $0.inputMask = .with { $0.bundleEndpointURL = true }
                })
            #expect(url.results.map(\.status.code) == [0, 5])
            let after = url.results[0].federationRelationship
            #expect(after.bundleEndpointURL == "https://new.test")
            #expect(after.httpsSpiffe.endpointSpiffeID == "spiffe://b.test/x")
            let whole = try await client.batchUpdateFederationRelationship(
                .with { $0.federationRelationships = [updates[0], Self.web("b.test")] })
            #expect(whole.results.map(\.status.code) == [3, 0])
            #expect(whole.results[1].federationRelationship == Self.web("b.test"))
        }
    }

    @Test("FED-39: deleting says which there were, and takes the bundle away") func delete()
        async throws
    {
        try await Self.withClient { client, server in
            var wanted = Self.web("b.test")
            wanted.trustDomainBundle = Wire.message(try Partner.stored("b.test"))
            let relationship = wanted
            _ = try await client.batchCreateFederationRelationship(
                .with { $0.federationRelationships = [relationship] })
            let response = try await client.batchDeleteFederationRelationship(
                .with { $0.trustDomains = ["spiffe://b.test", "b.test", "", "Bad!"] })
            #expect(response.results.map(\.status.code) == [0, 5, 3, 3])
            #expect(response.results.map(\.trustDomain) == ["b.test", "b.test", "", "Bad!"])
            #expect(server.plane.directory.bundle(try TrustDomain("b.test")) == nil)
        }
    }

    @Test func `pages end with an empty one, and a made-up token is refused`() async throws {
        try await Self.withClient { client, _ in
            _ = try await client.batchCreateFederationRelationship(
                .with {
                    $0.federationRelationships = ["c.test", "a.test", "b.test"].map { Self.web($0) }
                })
            var seen: [[String]] = []
            var token = ""
            repeat {
                let current = token
                let page = try await client.listFederationRelationships(
                    .with {
                        $0.pageSize = 2
                        $0.pageToken = current
                        $0.outputMask = .init()
                    })
                seen.append(page.federationRelationships.map(\.trustDomain))
                token = page.nextPageToken
            } while !token.isEmpty
            #expect(seen == [["a.test", "b.test"], ["c.test"], []])
            #expect(
                await Self.code {
                    _ = try await client.listFederationRelationships(
                        .with {
                            $0.pageSize = 2
                            $0.pageToken = "Not a token"
                        })
                } == .invalidArgument)
        }
    }

    @Test func `refreshing fetches at once and says what went wrong`() async throws {
        try await Self.withClient { client, server in
            let domain = try TrustDomain("b.test")
            #expect(
                await Self.code {
                    _ = try await client.refreshBundle(.with { $0.trustDomain = "b.test" })
                } == .notFound)
            server.endpoints.serve(try Partner.bundle("b.test", sequence: 5))
            _ = try await client.batchCreateFederationRelationship(
                .with { $0.federationRelationships = [Self.web("b.test")] })
            _ = try await client.refreshBundle(.with { $0.trustDomain = "spiffe://b.test" })
            #expect(server.plane.directory.bundle(domain)?.foreignSequence == 5)
            server.endpoints.serve(try Partner.bundle("b.test", sequence: 4))
            #expect(
                await Self.code {
                    _ = try await client.refreshBundle(.with { $0.trustDomain = "b.test" })
                } == .failedPrecondition)
            server.endpoints.fail(domain, ServerError(.internal, "broken"))
            #expect(
                await Self.code {
                    _ = try await client.refreshBundle(.with { $0.trustDomain = "b.test" })
                } == .unavailable)
            #expect(server.plane.directory.bundle(domain)?.foreignSequence == 5)
        }
    }

    @Test func `the status tells of age, number and last error`() async throws {
        try await TestServer.with { server in
            try await server.local { client in
                let status = Cygnet_Federation_V1_Federation.Client(wrapping: client)
                let trustDomains = TrustDomains.Client(wrapping: client)
                #expect(try await status.getStatus(.init()).partners.isEmpty)
                server.endpoints.serve(try Partner.bundle("b.test", sequence: 5, hint: 90))
                _ = try await trustDomains.batchCreateFederationRelationship(
                    .with { $0.federationRelationships = [Self.web("b.test")] })
                _ = try await trustDomains.refreshBundle(.with { $0.trustDomain = "b.test" })
                server.plane.clock.advance(by: 30)
                server.endpoints.fail(
                    try TrustDomain("b.test"), ServerError(.unavailable, "partner is away"))
                _ = await #expect(throws: RPCError.self) {
                    try await trustDomains.refreshBundle(.with { $0.trustDomain = "b.test" })
                }
                let answer = try await status.getStatus(.init())
                let partner = try #require(answer.partners.first)
                #expect(partner.trustDomain == "b.test" && partner.hasBundle_p)
                #expect(partner.bundleEndpointProfile == "https_web" && !partner.configured)
                #expect(partner.sequenceNumber == 5 && partner.refreshHint == 90)
                #expect(partner.x509Authorities == 1 && partner.jwtAuthorities == 1)
                #expect(answer.serverTime - partner.lastSuccess == 30)
                #expect(partner.lastAttempt == answer.serverTime && partner.failures == 1)
                #expect(partner.lastError.contains("partner is away"))
            }
        }
    }
}
