import ControlPlaneProto
import Foundation
import GRPCCore
import SPIFFE
import ServerCore
import ServerTestSupport
import Testing

@testable import ServerEndpoints

/// Who gets through the endpoints, over real connections.
@Suite(.timeLimit(.minutes(2))) struct AccessTests {
    private static let getBundle = "spire.api.server.bundle.v1.Bundle/GetBundle"
    private static let listEntries = "spire.api.server.entry.v1.Entry/ListEntries"

    @Test func `without a certificate only GetBundle and AttestAgent are open over TLS`()
        async throws
    {
        try await TestServer.with { server in
            try await server.tls { client in
                for row in CallerPolicyTests.table {
                    let error = try await RawMessage.call(client, row.fullName)
                    switch (row.service, row.method) {
                    case (_, "GetBundle"): #expect(error == nil)
                    case (_, "AttestAgent"): #expect(error?.code == .invalidArgument)
                    // The test's recorder is no ledger.
                    case ("grpc.health.v1.Health", _), ("cygnet.ledger.v1.Ledger", _):
                        #expect(error?.code == .unimplemented)
                    default: #expect(error?.code == .permissionDenied, "\(row.fullName)")
                    }
                }
            }
        }
    }

    @Test func `the operator on the socket may operate and is no agent`() async throws {
        try await TestServer.with { server in
            try await server.local { client in
                for row in CallerPolicyTests.table where row.method != "Watch" {
                    let error = try await RawMessage.call(client, row.fullName)
                    if row.service == "cygnet.sync.v1.Sync" {
                        #expect(error?.code == .unimplemented)
                    } else if row.allowed.contains(.local) {
                        #expect(error?.code != .permissionDenied, "\(row.fullName)")
                    } else {
                        #expect(error?.code == .permissionDenied, "\(row.fullName)")
                    }
                }
            }
        }
    }

    @Test func `a method that does not exist is unimplemented`() async throws {
        try await TestServer.with { server in
            try await server.local { client in
                let error = try await RawMessage.call(
                    client, "spire.api.server.entry.v1.Entry/Nothing")
                #expect(error?.code == .unimplemented)
            }
        }
    }

    @Test func `a certificate of another authority with the right name fails the handshake`()
        async throws
    {
        try await TestServer.with { server in
            let agent = try await server.attest("t1")
            let other = try await TestPlane(clock: server.plane.clock)
            let forged = try await TestIdentity.issued(by: other, agent.id.path)
            let error = try await server.tls(forged) {
                try await RawMessage.call($0, Self.getBundle)
            }
            #expect(error?.code == .unavailable)
            let good = try await server.tls(agent) { try await RawMessage.call($0, Self.getBundle) }
            #expect(good == nil)
        }
    }

    @Test func `an expired certificate fails the handshake`() async throws {
        try await TestServer.with { server in
            server.plane.clock.advance(by: -600)
            let old = try await TestIdentity.issued(by: server.plane, "/w", ttl: 300)
            server.plane.clock.advance(by: 600)
            let error = try await server.tls(old) { try await RawMessage.call($0, Self.getBundle) }
            #expect(error?.code == .unavailable)
        }
    }

    @Test func `an ID of a federated trust domain gets in only when it is listed as an admin`()
        async throws
    {
        let clock = TestClock(Int64(Date().timeIntervalSince1970))
        // A second trust domain whose bundle is known; only its authority matters here.
        let other = try await ForeignDomain(clock: clock)
        let admin = try SPIFFEID("spiffe://other.test/admin")
        try await TestServer.with(adminIDs: [admin], bundles: [other.bundle]) { server in
            let listed = try await other.identity("/admin")
            let unlisted = try await other.identity("/someone")
            let good = try await server.tls(listed) {
                try await RawMessage.call($0, Self.listEntries)
            }
            #expect(good == nil)
            let bad = try await server.tls(unlisted) {
                try await RawMessage.call($0, Self.getBundle)
            }
            #expect(bad?.code == .unavailable)
        }
    }

    @Test func `an entry makes its ID an admin, and taking it away ends that at the next call`()
        async throws
    {
        try await TestServer.with { server in
            let workload = try await TestIdentity.issued(by: server.plane, "/boss")
            try await server.tls(workload) { client in
                #expect(
                    try await RawMessage.call(client, Self.listEntries)?.code == .permissionDenied)
                var entry = try Entry.test("boss", "/boss", parent: "/spire/agent/x/1")
                entry.admin = true
                _ = try await server.plane.store.createEntries([entry])
                #expect(try await RawMessage.call(client, Self.listEntries) == nil)
                _ = try await server.plane.store.deleteEntries(["boss"])
                #expect(
                    try await RawMessage.call(client, Self.listEntries)?.code == .permissionDenied)
            }
        }
    }

    @Test(
        arguments: [
            [0xFF], [0x0A, 0x05, 0x01], [0x08], [UInt8](repeating: 0x80, count: 100),
        ] as [[UInt8]])
    func `a message that is no protobuf fails its call and nothing else`(bytes: [UInt8])
        async throws
    {
        try await TestServer.with { server in
            try await server.local { client in
                for method in [Self.listEntries, "spire.api.server.agent.v1.Agent/AttestAgent"] {
                    let error = try #require(try await RawMessage.call(client, method, bytes))
                    #expect(error.code != .permissionDenied)
                }
                #expect(try await RawMessage.call(client, Self.getBundle) == nil)
            }
        }
    }

    @Test func `a message over 4 MiB is refused over TLS and the connection lives on`() async throws
    {
        try await TestServer.with { server in
            try await server.tls { client in
                // An unknown field 15 of 5 MiB.
                let size = 5 * 1024 * 1024
                let bytes = [0x7A, 0x80, 0x80, 0xC0, 0x02] + [UInt8](repeating: 0, count: size)
                let error = try await RawMessage.call(client, Self.getBundle, bytes)
                #expect(error != nil)
                #expect(try await RawMessage.call(client, Self.getBundle) == nil)
            }
        }
    }

    @Test func `a call without a known peer reaches no handler`() async throws {
        let plane = try await TestPlane()
        let interceptor = AuthorizationInterceptor(
            CallGate(
                policy: CallerPolicy(
                    methods: MethodPolicy.methods, adminIDs: [], directory: plane.directory,
                    nodes: plane.nodes),
                bundles: DirectoryBundleSource(directory: plane.directory),
                limits: RateLimits(attestation: false, signing: false), logger: TestPlane.logger,
                logsAccess: false, issuer: plane.issuer,
                log: OperatorLog(recorder: plane.recorder, changes: plane.changes)))
        let error = await #expect(throws: RPCError.self) {
            try await withServerContextRPCCancellationHandle { handle in
                let context = ServerContext(
                    descriptor: MethodDescriptor(
                        fullyQualifiedService: "spire.api.server.bundle.v1.Bundle",
                        method: "GetBundle"),
                    remotePeer: "in-process", localPeer: "in-process", cancellation: handle)
                _ = try await interceptor.intercept(
                    request: StreamingServerRequest<[UInt8]>(
                        single: ServerRequest(metadata: [:], message: [])),
                    context: context
                ) { _, _ -> StreamingServerResponse<[UInt8]> in
                    Issue.record("the handler was reached")
                    return StreamingServerResponse(single: ServerResponse(message: []))
                }
            }
        }
        #expect(error?.code == .internalError)
        #expect(error?.message.contains("peer") == false, "inner words stay in the log")
    }
}
