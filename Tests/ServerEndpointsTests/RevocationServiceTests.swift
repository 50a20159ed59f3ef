import ControlPlaneProto
import GRPCCore
import SPIFFE
import ServerCore
import ServerTestSupport
import SwiftProtobuf
import Testing

@testable import ServerEndpoints

private typealias Revocations = Cygnet_Revocation_V1_Revocations
private typealias Request = Cygnet_Revocation_V1_CreateRevocationRequest

@Suite(.timeLimit(.minutes(2))) struct RevocationServiceTests {
    private static func withClient(
        _ body:
            @escaping @Sendable (Revocations.Client<ClientTransportInUse>, TestServer) async throws
            -> Void
    ) async throws {
        try await TestServer.with { server in
            try await server.local { try await body(Revocations.Client(wrapping: $0), server) }
        }
    }

    private static func code(_ body: () async throws -> Void) async -> RPCError.Code? {
        await #expect(throws: RPCError.self) { try await body() }?.code
    }

    @Test func `targets of every kind go there and back`() async throws {
        try await Self.withClient { client, _ in
            let targets: [Cygnet_Revocation_V1_Target] = [
                .with { $0.spiffeID = "spiffe://acme.test/a" }, .with { $0.pathPrefix = "/a/b" },
                .with { $0.entryID = "e" }, .with { $0.serial = "ab" }, .with { $0.jti = "j" },
                .with { $0.agentID = "spiffe://acme.test/spire/agent/x/1" },
                .with { $0.selector = Spire_Api_Types_Selector("docker", "image:a:b") },
                .with { $0.authorityID = "0a" },
            ]
            for target in targets {
                let made = try await client.createRevocation(
                    .with {
                        $0.target = target
                        $0.reason = "r"
                        $0.suspension = true
                    })
                #expect(made.revocation.target == target && made.revocation.suspension)
                #expect(made.revocation.caller.hasPrefix("uid:") && made.hasHits)
                let got = try await client.getRevocation(.with { $0.id = made.revocation.id })
                #expect(got == made.revocation)
            }
            var ids: [String] = []
            var request = Cygnet_Revocation_V1_ListRevocationsRequest.with { $0.pageSize = 3 }
            repeat {
                let page = try await client.listRevocations(request)
                #expect(page.revocations.count <= 3)
                ids += page.revocations.map(\.id)
                request.pageToken = page.nextPageToken
            } while !request.pageToken.isEmpty
            #expect(ids.count == targets.count && Set(ids).count == ids.count)
            for id in ids {
                let lifted = try await client.liftRevocation(.with { $0.id = id })
                #expect(lifted.revocation.id == id)
            }
            #expect(try await client.listRevocations(.init()).revocations.isEmpty)
        }
    }

    /// Each is refused.
    private static let bad: [Request] = [
        .init(),
        .with { $0.target = .init() },
        .with { $0.target.spiffeID = "spiffe://other.test/a" },
        .with { $0.target.spiffeID = "spiffe://acme.test/spire/server" },
        .with { $0.target.pathPrefix = "/" },
        .with { $0.target.selector = .init() },
        .with { $0.target.serial = "0A" },
        .with {
            $0.target.serial = "a"
            $0.andChildren = true
        },
        .with {
            $0.target.pathPrefix = "/a"
            $0.expiresAt = -1
        },
        .with {
            $0.target.pathPrefix = "/a"
            $0.expiresAt = 1
        },
        .with {
            $0.target.pathPrefix = "/a"
            $0.suspension = true
            $0.replace = true
        },
        .with {
            $0.target.pathPrefix = "/a"
            $0.reason = String(repeating: "x", count: 1_025)
        },
    ]

    @Test func `malformed requests are refused and change nothing`() async throws {
        try await Self.withClient { client, server in
            for request in Self.bad {
                for isDry in [false, true] {
                    var request = request
                    request.dryRun = isDry
                    let code = await Self.code { _ = try await client.createRevocation(request) }
                    #expect(code == .invalidArgument, "\(request)")
                }
            }
            #expect(server.plane.revocations.list().isEmpty)
        }
    }

    @Test func `malformed questions are refused`() async throws {
        try await Self.withClient { client, _ in
            let unnamed = await Self.code { _ = try await client.getRevocation(.init()) }
            #expect(unnamed == .invalidArgument)
            let named = Cygnet_Revocation_V1_GetRevocationRequest.with { $0.id = "x" }
            let unknown = await Self.code { _ = try await client.getRevocation(named) }
            #expect(unknown == .notFound)
        }
    }

    @Test(arguments: ["x", "1", "1.", ".a", "a.b"])
    func `malformed page tokens are refused`(_ token: String) async throws {
        try await Self.withClient { client, _ in
            let request = Cygnet_Revocation_V1_ListRevocationsRequest.with { $0.pageToken = token }
            let code = await Self.code { _ = try await client.listRevocations(request) }
            #expect(code == .invalidArgument)
        }
    }

    @Test func `a page of less than nothing is refused`() async throws {
        try await Self.withClient { client, _ in
            let request = Cygnet_Revocation_V1_ListRevocationsRequest.with { $0.pageSize = -1 }
            let code = await Self.code { _ = try await client.listRevocations(request) }
            #expect(code == .invalidArgument)
        }
    }

    @Test(arguments: [-1, 60_001] as [Int32])
    func `waiting outside of its bounds is refused`(_ milliseconds: Int32) async throws {
        try await Self.withClient { client, _ in
            let request = Cygnet_Revocation_V1_AwaitRevocationRequest.with {
                $0.timeoutMs = milliseconds
            }
            let code = await Self.code { _ = try await client.awaitRevocation(request) }
            #expect(code == .invalidArgument)
        }
    }

    @Test func `a dry run makes none, a final one is not lifted, and waiting names who is missing`()
        async throws
    {
        try await Self.withClient { client, server in
            let dry = try await client.createRevocation(
                .with {
                    $0.target.pathPrefix = "/a"
                    $0.dryRun = true
                })
            #expect(!dry.hasRevocation && dry.hasHits)
            let made = try await client.createRevocation(.with { $0.target.pathPrefix = "/a" })
            let id = made.revocation.id
            #expect(
                await Self.code { _ = try await client.liftRevocation(.with { $0.id = id }) }
                    == .failedPrecondition)
            let missing = try server.plane.id("/spire/agent/x/1")
            server.plane.holders.answer(
                RevocationConfirmations(
                    agents: 2, confirmed: 1, lastConfirmation: .microseconds(1),
                    waitingFor: [missing]))
            let waited = try await client.awaitRevocation(.with { $0.id = id })
            #expect(waited.agents == 2 && waited.confirmed == 1 && waited.lastConfirmationUs > 0)
            #expect(waited.waitingFor == [missing.string])
        }
    }

    @Test func `agents and strangers may not call it`() async throws {
        try await TestServer.with { server in
            let agent = try await server.attest("t1")
            for identity in [agent, nil] as [TestIdentity?] {
                try await server.tls(identity) { client in
                    let code = await Self.code {
                        _ = try await Revocations.Client(wrapping: client).listRevocations(.init())
                    }
                    #expect(code == .permissionDenied)
                }
            }
        }
    }
}
