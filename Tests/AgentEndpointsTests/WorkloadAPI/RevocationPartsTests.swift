import AgentCore
import Foundation
import GRPCCore
import NIOConcurrencyHelpers
import NIOCore
import PluginAPI
import SPIFFE
import SwiftProtobuf
import Testing
import WorkloadAPIProto

@testable import AgentEndpoints

private typealias Response = Cygnet_Workload_V1_FetchRevocationsResponse

/// A process that lives and stays what it is.
private struct Living: WorkloadProcess {
    let pid: Int32 = 4711
    let startTime: UInt64 = 1
    let uid: UInt32 = 1000
    let isAlive = true

    func isConnector(_ now: ProcessFingerprint) -> Bool { true }
    func watchEnd(_ action: @escaping @Sendable () -> Void) -> (any Sendable)? { nil }
    func fingerprint() -> ProcessFingerprint? {
        ProcessFingerprint(executable: nil, ids: Array(repeating: 1000, count: 8))
    }
}

@Suite("States of revocations in parts", .timeLimit(.minutes(1)))
struct RevocationPartsTests {
    private let security: Metadata = ["workload.spiffe.io": "true"]

    private func revoke(_ agent: TestAgent, _ statusLists: [String: String], tokens: Int = 0) {
        agent.identities.receive(
            .revocations(
                RevocationChange(upserted: [
                    DomainRevocations(
                        trustDomain: agent.trustDomain, crls: [], statusLists: statusLists,
                        revokedTokens: (0..<tokens).compactMap {
                            SigningInputDigest(ofToken: "h.\($0).s")
                        })
                ])))
    }

    private func agent() throws -> TestAgent {
        let agent = try TestAgent()
        agent.synchronise([try TestAgent.entry("a")])
        return agent
    }

    // MARK: Cutting

    @Test("cut at the limit: nothing is lost, no part is empty, only the last says that it is")
    func cut() throws {
        for (length, parts) in [(1, 1), (7, 1), (8, 2), (14, 2), (15, 3)] {
            let state = (0..<length).map { UInt8($0) }
            let messages = try RevocationParts.messages(state, longestPart: 7)
            #expect(messages.count == parts)
            if parts == 1 {
                #expect(messages == [state])
                continue
            }
            let read = try messages.map { try Response(serializedBytes: $0) }
            #expect(read.map(\.more) == Array(repeating: true, count: parts - 1) + [false])
            #expect(read.allSatisfy { (1...7).contains($0.part.count) && $0.trustDomains.isEmpty })
            #expect(read.flatMap(\.part) == state)
        }
        #expect(try RevocationParts.messages([]) == [[]], "an empty state is a message, too")
    }

    // MARK: On the socket

    @Test("who takes parts gets bounded ones, who does not gets the same state in one message")
    func both() async throws {
        let agent = try self.agent()
        // Neither the list nor the digests would fit by themselves.
        let list = String(repeating: "a", count: 2_500_000)
        self.revoke(agent, ["https://s.test": list], tokens: 40_000)
        try await agent.run { _, raw in
            let client = Cygnet_Workload_V1_WorkloadRevocations.Client(wrapping: raw)
            var options = CallOptions.defaults
            options.maxResponseMessageBytes = 64 * 1024 * 1024
            let whole = try await client.fetchRevocations(
                .init(), metadata: self.security, options: options
            ) { response in
                var messages = response.messages.makeAsyncIterator()
                return try await messages.next()
            }
            let state = try #require(whole)
            #expect(state.trustDomains.first?.statusLists.map(\.token) == [list])
            #expect(state.trustDomains.first?.revokedTokens.count == 40_000)
            #expect(!state.more && state.part.isEmpty)

            // gRPC's own limit, 4 MiB, holds here.
            try await client.fetchRevocations(
                .with { $0.takesParts = true }, metadata: self.security
            ) { response in
                var messages = response.messages.makeAsyncIterator()
                var joined: [UInt8] = []
                var parts = 0
                while let message = try await messages.next() {
                    #expect(message.trustDomains.isEmpty)
                    #expect((1...1_048_576).contains(message.part.count))
                    joined += message.part
                    parts += 1
                    if !message.more { break }
                }
                #expect(parts == 4)
                #expect(try Response(serializedBytes: joined) == state)
                // A short one comes as ever.
                self.revoke(agent, [:])
                let short = try await messages.next()
                #expect(short?.trustDomains.map(\.trustDomain) == ["acme.test"])
                #expect(short?.part.isEmpty == true && short?.more == false)
            }
        }
    }

    // MARK: The order

    private func part(_ framed: ByteBuffer?) throws -> Response {
        // One byte for compression, four for the length.
        let bytes = Array(try #require(framed).readableBytesView.dropFirst(5))
        return try Response(serializedBytes: bytes)
    }

    @Test(
        "a state that has begun goes out whole, then the newest; one that was overtaken never does")
    func order() async throws {
        let agent = try self.agent()
        let lists = ["x", "y", "z"].map { String(repeating: $0, count: 2_500_000) }
        self.revoke(agent, ["https://s.test": lists[0]])
        let attested = try await agent.api.attestation.attest(Living())
        let announced = NIOLockedValueBox(0)
        let stream = WorkloadStream(
            .revocations, Living(), attested, takesParts: true, isFresh: false, api: agent.api,
            announce: { announced.withLockedValue { $0 += 1 } })
        func state() throws -> String? {
            var joined: [UInt8] = []
            while true {
                let part = try self.part(try stream.next())
                joined += part.part
                if !part.more { break }
            }
            return try Response(serializedBytes: joined).trustDomains.first?.statusLists.first?
                .token
        }
        let first = try self.part(try stream.next())
        #expect(first.more)
        // Whoever sends is to come back for the rest.
        #expect(announced.withLockedValue { $0 } > 0)
        self.revoke(agent, ["https://s.test": lists[1]])
        self.revoke(agent, ["https://s.test": lists[2]])
        var rest: [UInt8] = Array(first.part)
        while true {
            let part = try self.part(try stream.next())
            rest += part.part
            if !part.more { break }
        }
        #expect(
            try Response(serializedBytes: rest).trustDomains.first?.statusLists.first?.token
                == lists[0])
        #expect(try state() == lists[2])
        #expect(try stream.next() == nil)
        stream.close()
    }

    @Test("the end of a stream does not wait for the rest of a state")
    func end() async throws {
        let agent = try self.agent()
        self.revoke(agent, ["https://s.test": String(repeating: "x", count: 2_500_000)])
        let attested = try await agent.api.attestation.attest(Living())
        let stream = WorkloadStream(
            .revocations, Living(), attested, takesParts: true, isFresh: false, api: agent.api,
            announce: {})
        #expect(try self.part(try stream.next()).more)
        agent.identities.receive(.entries(EntryChange(isSnapshot: true, upserted: [])))
        let refusal = #expect(throws: WorkloadRefusal.self) { try stream.next() }
        #expect(refusal?.code == .noIdentity)
        stream.close()
    }
}
