import AgentCore
import Foundation
import GRPCCore
import GRPCProtobuf
import SPIFFE
import SwiftProtobuf
import Testing
import WorkloadAPIProto

@testable import AgentEndpoints

private let security: Metadata = ["workload.spiffe.io": "true"]

/// From the same run as those of `RevocationVectors` in the tests of AgentCore, which tell how they are made.
private enum Vectors {
    private static func bytes(_ text: String) -> [UInt8] {
        Data(base64Encoded: text).map { [UInt8]($0) } ?? []
    }

    static let authority = bytes(
        """
        MIIBSzCB8aADAgECAgEHMAoGCCqGSM49BAMCMBQxEjAQBgNVBAMMCWFjbWUudGVzdDAgFw0yNjAxMDEwMDAwMDBaGA8yMTI2\
        MDEwMTAwMDAwMFowFDESMBAGA1UEAwwJYWNtZS50ZXN0MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE+dqf8DQDX3b/jxt0\
        aUNdv+tk8+Qiksw3M8hLIEz7Q3jmowRGLDj7sp95G5E1w+kA4x9LSi2nnAHUAuYtDhqnUaMyMDAwDwYDVR0TAQH/BAUwAwEB\
        /zAdBgNVHQ4EFgQUMG3PwVDWg/9mvRq8WegwMWeHHyYwCgYIKoZIzj0EAwIDSQAwRgIhAMbMD8dbL0OwMKOrxwbX0QHRJu6c\
        RPyj9WRDuJtDl8HMAiEA+NwM5C3uy/dLFCYq0omEk5LYERM7IJS9xWvS2rWudXs=
        """)
    static let empty = bytes(
        """
        MIHMMHQCAQEwCgYIKoZIzj0EAwIwFDESMBAGA1UEAwwJYWNtZS50ZXN0Fw0yNjAxMDEwMDAwMDBaFw0yNjAxMDEwMDEwMDBa\
        oC8wLTAKBgNVHRQEAwIBAzAfBgNVHSMEGDAWgBQwbc/BUNaD/2a9GrxZ6DAxZ4cfJjAKBggqhkjOPQQDAgNIADBFAiEAhitN\
        QQV5VrPFOjiHfFm9u5qkYps47cbS1rBrOrb0NJQCICR7Fx9OisR2OSMipyzbuGoekh67MRefLaKTOAVRjVMh
        """)
    static let three = bytes(
        """
        MIIBRTCB7QIBATAKBggqhkjOPQQDAjAUMRIwEAYDVQQDDAlhY21lLnRlc3QXDTI2MDEwMTAwMDAwMFoXDTI2MDEwMTAwMTAw\
        MFowdzAgAgEBFw0yNjAxMDEwMDAwMDBaMAwwCgYDVR0VBAMKAQEwIQICAIAXDTI2MDEwMTAwMDAwMFowDDAKBgNVHRUEAwoB\
        ATAwAhEA/+7dzLuqmYh3ZlVEMyIRABcNMjYwMTAxMDAwMDAwWjAMMAoGA1UdFQQDCgEBoC8wLTAKBgNVHRQEAwIBAzAfBgNV\
        HSMEGDAWgBQwbc/BUNaD/2a9GrxZ6DAxZ4cfJjAKBggqhkjOPQQDAgNHADBEAiBsEK2wZHZLnmOxxuA44sToQCM9FHJDe7Y0\
        ZffJInMvMgIgRWYHwPMBbwN4gyNo4nvAaqfR6Absw+lsIfNZi8nSgzc=
        """)
}

@Suite("Revocations on the Workload API's socket", .timeLimit(.minutes(1)))
struct WorkloadRevocationsTests {
    private typealias Client = Cygnet_Workload_V1_WorkloadRevocations.Client

    /// The agent, with a second authority whose lists we have.
    private func agent(selector: String = "unix:uid:own", isOpen: Bool = false) throws -> TestAgent
    {
        let agent = try TestAgent(allowsUnauthenticatedVerifiers: isOpen)
        agent.synchronise([try TestAgent.entry("a", selector: selector)])
        var bundle = agent.bundle
        bundle.x509Authorities.append(.init(der: Vectors.authority))
        agent.identities.receive(.bundles(BundleChange(upserted: [bundle])))
        return agent
    }

    private func revoke(
        _ agent: TestAgent, _ crls: [[UInt8]], tokens: [String] = [],
        statusLists: [String: String] = [:]
    ) {
        agent.identities.receive(
            .revocations(
                RevocationChange(upserted: [
                    DomainRevocations(
                        trustDomain: agent.trustDomain, crls: crls, statusLists: statusLists,
                        revokedTokens: tokens.compactMap { SigningInputDigest(ofToken: $0) })
                ])))
    }

    private func code(_ body: () async throws -> Void) async -> RPCError.Code? {
        do { try await body() } catch let error as RPCError { return error.code } catch {
            return .unknown
        }
        return nil
    }

    @Test("WAPI-28: each crl element is one list, in the messages of SVIDs and of bundles")
    func fields() async throws {
        let agent = try self.agent()
        self.revoke(agent, [Vectors.empty])
        try await agent.run { client, _ in
            try await client.fetchX509SVID(.init(), metadata: security) { response in
                var messages = response.messages.makeAsyncIterator()
                let told1 = try await messages.next()
                #expect(told1?.crl == [Data(Vectors.empty)])
                self.revoke(agent, [Vectors.three])
                let told2 = try await messages.next()
                #expect(told2?.crl == [Data(Vectors.three)])
            }
            try await client.fetchX509Bundles(.init(), metadata: security) { response in
                var messages = response.messages.makeAsyncIterator()
                let told3 = try await messages.next()
                #expect(told3?.crl == [Data(Vectors.three)])
                self.revoke(agent, [Vectors.empty])
                let told4 = try await messages.next()
                #expect(told4?.crl == [Data(Vectors.empty)])
            }
        }
    }

    @Test("FetchRevocations tells all at once and the whole again after a change")
    func fetch() async throws {
        let agent = try self.agent()
        try await agent.run { _, raw in
            try await Client(wrapping: raw).fetchRevocations(.init(), metadata: security) {
                response in
                var messages = response.messages.makeAsyncIterator()
                let told5 = try await messages.next()
                #expect(told5?.trustDomains.isEmpty == true)
                self.revoke(
                    agent, [Vectors.three], tokens: ["h.p.s"], statusLists: ["https://s.test": "t"])
                let changed = try await messages.next()
                let told = try #require(changed?.trustDomains)
                #expect(told.map(\.trustDomain) == ["acme.test"])
                #expect(told.first?.crls == [Data(Vectors.three)])
                #expect(told.first?.statusLists.map(\.uri) == ["https://s.test"])
                #expect(told.first?.statusLists.map(\.token) == ["t"])
                // hashlib.sha256(b"h.p"), each byte without leading zero
                #expect(
                    told.first?.revokedTokens.map { $0.map { String($0, radix: 16) }.joined() }
                        == ["51d8565d6e5e78f1d0ca89a5b420e3f5b1c6bb75f5453abe42f6c448fac999b"])
                self.revoke(agent, [Vectors.three])
                let told6 = try await messages.next()
                #expect(told6?.trustDomains.first?.revokedTokens == [])
            }
        }
    }

    @Test("FetchRevocations has the rules of the bundles: header, identity, allow_unauthenticated")
    func access() async throws {
        let agent = try self.agent()
        try await agent.run { _, raw in
            #expect(
                await self.code {
                    try await Client(wrapping: raw).fetchRevocations(.init()) {
                        for try await _ in $0.messages {}
                    }
                } == .invalidArgument)
            // The method belongs to its own service only.
            let elsewhere = MethodDescriptor(
                fullyQualifiedService: "SpiffeWorkloadAPI", method: "FetchRevocations")
            #expect(await self.code { try await self.call(elsewhere, raw) } == .unimplemented)
            let other = MethodDescriptor(
                fullyQualifiedService: "cygnet.workload.v1.WorkloadRevocations",
                method: "FetchX509SVID")
            #expect(await self.code { try await self.call(other, raw) } == .unimplemented)
        }
        for isOpen in [false, true] {
            let agent = try self.agent(selector: "unix:uid:other", isOpen: isOpen)
            try await agent.run { _, raw in
                let code = await self.code {
                    try await Client(wrapping: raw).fetchRevocations(.init(), metadata: security) {
                        for try await _ in $0.messages { return }
                    }
                }
                #expect(code == (isOpen ? nil : .permissionDenied))
            }
        }
    }

    private func call(
        _ method: MethodDescriptor, _ client: GRPCClient<some ClientTransport>
    ) async throws {
        try await client.serverStreaming(
            request: ClientRequest(
                message: Cygnet_Workload_V1_FetchRevocationsRequest(), metadata: security),
            descriptor: method,
            serializer: ProtobufSerializer<Cygnet_Workload_V1_FetchRevocationsRequest>(),
            deserializer: ProtobufDeserializer<Cygnet_Workload_V1_FetchRevocationsResponse>(),
            options: .defaults
        ) { response in
            for try await _ in response.messages {}
        }
    }

    @Test("ValidateJWTSVID refuses a token that was taken back, until that is lifted")
    func validate() async throws {
        let agent = try self.agent()
        let token = try agent.token("a", ["me"]).token
        try await agent.run { client, _ in
            let request = ValidateJWTSVIDRequest.with {
                $0.svid = token
                $0.audience = "me"
            }
            let before = try await client.validateJWTSVID(request, metadata: security)
            #expect(before.spiffeID == "spiffe://acme.test/a")
            self.revoke(agent, [], tokens: [token])
            let refused = await self.code {
                _ = try await client.validateJWTSVID(request, metadata: security)
            }
            #expect(refused == .invalidArgument)
            self.revoke(agent, [])
            let after = try await client.validateJWTSVID(request, metadata: security)
            #expect(after.spiffeID == "spiffe://acme.test/a")
        }
    }
}
