import AgentCore
import Foundation
import GRPCCore
import GRPCNIOTransportHTTP2Posix
import SPIFFE
import SwiftProtobuf
import Testing
import WorkloadAPIProto

@testable import AgentEndpoints

private let security: Metadata = ["workload.spiffe.io": "true"]

@Suite("WIT profile of the Workload API on a socket", .timeLimit(.minutes(1)))
struct WITProfileTests {
    private func first(
        _ client: TestAgent.Client, spiffeID: String = "", metadata: Metadata = security
    ) async throws -> WITSVIDResponse? {
        try await client.fetchWITSVID(.with { $0.spiffeID = spiffeID }, metadata: metadata) {
            for try await message in $0.messages { return message }
            return nil
        }
    }

    private func firstBundles(
        _ client: TestAgent.Client, metadata: Metadata = security
    ) async throws -> [String: String] {
        try await client.fetchWITBundles(.init(), metadata: metadata) {
            for try await message in $0.messages { return message.bundles }
            return [:]
        }
    }

    @Test(
        "WAPI-43, WAPI-44, WAPI-45: content of a WITSVIDResponse; the key is a private JWK that fits cnf"
    )
    func content() async throws {
        let agent = try TestAgent(offersWITSVIDs: true)
        agent.synchronise([
            try TestAgent.entry("b", createdAt: 1, hint: "internal"),
            try TestAgent.entry("a", createdAt: 2),
        ])
        try await agent.run { client, _ in
            let response = try #require(try await self.first(client))
            #expect(
                response.svids.map(\.spiffeID) == ["spiffe://acme.test/b", "spiffe://acme.test/a"])
            #expect(response.svids.map(\.hint) == ["internal", ""])
            let bundles = try await self.firstBundles(client)
            let bundle = try WITBundle(
                trustDomain: agent.trustDomain,
                jwks: Array((bundles["spiffe://acme.test"] ?? "").utf8))
            #expect(Array(bundle.authorities.keys) == ["w1"])
            var secrets: Set<String> = []
            for svid in response.svids {
                let own = try SPIFFE.WITSVID(token: svid.witSvid, privateJWK: svid.witSvidKey)
                #expect(own.id.string == svid.spiffeID)
                let unproven = try UnprovenWITSVID(validating: svid.witSvid, bundles: bundle)
                #expect(unproven.confirmationKey == own.proofKey.confirmationKey)
                let jwk = try JSONValue(parsing: svid.witSvidKey)
                secrets.insert(try #require(jwk["d"]?.stringValue))
            }
            #expect(secrets.count == 2, "each identity has a key of its own")
        }
    }

    @Test("WAPI-43, WAPI-14: one identity by name; a name that is none is INVALID_ARGUMENT")
    func named() async throws {
        let agent = try TestAgent(offersWITSVIDs: true)
        agent.synchronise([try TestAgent.entry("a"), try TestAgent.entry("b")])
        try await agent.run { client, _ in
            let one = try await self.first(client, spiffeID: "spiffe://acme.test/b")
            #expect(one?.svids.map(\.spiffeID) == ["spiffe://acme.test/b"])
            let other = await code {
                _ = try await self.first(client, spiffeID: "spiffe://acme.test/other")
            }
            #expect(other == .permissionDenied)
            for bad in ["acme.test/a", "spiffe://Acme.test/a", " "] {
                let status = await code { _ = try await self.first(client, spiffeID: bad) }
                #expect(status == .invalidArgument)
            }
        }
    }

    @Test("WAPI-46, WAPI-21: WIT bundles by trust domain ID, as text, each key with kid")
    func bundles() async throws {
        let agent = try TestAgent(offersWITSVIDs: true)
        let partner = try TrustDomain("partner.test")
        agent.synchronise(
            [try TestAgent.entry("a", federatesWith: ["partner.test"])],
            [AgentBundle(trustDomain: partner, x509Authorities: [.init(der: agent.rootDER)])])
        try await agent.run { client, _ in
            let bundles = try await self.firstBundles(client)
            #expect(Set(bundles.keys) == ["spiffe://acme.test", "spiffe://partner.test"])
            #expect(bundles["spiffe://partner.test"] == #"{"keys":[]}"#)
            let own = try JSONValue(parsing: bundles["spiffe://acme.test"] ?? "")
            #expect(own["keys"]?.arrayValue?.compactMap { $0["kid"]?.stringValue } == ["w1"])
        }
    }

    @Test("WAPI-26, WEP-06: no identity is PERMISSION_DENIED, no security header INVALID_ARGUMENT")
    func denied() async throws {
        let agent = try TestAgent(offersWITSVIDs: true)
        agent.synchronise([try TestAgent.entry("a", selector: "unix:uid:other")])
        try await agent.run { client, _ in
            let svids = await code { _ = try await self.first(client) }
            let bundles = await code { _ = try await self.firstBundles(client) }
            #expect(svids == .permissionDenied && bundles == .permissionDenied)
            let bare = await code { _ = try await self.first(client, metadata: [:]) }
            let bareBundles = await code {
                _ = try await self.firstBundles(client, metadata: [:])
            }
            #expect(bare == .invalidArgument && bareBundles == .invalidArgument)
        }
    }

    @Test(
        "WAPI-07, WAPI-10, WAPI-26: a WIT stream hears of new and withdrawn identities, then is denied"
    )
    func stream() async throws {
        let agent = try TestAgent(offersWITSVIDs: true)
        agent.synchronise([try TestAgent.entry("a", createdAt: 1)])
        try await agent.run { client, _ in
            let status = await code {
                try await client.fetchWITSVID(.init(), metadata: security) { response in
                    for try await message in response.messages {
                        try agent.changeIdentities(after: message.svids.map(\.spiffeID))
                    }
                }
            }
            #expect(status == .permissionDenied)
        }
    }

    @Test("WAPI-38, WAPI-22: WIT keys are not among the JWT keys")
    func apart() async throws {
        let agent = try TestAgent(offersWITSVIDs: true)
        agent.synchronise([try TestAgent.entry("a")])
        try await agent.run { client, _ in
            let jwt = try await client.fetchJWTBundles(.init(), metadata: security) {
                for try await message in $0.messages { return message.bundles }
                return [:]
            }
            let text = String(decoding: jwt["spiffe://acme.test"] ?? Data(), as: UTF8.self)
            #expect(text.contains("k1") && !text.contains("w1"))
        }
    }

    @Test("WAPI-03: switched on here but unknown to the server, both methods are unimplemented")
    func serverWithout() async throws {
        let agent = try TestAgent(offersWITSVIDs: true)
        var bundle = agent.bundle
        bundle.witAuthorities = []
        let entry = try TestAgent.entry("a")
        let stock = bundle
        agent.identities.receive(.bundles(BundleChange(upserted: [stock])))
        agent.identities.receive(.entries(EntryChange(isSnapshot: true, upserted: [entry])))
        try await agent.run { client, _ in
            let svids = await code { _ = try await self.first(client) }
            let bundles = await code { _ = try await self.firstBundles(client) }
            #expect(svids == .unimplemented && bundles == .unimplemented)
        }
    }
}
