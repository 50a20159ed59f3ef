import AgentCore
import Foundation
import GRPCCore
import GRPCProtobuf
import NIOConcurrencyHelpers
import PluginAPI
import SPIFFE
import SPIFFEWorkloadAPI
import SwiftProtobuf
import Testing
import WorkloadAPIProto

@testable import AgentEndpoints
@testable import SPIFFEBroker

/// What of a broker's access is written down, and what ends it.
@Suite("Access of brokers", .timeLimit(.minutes(3)))
struct BrokerAccessTests {
    private typealias Request = Spiffe_Broker_SubscribeToX509SVIDRequest
    private typealias Response = Spiffe_Broker_SubscribeToX509SVIDResponse
    private static let header: Metadata = ["broker.spiffe.io": "true"]

    @Test("the log names every identity handed out: tokens, and those that come later on a stream")
    func log() async throws {
        let test = try TestBroker()
        let child = try test.child("unix:uid:1")
        test.agent.synchronise([try TestAgent.entry("a", selector: "unix:uid:1")])
        try await test.run([try TestBroker.policy()]) { running in
            let workload = try SPIFFEBroker.WorkloadReference.process(child.pid)
            // Signed for the first call, held for the second.
            for _ in 0..<2 {
                _ = try await running.client.fetchJWTSVIDs(of: workload, audience: ["x"])
            }
            let source = BrokeredX509Source(client: running.client, of: workload)
            async let end = failure { try await source.run() }
            var updates = source.updates.makeAsyncIterator()
            _ = await updates.next()
            test.agent.identities.receive(
                .entries(
                    EntryChange(upserted: [
                        try TestAgent.entry("b", selector: "unix:uid:1", createdAt: 1)
                    ])))
            _ = await updates.next()
            child.end()
            _ = await end
        }
        let (a, b) = ("spiffe://acme.test/a", "spiffe://acme.test/b")
        #expect(
            test.log.handed == [
                "FetchJWTSVID \(a)", "FetchJWTSVID \(a)", "SubscribeToX509SVID \(a)",
                "SubscribeToX509SVID \(a) \(b)",
            ])
    }

    @Test("a broker whose X509-SVID has expired by the clock gets no message more, timer or not")
    func sleep() async throws {
        let test = try TestBroker()
        let child = try test.child("unix:uid:1")
        test.agent.synchronise([try TestAgent.entry("a", selector: "unix:uid:1")])
        try await test.run([try TestBroker.policy()]) { running in
            let reference = try SPIFFEBroker.WorkloadReference.process(child.pid).message
            let more = try TestAgent.entry("b", selector: "unix:uid:1", createdAt: 1)
            let api = try running.api
            let counts = NIOLockedValueBox([Int]())
            let error = await #expect(throws: RPCError.self) {
                try await api.subscribeToX509SVID(
                    .with { $0.reference = reference }, metadata: Self.header
                ) { response in
                    for try await message in response.messages {
                        let count = counts.withLockedValue {
                            $0.append(message.svids.count)
                            return $0.count
                        }
                        if count > 1 { return }
                        // The test's X509-SVID lasts an hour, and the machine sleeps for two.
                        test.clockOffset.withLockedValue { $0 = 7200 }
                        test.agent.identities.receive(.entries(EntryChange(upserted: [more])))
                    }
                }
            }
            #expect(error?.code == .unauthenticated)
            #expect(counts.withLockedValue { $0 } == [1])
        }
    }

    @Test("a call counts from its beginning, before its request has come")
    func count() async throws {
        let test = try TestBroker()
        let child = try test.child("unix:uid:1")
        test.agent.synchronise([try TestAgent.entry("a", selector: "unix:uid:1")])
        try await test.run([try TestBroker.policy()], maximumCalls: 1) { running in
            let client = try running.connections.connection().client
            let api = try running.api
            let reference = try SPIFFEBroker.WorkloadReference.process(child.pid).message
            let refused = NIOLockedValueBox<RPCError?>(nil)
            let request = StreamingClientRequest<Request>(metadata: Self.header) { _ in
                // The head of this call has left; its message never does. It goes by another connection than the calls
                // that follow, which are made until it has been noticed.
                for _ in 0..<500 where refused.withLockedValue({ $0 }) == nil {
                    do {
                        _ = try await api.fetchJWTSVID(
                            .with {
                                $0.reference = reference
                                $0.audience = ["x"]
                            }, metadata: Self.header)
                        try await Task.sleep(for: .milliseconds(2))
                    } catch {
                        refused.withLockedValue { $0 = error as? RPCError }
                    }
                }
            }
            // With the method's own descriptor the client would hold the head back until there is a message.
            let method = Spiffe_Broker_API.Method.SubscribeToX509SVID.descriptor
            let descriptor = MethodDescriptor(
                service: method.service, method: method.method, type: .bidirectionalStreaming)
            let error = await #expect(throws: RPCError.self) {
                try await client.bidirectionalStreaming(
                    request: request, descriptor: descriptor,
                    serializer: ProtobufSerializer<Request>(),
                    deserializer: ProtobufDeserializer<Response>(), options: .defaults
                ) { response in
                    for try await _ in response.messages {}
                }
            }
            #expect(error?.code == .internalError)
            #expect(refused.withLockedValue { $0?.code } == .unavailable)
            #expect(
                refused.withLockedValue { $0?.message }
                    == "brokers have too many calls open at this agent")
            // The place is free again.
            let tokens = try await running.client.fetchJWTSVIDs(
                of: .process(child.pid), audience: ["x"])
            #expect(tokens.count == 1)
        }
    }
}
