import AgentCore
import Foundation
import GRPCCore
import NIOConcurrencyHelpers
import SPIFFE
import SPIFFEWorkloadAPI
import SwiftProtobuf
import Testing
import WorkloadAPIProto

@testable import AgentEndpoints
@testable import SPIFFEBroker

private let brokerHeader: Metadata = ["broker.spiffe.io": "true"]

/// The Broker Endpoint with the SDK's client: each is the other's judge, and the stock client of the scenario that of
/// both.
@Suite("Broker API over TLS", .timeLimit(.minutes(3)))
struct BrokerAPITests {
    private func request(_ pid: Int32) throws -> Spiffe_Broker_SubscribeToX509SVIDRequest {
        let reference = try SPIFFEBroker.WorkloadReference.process(pid).message
        return .with { $0.reference = reference }
    }

    /// The status of a call that must fail.
    private func status(_ body: () async throws -> Void) async -> RPCError? {
        do {
            try await body()
            return nil
        } catch {
            return error as? RPCError
        }
    }

    @Test(
        "BEP-02, BEP-05, BEP-10, BRK-01, BRK-24, BRK-33, BRK-38: each workload has its own identity, and the broker's is in none"
    )
    func isolation() async throws {
        let test = try TestBroker()
        let web = try test.child("unix:uid:1")
        let db = try test.child("unix:uid:2")
        let nobody = try test.child("unix:uid:3")
        test.agent.synchronise([
            try TestAgent.entry("web", selector: "unix:uid:1"),
            try TestAgent.entry("db", selector: "unix:uid:2", hint: "internal"),
        ])
        try await test.run([try TestBroker.policy()]) { running in
            let client = running.client
            let first = try await client.fetchX509Context(of: .process(web.pid))
            let second = try await client.fetchX509Context(of: .process(db.pid))
            #expect(first.svids.map(\.id.string) == ["spiffe://acme.test/web"])
            #expect(second.svids.map(\.id.string) == ["spiffe://acme.test/db"])
            #expect(second.svids.map(\.hint) == ["internal"])
            #expect(first.bundles.x509Bundle(for: test.agent.trustDomain) != nil)
            let bundles = try await client.fetchX509Bundles(of: .process(web.pid))
            #expect(bundles.x509Bundle(for: test.agent.trustDomain) != nil)
            let keys = try await client.fetchJWTBundles(of: .process(web.pid))
            #expect(keys.jwtBundle(for: test.agent.trustDomain) != nil)
            let refused = await failure {
                _ = try await client.fetchX509Context(of: .process(nobody.pid))
            }
            #expect(
                refused?.code == .permissionDenied && refused?.reason == "WORKLOAD_NOT_ENTITLED")
        }
    }

    @Test(
        "BRK-44, BRK-45: JWT-SVIDs for the audiences asked for, of all identities or of the one named"
    )
    func tokens() async throws {
        let test = try TestBroker()
        let child = try test.child("unix:uid:1")
        test.agent.synchronise([
            try TestAgent.entry("a", selector: "unix:uid:1", createdAt: 1),
            try TestAgent.entry("b", selector: "unix:uid:1", createdAt: 2),
        ])
        try await test.run([try TestBroker.policy()]) { running in
            let workload = try SPIFFEBroker.WorkloadReference.process(child.pid)
            let both = try await running.client.fetchJWTSVIDs(of: workload, audience: ["x", "y"])
            #expect(both.map(\.id.string) == ["spiffe://acme.test/a", "spiffe://acme.test/b"])
            #expect(both.allSatisfy { $0.audience == ["x", "y"] })
            let id = try SPIFFEID("spiffe://acme.test/b")
            let one = try await running.client.fetchJWTSVIDs(of: workload, audience: ["x"], id: id)
            #expect(one.map(\.id) == [id] && one.first?.audience == ["x"])
            let other = try SPIFFEID("spiffe://acme.test/c")
            let refused = await failure {
                _ = try await running.client.fetchJWTSVIDs(of: workload, audience: ["x"], id: other)
            }
            #expect(refused?.code == .permissionDenied)
        }
    }

    @Test(
        "BRK-27, BRK-28, BRK-36, BRK-37, BRK-40, BRK-41: a workload's end ends its stream with NOT_FOUND; another's goes on and hears of changes"
    )
    func end() async throws {
        let test = try TestBroker()
        let doomed = try test.child("unix:uid:1")
        let other = try test.child("unix:uid:2")
        test.agent.synchronise([
            try TestAgent.entry("doomed", selector: "unix:uid:1"),
            try TestAgent.entry("other", selector: "unix:uid:2", createdAt: 1),
        ])
        try await test.run([try TestBroker.policy()]) { running in
            let client = running.client
            let dying = BrokeredX509Source(client: client, of: try .process(doomed.pid))
            let living = BrokeredX509Source(client: client, of: try .process(other.pid))
            let more = try TestAgent.entry("more", selector: "unix:uid:2", createdAt: 2)
            async let end = failure { try await dying.run() }
            async let stop = failure { try await living.run() }
            var updates = living.updates.makeAsyncIterator()
            var fates = dying.updates.makeAsyncIterator()
            let before = await updates.next()
            let doom = await fates.next()
            #expect(before?.svids.count == 1)
            #expect(doom?.svids.map(\.id.string) == ["spiffe://acme.test/doomed"])
            doomed.end()
            let ended = await end
            #expect(ended?.code == .workloadNotFound && ended?.reason == "WORKLOAD_NOT_FOUND")
            // Nothing is kept of it, and nothing is given out any more.
            #expect(throws: BrokerError.self) { try dying.x509SVID() }
            #expect(dying.x509Bundle(for: test.agent.trustDomain) == nil)
            test.agent.identities.receive(.entries(EntryChange(upserted: [more])))
            let after = await updates.next()
            #expect(
                after?.svids.map(\.id.string) == [
                    "spiffe://acme.test/other", "spiffe://acme.test/more",
                ])
            #expect(try living.x509SVID().id.string == "spiffe://acme.test/other")
            test.agent.identities.receive(.entries(EntryChange(removedIDs: ["other", "more"])))
            let withdrawn = await updates.next()
            #expect(withdrawn?.svids.isEmpty == true)
            #expect(throws: BrokerError.self) { try living.x509SVID() }
            other.end()
            let stopped = await stop
            #expect(stopped?.code == .workloadNotFound)
        }
    }

    @Test("BRK-32: a PID that nobody has is NOT_FOUND, the agent's own belongs to no workload")
    func notFound() async throws {
        let test = try TestBroker()
        let child = try test.child("unix:uid:1")
        child.end()
        test.agent.synchronise([try TestAgent.entry("a", selector: "unix:uid:1")])
        try await test.run([try TestBroker.policy()]) { running in
            for pid in [child.pid, Int32.max] {
                let error = await failure {
                    _ = try await running.client.fetchX509Context(of: .process(pid))
                }
                #expect(error?.code == .workloadNotFound && error?.reason == "WORKLOAD_NOT_FOUND")
            }
            let own = await failure {
                _ = try await running.client.fetchX509Context(of: .process(getpid()))
            }
            #expect(own?.code == .permissionDenied && own?.reason == "WORKLOAD_NOT_ENTITLED")
        }
    }

    @Test(
        "BEP-03, BEP-04: the client sends the header; a call without it, or with another value, is INVALID_ARGUMENT",
        arguments: [[], ["TRUE"], ["1"], [""], ["true", "true"]])
    func header(values: [String]) async throws {
        let test = try TestBroker()
        let child = try test.child("unix:uid:1")
        test.agent.synchronise([try TestAgent.entry("a", selector: "unix:uid:1")])
        try await test.run([try TestBroker.policy()]) { running in
            var metadata: Metadata = ["workload.spiffe.io": "true"]
            for value in values { metadata.addString(value, forKey: "broker.spiffe.io") }
            let api = try running.api
            let request = try self.request(child.pid)
            let reference = request.reference
            let stream = await self.status {
                try await api.subscribeToX509SVID(request, metadata: metadata) { response in
                    for try await _ in response.messages {}
                }
            }
            let single = await self.status {
                _ = try await api.fetchJWTSVID(
                    .with {
                        $0.reference = reference
                        $0.audience = ["x"]
                    }, metadata: metadata)
            }
            #expect(stream?.code == .invalidArgument && single?.code == .invalidArgument)
            // The same call with the header, by the SDK.
            _ = try await running.client.fetchX509Context(of: .process(child.pid))
        }
    }

    @Test("BEP-09, BRK-22: a caller that is not listed does not get through the handshake")
    func unlisted() async throws {
        let test = try TestBroker()
        let child = try test.child("unix:uid:1")
        test.agent.synchronise([try TestAgent.entry("a", selector: "unix:uid:1")])
        try await test.run([try TestBroker.policy()], as: "/other") { running in
            let error = await failure {
                _ = try await running.client.fetchX509Context(of: .process(child.pid))
            }
            #expect(error?.code == .unavailable)
        }
    }

    @Test("BEP-10: a server with another ID of the same trust domain is not believed")
    func impostor() async throws {
        let test = try TestBroker()
        let child = try test.child("unix:uid:1")
        test.agent.synchronise([try TestAgent.entry("a", selector: "unix:uid:1")])
        let other = try SPIFFEID("spiffe://acme.test/spire/agent/a2")
        try await test.run([try TestBroker.policy()], server: .exactly(other)) { running in
            let error = await failure {
                _ = try await running.client.fetchX509Context(of: .process(child.pid))
            }
            #expect(error?.code == .serverNotTrusted)
        }
    }

    @Test(
        "BRK-09, BRK-23: PIDs over TCP only where the policy says so; workloads outside a broker's selectors never"
    )
    func policies() async throws {
        let pid = BrokerPolicy.pidType
        let cases: [(types: [String: Bool], selectors: [String], overTCP: Bool, isServed: Bool)] = [
            ([pid: false], [], false, true), ([pid: false], [], true, false),
            ([pid: true], [], true, true), (["*": true], [], true, true), ([:], [], false, false),
            ([pid: false], ["unix:uid:1"], false, true),
            ([pid: false], ["unix:uid:1", "unix:uid:9"], false, false),
        ]
        for (types, selectors, overTCP, isServed) in cases {
            let test = try TestBroker()
            let child = try test.child("unix:uid:1")
            test.agent.synchronise([try TestAgent.entry("a", selector: "unix:uid:1")])
            let policy = try TestBroker.policy(types: types, selectors: selectors)
            try await test.run([policy], overTCP: overTCP) { running in
                let error = await failure {
                    _ = try await running.client.fetchX509Context(of: .process(child.pid))
                }
                #expect(
                    error?.code == (isServed ? nil : .permissionDenied),
                    "\(types) \(selectors) \(overTCP)")
                #expect(error?.reason == nil)
            }
        }
    }

    @Test("a thousand streams about one workload share one hold on it and all end with it")
    func thousand() async throws {
        let test = try TestBroker()
        let child = try test.child("unix:uid:1")
        test.agent.synchronise([try TestAgent.entry("a", selector: "unix:uid:1")])
        try await test.run([try TestBroker.policy()]) { running in
            let api = try running.api
            let request = try self.request(child.pid)
            let begun = AsyncStream.makeStream(of: Void.self)
            let codes = try await withThrowingTaskGroup(of: RPCError.Code?.self) { group in
                for _ in 0..<1000 {
                    group.addTask {
                        await self.status {
                            try await api.subscribeToX509SVID(request, metadata: brokerHeader) {
                                response in
                                for try await _ in response.messages { begun.continuation.yield() }
                            }
                        }?.code
                    }
                }
                var count = 0
                for await _ in begun.stream {
                    count += 1
                    if count == 1000 { break }
                }
                child.end()
                return try await group.reduce(into: [RPCError.Code?]()) { $0.append($1) }
            }
            #expect(codes.count == 1000 && codes.allSatisfy { $0 == .notFound })
        }
    }

    @Test(
        "BRK-28, BRK-42, BRK-46: the Workload API's messages have the Broker API's fields, number for number"
    )
    func sameBytes() throws {
        let svids = X509SVIDResponse.with {
            $0.svids = [
                .with {
                    $0.spiffeID = "spiffe://acme.test/a"
                    $0.x509Svid = Data([1])
                    $0.x509SvidKey = Data([2])
                    $0.bundle = Data([3])
                    $0.hint = "h"
                }
            ]
            $0.crl = [Data([4])]
            $0.federatedBundles = ["spiffe://partner.test": Data([5])]
        }
        let brokered = try Spiffe_Broker_SubscribeToX509SVIDResponse(
            serializedBytes: try svids.serializedBytes() as [UInt8])
        #expect(brokered.svids.map(\.spiffeID) == ["spiffe://acme.test/a"])
        #expect(brokered.svids.map(\.x509Svid) == [Data([1])])
        #expect(brokered.svids.map(\.x509SvidKey) == [Data([2])])
        #expect(brokered.svids.map(\.bundle) == [Data([3])] && brokered.svids.map(\.hint) == ["h"])
        #expect(brokered.crl == [Data([4])])
        #expect(brokered.federatedBundles == ["spiffe://partner.test": Data([5])])
        let bundles = X509BundlesResponse.with {
            $0.crl = [Data([4])]
            $0.bundles = ["spiffe://acme.test": Data([5])]
        }
        let brokeredBundles = try Spiffe_Broker_SubscribeToX509BundlesResponse(
            serializedBytes: try bundles.serializedBytes() as [UInt8])
        #expect(brokeredBundles.crl == bundles.crl && brokeredBundles.bundles == bundles.bundles)
        let keys = JWTBundlesResponse.with { $0.bundles = ["spiffe://acme.test": Data([5])] }
        let brokeredKeys = try Spiffe_Broker_SubscribeToJWTBundlesResponse(
            serializedBytes: try keys.serializedBytes() as [UInt8])
        #expect(brokeredKeys.bundles == keys.bundles)
        let tokens = JWTSVIDResponse.with {
            $0.svids = [
                .with {
                    $0.spiffeID = "spiffe://acme.test/a"
                    $0.svid = "t"
                    $0.hint = "h"
                }
            ]
        }
        let brokeredTokens = try Spiffe_Broker_FetchJWTSVIDResponse(
            serializedBytes: try tokens.serializedBytes() as [UInt8])
        #expect(brokeredTokens.svids.map(\.spiffeID) == ["spiffe://acme.test/a"])
        #expect(
            brokeredTokens.svids.map(\.svid) == ["t"] && brokeredTokens.svids.map(\.hint) == ["h"])
    }
}
