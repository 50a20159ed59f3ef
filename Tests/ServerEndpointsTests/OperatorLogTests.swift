import ControlPlaneProto
import Crypto
import Foundation
import GRPCCore
import SPIFFE
import ServerCore
import ServerTestSupport
import SwiftProtobuf
import Testing
import Transparency
import X509

private typealias Agents = Spire_Api_Server_Agent_V1_Agent
private typealias Entries = Spire_Api_Server_Entry_V1_Entry
private typealias SVIDs = Spire_Api_Server_Svid_V1_SVID
private typealias Health = Grpc_Health_V1_Health

/// Which calls are in the ledger, and when.
@Suite(.timeLimit(.minutes(2))) struct OperatorLogTests {
    private static let full = ServerError(.unavailable, "disk is full")
    private static let service = "spire.api.server.entry.v1.Entry/"

    private static var operatorName: String { "uid:\(getuid())" }

    private static func creation(
        _ id: String
    ) -> Spire_Api_Server_Entry_V1_BatchCreateEntryRequest {
        .with {
            $0.entries = [
                .with {
                    $0.id = id
                    $0.spiffeID = Spire_Api_Types_SPIFFEID("/" + id)
                    $0.parentID = Spire_Api_Types_SPIFFEID("/spire/agent/x/1")
                    $0.selectors = [Spire_Api_Types_Selector("unix", "uid:1")]
                }
            ]
        }
    }

    @Test func `a change is in the ledger with its call before it is answered`() async throws {
        try await TestServer.with { server in
            let request = Self.creation("e1")
            _ = try await server.local { client in
                try await Entries.Client(wrapping: client).batchCreateEntry(request)
            }
            let events = server.plane.recorder.events.suffix(2).map { $0 }
            guard case .change(let change) = events[0], case .adminCall(let call) = events[1] else {
                Issue.record("\(events.map(\.type))")
                return
            }
            #expect(change.subject == "e1" && change.action == .created)
            #expect(change.caller == Self.operatorName && change.seq != nil)
            #expect(call.method == Self.service + "BatchCreateEntry" && call.status == "OK")
            #expect(call.caller == Self.operatorName)
            let bytes: [UInt8] = try request.serializedBytes()
            #expect(call.requestDigest == Array(SHA256.hash(data: bytes)))
            #expect(!server.plane.recorder.enqueued.contains(events[1]))
        }
    }

    @Test func `a call that cannot be recorded fails, and what it changed is recorded later`()
        async throws
    {
        try await TestServer.with { server in
            let recorder = server.plane.recorder
            recorder.fail(Self.full)
            try await server.local { client in
                let error = await #expect(throws: RPCError.self) {
                    try await Entries.Client(wrapping: client).batchCreateEntry(
                        Self.creation("e1"))
                }
                #expect(error?.code == .unavailable)
                #expect(error?.message.contains("disk is full") == true)
                // Reading goes on.
                let count = try await Entries.Client(wrapping: client).countEntries(.init()).count
                #expect(count == 1)
            }
            #expect(recorder.changes.filter { $0.kind == .entry }.isEmpty)
            recorder.fail(nil)
            try await server.plane.changes.flush()
            #expect(recorder.changes.last?.subject == "e1")
            #expect(recorder.changes.last?.caller == Self.operatorName)
        }
    }

    @Test func `calls that only read, fail or mint have their leaf, and nobody waits for it`()
        async throws
    {
        try await TestServer.with { server in
            try await server.local { client in
                let agents = Agents.Client(wrapping: client)
                _ = try await agents.listAgents(.init())
                await #expect(throws: RPCError.self) { try await agents.getAgent(.init()) }
                let csr = try TestRequest.der(names: [
                    .uniformResourceIdentifier("spiffe://acme.test/w")
                ])
                _ = try await SVIDs.Client(wrapping: client).mintX509SVID(.with { $0.csr = csr })
                _ = try await SVIDs.Client(wrapping: client).mintJWTSVID(
                    .with {
                        $0.id = Spire_Api_Types_SPIFFEID("/w")
                        $0.audience = ["a"]
                    })
            }
            let calls = server.plane.recorder.calls
            #expect(
                calls.map { $0.method.split(separator: "/").last } == [
                    "ListAgents", "GetAgent", "MintX509SVID", "MintJWTSVID",
                ])
            #expect(calls.map(\.status) == ["OK", "INVALID_ARGUMENT", "OK", "OK"])
            #expect(calls.allSatisfy { $0.caller == Self.operatorName && $0.requestDigest != nil })
            #expect(
                server.plane.recorder.enqueued == calls.map { LeafEvent.adminCall($0) })
            #expect(
                server.plane.recorder.issued.suffix(2).map(\.caller) == [
                    Self.operatorName, Self.operatorName,
                ])
        }
    }

    @Test func `a change that fails is recorded with its status, a token leaves no digest`()
        async throws
    {
        try await TestServer.with { server in
            try await server.local { client in
                let agents = Agents.Client(wrapping: client)
                await #expect(throws: RPCError.self) {
                    try await agents.banAgent(
                        .with { $0.id = Spire_Api_Types_SPIFFEID("/spire/agent/x/1") })
                }
                _ = try await agents.createJoinToken(
                    .with {
                        $0.token = "short"
                        $0.ttl = 60
                    })
            }
            let calls = server.plane.recorder.calls
            #expect(calls.map(\.status) == ["NOT_FOUND", "OK"])
            #expect(calls.map { $0.requestDigest == nil } == [false, true])
            for event in server.plane.recorder.events {
                let leaf = try Leaf(time: LeafTime(seconds: 0), event: event).encode()
                #expect(!String(decoding: leaf, as: UTF8.self).contains("short"))
            }
        }
    }

    @Test func `an agent that calls as an operator is recorded, who shows no identity is not`()
        async throws
    {
        try await TestServer.with { server in
            let agent = try await server.attest("t1")
            try await server.tls { client in
                let answer = try await RawMessage.call(client, Self.service + "BatchDeleteEntry")
                #expect(answer?.code == .permissionDenied)
            }
            #expect(server.plane.recorder.calls.isEmpty)
            try await server.tls(agent) { client in
                let answer = try await RawMessage.call(client, Self.service + "BatchDeleteEntry")
                #expect(answer?.code == .permissionDenied)
                _ = try await Entries.Client(wrapping: client).getAuthorizedEntries(.init())
            }
            let calls = server.plane.recorder.calls
            #expect(calls.map(\.status) == ["PERMISSION_DENIED"])
            #expect(calls.map(\.caller) == [agent.id.string])
        }
    }

    @Test func `SVIDs that an agent does not get have a leaf each`() async throws {
        try await TestServer.with { server in
            let agent = try await server.attest("t1")
            _ = try await server.plane.store.createEntries([
                .test("own", "/own", parent: agent.id.path), .test("other", "/o", parent: "/p"),
            ])
            let csr = try TestRequest.der()
            try await server.tls(agent) { client in
                let svids = SVIDs.Client(wrapping: client)
                _ = try await svids.batchNewX509SVID(
                    .with {
                        $0.params = ["other", "own", "none"].map { id in
                            .with {
                                $0.entryID = id
                                $0.csr = csr
                            }
                        }
                    })
                for audience in [["a"], []] {
                    await #expect(throws: RPCError.self) {
                        try await svids.newJWTSVID(
                            .with {
                                $0.entryID = audience.isEmpty ? "own" : "other"
                                $0.audience = audience
                            })
                    }
                }
                try await server.plane.nodes.ban(agent.id)
                await #expect(throws: RPCError.self) {
                    try await svids.newJWTSVID(.with { $0.entryID = "own" })
                }
            }
            let refused = server.plane.recorder.refused
            #expect(
                refused.map(\.reason) == [
                    "unauthorized", "unauthorized", "unauthorized", "invalid_request", "banned",
                ])
            #expect(refused.map(\.svidType) == [.x509, .x509, .jwt, .jwt, .jwt])
            #expect(refused.map(\.entryID) == ["other", "none", "other", "own", nil])
            #expect(refused.allSatisfy { $0.node == agent.id && $0.caller == agent.id.string })
            #expect(server.plane.recorder.issued.compactMap(\.entryID) == ["own"])
        }
    }

    @Test func `a refused attestation is recorded without the token`() async throws {
        try await TestServer.with { server in
            await #expect(throws: ServerError.self) {
                try await server.plane.nodes.attest(
                    joinToken: "s3cr3t",
                    publicKey: try PublicKeys.parse(
                        [UInt8](
                            P256.Signing.PrivateKey().publicKey.derRepresentation)),
                    from: "192.0.2.1")
            }
            let leaf = try #require(server.plane.recorder.refused.first)
            #expect(leaf.reason == "invalid_request" && leaf.caller == "192.0.2.1")
            #expect(leaf.spiffeID == nil && leaf.node == nil && leaf.svidType == .x509)
        }
    }

    @Test func `health is red while the ledger cannot be written`() async throws {
        try await TestServer.with { server in
            try await server.local { client in
                let health = Health.Client(wrapping: client)
                #expect(try await health.check(.init()).status == .serving)
                server.plane.recorder.fail(Self.full)
                #expect(try await health.check(.init()).status == .notServing)
                #expect(try await health.list(.init()).statuses[""]?.status == .notServing)
                server.plane.recorder.fail(nil)
                #expect(try await health.check(.init()).status == .serving)
                try await health.watch(.init()) { response in
                    var seen: [Grpc_Health_V1_HealthCheckResponse.ServingStatus] = []
                    for try await message in response.messages {
                        seen.append(message.status)
                        switch seen.count {
                        case 1: server.plane.recorder.fail(Self.full)
                        case 2: server.plane.recorder.fail(nil)
                        default:
                            #expect(seen == [.serving, .notServing, .serving])
                            return
                        }
                    }
                }
            }
            #expect(server.plane.recorder.calls.isEmpty, "health checks are nobody's calls")
        }
    }
}
