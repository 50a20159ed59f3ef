import ControlPlaneProto
import Crypto
import Foundation
import GRPCCore
import SPIFFE
import ServerCore
import ServerTestSupport
import SwiftProtobuf
import Testing
import X509

private typealias Agents = Spire_Api_Server_Agent_V1_Agent
typealias AttestParams = Spire_Api_Server_Agent_V1_AttestAgentRequest.Params

@Suite(.timeLimit(.minutes(2))) struct AgentServiceTests {
    /// One attestation over a connection without certificate.
    private static func attest(
        _ server: TestServer, _ change: @escaping @Sendable (inout AttestParams) throws -> Void
    ) async throws -> Spire_Api_Server_Agent_V1_AttestAgentResponse.Result {
        var params = AttestParams.with {
            $0.data.type = "join_token"
            $0.data.payload = Data("t1".utf8)
        }
        params.params.csr = try TestRequest.der()
        try change(&params)
        let first = params
        return try await server.tls { client in
            try await Agents.Client(wrapping: client).attestAgent { writer in
                try await writer.write(.with { $0.params = first })
            } onResponse: { response in
                for try await message in response.messages { return message.result }
                throw RPCError(code: .dataLoss, message: "no answer")
            }
        }
    }

    private static func token(_ server: TestServer, _ value: String = "t1", ttl: Int32 = 60)
        async throws
    {
        _ = try await server.local { client in
            try await Agents.Client(wrapping: client).createJoinToken(
                .with {
                    $0.token = value
                    $0.ttl = ttl
                })
        }
    }

    @Test func `an agent attests, renews, reports, and is told when it is banned`() async throws {
        try await TestServer.with { server in
            try await Self.token(server)
            let key = P256.Signing.PrivateKey()
            let csr = try TestRequest.der(Certificate.PrivateKey(key))
            let result = try await Self.attest(server) { $0.params.csr = csr }
            #expect(result.svid.id.path == "/spire/agent/join_token/t1")
            #expect(!result.reattestable)
            let agent = try Self.identity(result.svid, key, server)
            let newKey = P256.Signing.PrivateKey()
            let newCSR = try TestRequest.der(Certificate.PrivateKey(newKey))
            let renewed = try await server.tls(agent) { client in
                let agents = Agents.Client(wrapping: client)
                _ = try await agents.postStatus(.with { $0.agentVersion = "9.9" })
                return try await agents.renewAgent(.with { $0.params.csr = newCSR }).svid
            }
            let successor = try Self.identity(renewed, newKey, server)
            try await server.tls(successor) { client in
                _ = try await Agents.Client(wrapping: client).postStatus(
                    .with { $0.agentVersion = "9.9" })
            }
            try await server.tls(agent) { client in
                let old = await #expect(throws: RPCError.self) {
                    try await Agents.Client(wrapping: client).postStatus(.init())
                }
                #expect(old?.code == .permissionDenied)
                #expect(old?.agentReason == .agentNotActive)
            }
            try await server.local { client in
                let agents = Agents.Client(wrapping: client)
                let found = try await agents.getAgent(.with { $0.id = result.svid.id })
                #expect(found.agentVersion == "9.9" && !found.banned)
                _ = try await agents.banAgent(.with { $0.id = result.svid.id })
                #expect(try await agents.getAgent(.with { $0.id = result.svid.id }).banned)
            }
            try await server.tls(successor) { client in
                let banned = await #expect(throws: RPCError.self) {
                    try await Agents.Client(wrapping: client).postStatus(.init())
                }
                #expect(banned?.agentReason == .agentBanned)
            }
            try await Self.token(server)
            let again = await #expect(throws: RPCError.self) {
                try await Self.attest(server) { _ in }
            }
            #expect(again?.code == .permissionDenied)
            #expect(again?.agentReason == .agentBanned)
        }
    }

    private static func identity(
        _ svid: Spire_Api_Types_X509SVID, _ key: P256.Signing.PrivateKey, _ server: TestServer
    ) throws -> TestIdentity {
        TestIdentity(
            chain: svid.certChain.map { [UInt8]($0) }, key: key,
            id: try server.plane.id(svid.id.path))
    }

    struct Refusal: Sendable, CustomTestStringConvertible {
        let name: String
        let code: RPCError.Code
        let change: @Sendable (inout AttestParams) throws -> Void
        var testDescription: String { self.name }
    }

    private static let refusals: [Refusal] = [
        Refusal(name: "no data", code: .invalidArgument) { $0.clearData() },
        Refusal(name: "no params", code: .invalidArgument) { $0.clearParams() },
        Refusal(name: "no type", code: .invalidArgument) { $0.data.type = "" },
        Refusal(name: "no payload", code: .invalidArgument) { $0.data.payload = Data() },
        Refusal(name: "no CSR", code: .invalidArgument) { $0.params.csr = Data() },
        Refusal(name: "garbage CSR", code: .invalidArgument) { $0.params.csr = Data([1, 2]) },
        Refusal(name: "weak key", code: .invalidArgument) {
            $0.params.csr = try TestRequest.der(Certificate.PrivateKey(P521.Signing.PrivateKey()))
        },
        Refusal(name: "unknown attestor", code: .failedPrecondition) { $0.data.type = "aws_iid" },
        Refusal(name: "unknown token", code: .invalidArgument) {
            $0.data.payload = Data("none".utf8)
        },
        Refusal(name: "token with a slash", code: .invalidArgument) {
            $0.data.payload = Data("t1/".utf8)
        },
        Refusal(name: "token that is no UTF-8", code: .invalidArgument) {
            $0.data.payload = Data([0xFF])
        },
        Refusal(name: "huge token", code: .invalidArgument) {
            $0.data.payload = Data(repeating: 0x61, count: 2_049)
        },
    ]

    @Test(arguments: refusals)
    func `a malformed attestation is refused and leaves the token`(row: Refusal) async throws {
        try await TestServer.with { server in
            try await Self.token(server)
            let error = await #expect(throws: RPCError.self) {
                try await Self.attest(server) { try row.change(&$0) }
            }
            #expect(error?.code == row.code)
            _ = try await Self.attest(server) { _ in }
            let used = await #expect(throws: RPCError.self) {
                try await Self.attest(server) { _ in }
            }
            #expect(used?.code == .invalidArgument)
        }
    }

    @Test func `an attestation that says nothing is refused`() async throws {
        try await TestServer.with { server in
            let error = await #expect(throws: RPCError.self) {
                try await server.tls { client in
                    try await Agents.Client(wrapping: client).attestAgent { _ in
                    } onResponse: { response in
                        for try await _ in response.messages {}
                    }
                }
            }
            #expect(error?.code == .invalidArgument)
        }
    }

    @Test func `a certificate request whose signature is wrong renews nothing`() async throws {
        try await TestServer.with { server in
            let agent = try await server.attest("t1")
            var csr = try TestRequest.der(commonName: "test")
            let range = try #require(csr.firstRange(of: Data("test".utf8)))
            csr[range.lowerBound] ^= 1
            let changed = csr
            try await server.tls(agent) { client in
                for bad in [changed, Data(), Data([0])] {
                    let error = await #expect(throws: RPCError.self) {
                        try await Agents.Client(wrapping: client).renewAgent(
                            .with { $0.params.csr = bad })
                    }
                    #expect(error?.code == .invalidArgument)
                }
            }
            #expect(server.plane.nodes.node(agent.id)?.preparedSerial.isEmpty == true)
        }
    }

    @Test func `agents are listed in pages, filtered and masked`() async throws {
        try await TestServer.with { server in
            for number in 0..<7 {
                var node = AttestedNode(
                    id: try server.plane.id("/spire/agent/x/\(number)"),
                    attestationType: number < 3 ? "a" : "b", serial: number == 6 ? "" : "ff",
                    expiresAt: 1_000)
                node.selectors = [try Selector("s:\(number % 2)")]
                _ = try await server.plane.store.attestNode(node)
            }
            try await server.local { client in
                let agents = Agents.Client(wrapping: client)
                var seen: [String] = []
                var token = ""
                repeat {
                    let start = token
                    let page = try await agents.listAgents(
                        .with {
                            $0.pageSize = 3
                            $0.pageToken = start
                        })
                    seen.append(contentsOf: page.agents.map(\.id.path))
                    token = page.nextPageToken
                } while !token.isEmpty && seen.count < 50
                #expect(seen == (0..<7).map { "/spire/agent/x/\($0)" })
                let ofType = try await agents.listAgents(
                    .with { $0.filter.byAttestationType = "a" })
                #expect(ofType.agents.count == 3)
                let banned = try await agents.listAgents(.with { $0.filter.byBanned = .init(true) })
                #expect(banned.agents.map(\.id.path) == ["/spire/agent/x/6"])
                let notBanned = try await agents.countAgents(
                    .with { $0.filter.byBanned = .init(false) })
                #expect(notBanned.count == 6)
                let masked = try await agents.listAgents(
                    .with {
                        $0.filter.byAttestationType = "a"
                        $0.outputMask = .with { $0.x509SvidSerialNumber = true }
                    })
                #expect(
                    masked.agents.allSatisfy {
                        $0.x509SvidSerialNumber == "255" && $0.selectors.isEmpty
                    })
                let error = await #expect(throws: RPCError.self) {
                    try await agents.listAgents(
                        .with {
                            $0.pageSize = 1
                            $0.pageToken = "zz"
                        })
                }
                #expect(error?.code == .invalidArgument)
            }
        }
    }

    @Test func `operators name agents by agent IDs only`() async throws {
        try await TestServer.with { server in
            try await server.local { client in
                let agents = Agents.Client(wrapping: client)
                for (id, code) in [
                    (Spire_Api_Types_SPIFFEID("/spire/agent/x/none"), RPCError.Code.notFound),
                    (Spire_Api_Types_SPIFFEID("/w"), .invalidArgument),
                    (Spire_Api_Types_SPIFFEID("/spire/server"), .invalidArgument),
                    (
                        Spire_Api_Types_SPIFFEID("/spire/agent/x/1", in: "evil.test"),
                        .invalidArgument
                    ),
                    (Spire_Api_Types_SPIFFEID(), .invalidArgument),
                ] {
                    let get = await #expect(throws: RPCError.self) {
                        try await agents.getAgent(.with { $0.id = id })
                    }
                    let ban = await #expect(throws: RPCError.self) {
                        try await agents.banAgent(.with { $0.id = id })
                    }
                    let delete = await #expect(throws: RPCError.self) {
                        try await agents.deleteAgent(.with { $0.id = id })
                    }
                    #expect([get?.code, ban?.code, delete?.code] == [code, code, code])
                }
            }
        }
    }
}
