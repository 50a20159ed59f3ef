import ControlPlaneProto
import Foundation
import GRPCCore
import SPIFFE
import ServerCore
import ServerTestSupport
import SwiftProtobuf
import Testing

@testable import ServerEndpoints

private typealias Bundles = Spire_Api_Server_Bundle_V1_Bundle
private typealias Bundle = Spire_Api_Types_Bundle

@Suite(.timeLimit(.minutes(2))) struct BundleServiceTests {
    private static func withClient(
        _ body:
            @escaping @Sendable (Bundles.Client<ClientTransportInUse>, TestServer) async throws ->
            Void
    ) async throws {
        try await TestServer.with { server in
            try await server.local { try await body(Bundles.Client(wrapping: $0), server) }
        }
    }

    private static func code(_ body: () async throws -> Void) async -> RPCError.Code? {
        await #expect(throws: RPCError.self) { try await body() }?.code
    }

    private static func message(_ name: String, sequence: UInt64? = nil) throws -> Bundle {
        Wire.message(try Partner.stored(name, sequence: sequence))
    }

    @Test func `creating a batch is judged bundle by bundle`() async throws {
        try await Self.withClient { client, _ in
            let good = try Self.message("b.test", sequence: 3)
            var unnamedKey = try Self.message("c.test")
            unnamedKey.jwtAuthorities[0].keyID = ""
            var negative = try Self.message("c.test")
            negative.refreshHint = -1
            var broken = try Self.message("c.test")
            broken.x509Authorities[0].asn1 = Data([1, 2, 3])
            var foreign = try Self.message("c.test")
            foreign.x509Authorities = good.x509Authorities
            var huge = Bundle()
            huge.trustDomain = "c.test"
            huge.x509Authorities = [Spire_Api_Types_X509Certificate](
                repeating: .init(), count: 1_001)
            let batch = [
                good, good, try Self.message("c.test"),
                unnamedKey, negative, broken, foreign, huge, Bundle(),
                .with { $0.trustDomain = "acme.test" },
                .with { $0.trustDomain = "spiffe://empty.test" },
            ]
            let response = try await client.batchCreateFederatedBundle(.with { $0.bundle = batch })
            #expect(response.results.map(\.status.code) == [0, 6, 0, 3, 3, 3, 3, 3, 3, 3, 0])
            #expect(response.results[0].bundle == good)
            #expect(!response.results[1].hasBundle)
            #expect(response.results[10].bundle.trustDomain == "empty.test")
            #expect(try await client.countBundles(.init()).count == 4, "ours is counted")
            let list = try await client.listFederatedBundles(.init())
            #expect(list.bundles.map(\.trustDomain) == ["b.test", "c.test", "empty.test"])
        }
    }

    @Test func `a bundle is set, masked on the way out, and found again`() async throws {
        try await Self.withClient { client, _ in
            let wanted = try Self.message("b.test", sequence: 3)
            let set = try await client.batchSetFederatedBundle(
                .with {
                    $0.bundle = [wanted]
                    $0.outputMask = .with { $0.sequenceNumber = true }
                })
            #expect(
                set.results[0].bundle
                    == .with {
                        $0.trustDomain = "b.test"
                        $0.sequenceNumber = 3
                    })
            let found = try await client.getFederatedBundle(
                .with { $0.trustDomain = "spiffe://b.test" })
            #expect(found == wanted)
            var later = try Self.message("b.test")
            later.sequenceNumber = 0
            let unnumbered = later
            let again = try await client.batchSetFederatedBundle(.with { $0.bundle = [unnumbered] })
            #expect(again.results[0].bundle.sequenceNumber == 2, "the server's own count")
            #expect(again.results[0].bundle.x509Authorities == unnumbered.x509Authorities)
            #expect(
                await Self.code {
                    _ = try await client.getFederatedBundle(.with { $0.trustDomain = "c.test" })
                } == .notFound)
            for name in ["acme.test", "", "Bad!"] {
                #expect(
                    await Self.code {
                        _ = try await client.getFederatedBundle(.with { $0.trustDomain = name })
                    } == .invalidArgument)
            }
        }
    }

    @Test func `an input mask changes, and checks, only what it names`() async throws {
        try await Self.withClient { client, _ in
            let first = try Self.message("b.test", sequence: 3)
            _ = try await client.batchSetFederatedBundle(.with { $0.bundle = [first] })
            var change = try Self.message("b.test", sequence: 8)
            change.refreshHint = 77
            change.x509Authorities[0].asn1 = Data([1])
            let masked = change
            let missing = try Self.message("none.test")
            let response = try await client.batchUpdateFederatedBundle(
                .with {
                    $0.bundle = [masked, missing]
                    $0.inputMask = .with {
                        $0.refreshHint = true
                        $0.sequenceNumber = true
                    }
                })
            #expect(response.results.map(\.status.code) == [0, 5])
            var expected = first
            expected.refreshHint = 77
            expected.sequenceNumber = 8
            #expect(response.results[0].bundle == expected)
            let whole = try await client.batchUpdateFederatedBundle(.with { $0.bundle = [masked] })
            #expect(whole.results.map(\.status.code) == [3], "now the certificate counts")
        }
    }

    @Test func `deleting heeds the entries that federate`() async throws {
        try await Self.withClient { client, server in
            let bundle = try Self.message("b.test")
            _ = try await client.batchSetFederatedBundle(.with { $0.bundle = [bundle] })
            var entry = try Entry.test("e", "/w", parent: "/spire/agent/x/1")
            entry.federatesWith = [try TrustDomain("b.test")]
            _ = try await server.plane.store.createEntries([entry])
            let refused = try await client.batchDeleteFederatedBundle(
                .with { $0.trustDomains = ["b.test", "c.test", "acme.test", ""] })
            #expect(refused.results.map(\.status.code) == [9, 5, 3, 3])
            #expect(refused.results.map(\.trustDomain) == ["b.test", "c.test", "acme.test", ""])
            #expect(
                await Self.code {
                    _ = try await client.batchDeleteFederatedBundle(
                        .with {
                            $0.trustDomains = ["b.test"]
                            $0.mode = .UNRECOGNIZED(7)
                        })
                } == .invalidArgument)
            let done = try await client.batchDeleteFederatedBundle(
                .with {
                    $0.trustDomains = ["spiffe://b.test"]
                    $0.mode = .dissociate
                })
            #expect(done.results.map(\.status.code) == [0])
            #expect(server.plane.entries.entry(id: "e")?.federatesWith.isEmpty == true)
        }
    }

    @Test func `pages go in the order of names and end with an empty one`() async throws {
        try await Self.withClient { client, _ in
            let bundles = try ["c.test", "a.test", "b.test"].map { try Self.message($0) }
            _ = try await client.batchSetFederatedBundle(.with { $0.bundle = bundles })
            var seen: [[String]] = []
            var token = ""
            repeat {
                let current = token
                let page = try await client.listFederatedBundles(
                    .with {
                        $0.pageSize = 2
                        $0.pageToken = current
                        $0.outputMask = .init()
                    })
                for bundle in page.bundles { #expect(bundle.x509Authorities.isEmpty) }
                seen.append(page.bundles.map(\.trustDomain))
                token = page.nextPageToken
            } while !token.isEmpty
            #expect(seen == [["a.test", "b.test"], ["c.test"], []])
        }
    }

    @Test func `authorities are appended to our own bundle`() async throws {
        try await Self.withClient { client, server in
            let before = try await client.getBundle(.init())
            let certificate = try Partner.certificate(["spiffe://acme.test"])
            let key = try Self.message("b.test").jwtAuthorities[0]
            let after = try await client.appendBundle(
                .with {
                    $0.x509Authorities = [.with { $0.asn1 = Data(certificate) }]
                    $0.jwtAuthorities = [key]
                    $0.outputMask = .with {
                        $0.x509Authorities = true
                        $0.jwtAuthorities = true
                    }
                })
            #expect(after.x509Authorities.count == before.x509Authorities.count + 1)
            #expect(after.jwtAuthorities == before.jwtAuthorities + [key])
            #expect(after.sequenceNumber == 0, "not in the mask")
            #expect(try await client.getBundle(.init()).sequenceNumber == before.sequenceNumber + 1)
            #expect(
                await Self.code { _ = try await client.appendBundle(.init()) } == .invalidArgument)
            #expect(
                await Self.code {
                    _ = try await client.appendBundle(
                        .with { $0.x509Authorities = [.with { $0.asn1 = Data([7]) }] })
                } == .invalidArgument)
        }
    }

    @Test func `a downstream server publishes JWT keys and gets all of them`() async throws {
        try await TestServer.with { server in
            var entry = try Entry.test("down", "/down", parent: "/spire/agent/x/1")
            entry.downstream = true
            _ = try await server.plane.store.createEntries([entry])
            let downstream = try await TestIdentity.issued(by: server.plane, "/down")
            try await server.tls(downstream) { client in
                let bundles = Bundles.Client(wrapping: client)
                let before = try #require(server.plane.directory.ownBundle).jwtAuthorities.count
                var key = try Self.message("b.test").jwtAuthorities[0]
                key.expiresAt = 2_000_000_000
                let wanted = key
                let response = try await bundles.publishJWTAuthority(
                    .with { $0.jwtAuthority = wanted })
                #expect(response.jwtAuthorities.count == before + 1)
                #expect(response.jwtAuthorities.last == wanted)
                #expect(
                    await Self.code { _ = try await bundles.publishJWTAuthority(.init()) }
                        == .invalidArgument)
                var other = try Self.message("b.test").jwtAuthorities[0]
                other.keyID = wanted.keyID
                let stolen = other
                #expect(
                    await Self.code {
                        _ = try await bundles.publishJWTAuthority(
                            .with { $0.jwtAuthority = stolen })
                    } == .invalidArgument)
                #expect(
                    await Self.code { _ = try await bundles.publishWITAuthority(.init()) }
                        == .unimplemented)
            }
        }
    }

    @Test func `an agent asks for a partner's bundle and may change nothing`() async throws {
        try await TestServer.with { server in
            let stored = try Partner.stored("b.test")
            _ = try await server.plane.store.writeBundle(stored.trustDomain, requiring: nil) {
                (_: TrustBundle?) throws(ServerError) -> TrustBundle? in stored
            }
            let agent = try await server.attest("t1")
            try await server.tls(agent) { client in
                let bundles = Bundles.Client(wrapping: client)
                let found = try await bundles.getFederatedBundle(
                    .with { $0.trustDomain = "b.test" })
                #expect(found.x509Authorities.count == 1)
                #expect(
                    await Self.code { _ = try await bundles.batchSetFederatedBundle(.init()) }
                        == .permissionDenied)
            }
        }
    }

    @Test(
        "FED-36, FED-39: a partner's bundle reaches the agents whose entries federate, and leaves them"
    )
    func push() async throws {
        try await Self.withClient { client, server in
            let agent = try await server.attest("t1")
            var entry = try Entry.test("e", "/w", parent: agent.id.path)
            entry.federatesWith = [try TrustDomain("b.test")]
            _ = try await server.plane.store.createEntries([entry])
            let session = server.plane.directory.openSession(agent: agent.id, knownDigest: [])
            _ = try await session.next()
            for _ in 0..<2 {
                let bundle = try Self.message("b.test")
                _ = try await client.batchSetFederatedBundle(.with { $0.bundle = [bundle] })
                let update = try #require(try await session.next())
                #expect(
                    update.bundles.map { Wire.message($0).x509Authorities } == [
                        bundle.x509Authorities
                    ])
            }
            _ = try await client.batchDeleteFederatedBundle(
                .with {
                    $0.trustDomains = ["b.test"]
                    $0.mode = .dissociate
                })
            #expect(try await session.next()?.removedBundles.map(\.name) == ["b.test"])
            server.plane.directory.closeSession(session)
        }
    }
}
