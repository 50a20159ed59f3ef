import AgentCore
import GRPCCore
import GRPCProtobuf
import SPIFFE
import SwiftProtobuf
import Testing
import WorkloadAPIProto

@testable import AgentEndpoints

private let security: Metadata = ["workload.spiffe.io": "true"]

@Suite("Partners' limits on the Workload API's socket", .timeLimit(.minutes(1)))
struct PartnerLimitsTests {
    private typealias Client = Cygnet_Workload_V1_PartnerLimits.Client

    private func bundle(
        _ agent: TestAgent, of name: String, limits: TrustDomainLimits? = nil
    ) throws -> AgentBundle {
        AgentBundle(
            trustDomain: try TrustDomain(name), x509Authorities: [.init(der: agent.rootDER)],
            limits: limits)
    }

    private func limits(
        of name: String, x509: Bool = true, jwt: Bool = true, paths: [String]? = nil
    ) throws -> TrustDomainLimits {
        try TrustDomainLimits(
            of: try TrustDomain(name), allowsX509: x509, allowsJWT: jwt, acceptedPaths: paths)
    }

    /// The agent, whose one entry federates with `energy.test`, and which holds another partner's bundle for others.
    private func agent(selector: String = "unix:uid:own", isOpen: Bool = false) throws -> TestAgent
    {
        let agent = try TestAgent(allowsUnauthenticatedVerifiers: isOpen)
        agent.synchronise(
            [try TestAgent.entry("a", selector: selector, federatesWith: ["energy.test"])],
            [
                try self.bundle(agent, of: "energy.test"),
                try self.bundle(
                    agent, of: "water.test", limits: try self.limits(of: "water.test", paths: [])),
            ])
        return agent
    }

    private func receive(_ agent: TestAgent, _ change: BundleChange) {
        agent.identities.receive(.bundles(change))
    }

    private func code(_ body: () async throws -> Void) async -> RPCError.Code? {
        do { try await body() } catch let error as RPCError { return error.code } catch {
            return .unknown
        }
        return nil
    }

    @Test("FetchPartnerLimits tells all at once and the whole again after a change")
    func fetch() async throws {
        let agent = try self.agent()
        // Nobody limits our own trust domain, whatever the server says.
        var own = agent.bundle
        own.limits = try self.limits(of: "acme.test", paths: [])
        self.receive(agent, BundleChange(upserted: [own]))
        let narrow = try self.bundle(
            agent, of: "energy.test",
            limits: try self.limits(of: "energy.test", paths: ["/agents/*", "/grid/**"]))
        let onlyJWT = try self.bundle(
            agent, of: "energy.test", limits: try self.limits(of: "energy.test", x509: false))
        let nothing = try self.bundle(
            agent, of: "energy.test", limits: try self.limits(of: "energy.test", paths: []))
        let free = try self.bundle(agent, of: "energy.test")
        let energy = try TrustDomain("energy.test")
        let entry = try TestAgent.entry("a", federatesWith: ["water.test"])
        try await agent.run { _, raw in
            try await Client(wrapping: raw).fetchPartnerLimits(.init(), metadata: security) {
                response in
                var messages = response.messages.makeAsyncIterator()
                func next() async throws -> Cygnet_Workload_V1_FetchPartnerLimitsResponse {
                    let message = try await messages.next()
                    return try #require(message)
                }
                var told = try await next()
                #expect(told.trustDomains == ["acme.test", "energy.test"])
                #expect(told.limits.isEmpty)

                self.receive(agent, BundleChange(upserted: [narrow]))
                told = try await next()
                #expect(told.trustDomains == ["acme.test", "energy.test"])
                #expect(told.limits.map(\.trustDomain) == ["energy.test"])
                #expect(told.limits.first?.x509 == true && told.limits.first?.jwt == true)
                #expect(told.limits.first?.limitsPaths == true)
                #expect(told.limits.first?.acceptedPaths == ["/agents/*", "/grid/**"])

                self.receive(agent, BundleChange(upserted: [onlyJWT]))
                told = try await next()
                // The bundle is still given, for tokens.
                #expect(told.trustDomains == ["acme.test", "energy.test"])
                #expect(told.limits.first?.x509 == false && told.limits.first?.jwt == true)
                #expect(told.limits.first?.limitsPaths == false)

                self.receive(agent, BundleChange(upserted: [nothing]))
                told = try await next()
                #expect(told.limits.first?.limitsPaths == true)
                #expect(told.limits.first?.acceptedPaths == [])

                self.receive(agent, BundleChange(upserted: [free]))
                told = try await next()
                #expect(told.limits.isEmpty)

                self.receive(agent, BundleChange(removed: [energy]))
                told = try await next()
                #expect(told.trustDomains == ["acme.test"])

                agent.identities.receive(.entries(EntryChange(upserted: [entry])))
                told = try await next()
                #expect(told.trustDomains == ["acme.test", "water.test"])
                #expect(told.limits.map(\.trustDomain) == ["water.test"])
            }
        }
    }

    @Test(
        "FetchPartnerLimits has the rules of the bundles: header, identity, allow_unauthenticated")
    func access() async throws {
        let agent = try self.agent()
        try await agent.run { _, raw in
            #expect(
                await self.code {
                    try await Client(wrapping: raw).fetchPartnerLimits(.init()) {
                        for try await _ in $0.messages {}
                    }
                } == .invalidArgument)
            // The method belongs to its own service only.
            for (service, method) in [
                ("SpiffeWorkloadAPI", "FetchPartnerLimits"),
                ("cygnet.workload.v1.WorkloadRevocations", "FetchPartnerLimits"),
                ("cygnet.workload.v1.PartnerLimits", "FetchX509SVID"),
                ("cygnet.workload.v1.PartnerLimits", "FetchRevocations"),
            ] {
                let descriptor = MethodDescriptor(fullyQualifiedService: service, method: method)
                #expect(await self.code { try await self.call(descriptor, raw) } == .unimplemented)
            }
        }
        for isOpen in [false, true] {
            let agent = try self.agent(selector: "unix:uid:other", isOpen: isOpen)
            try await agent.run { _, raw in
                let code = await self.code {
                    try await Client(wrapping: raw).fetchPartnerLimits(.init(), metadata: security)
                    {
                        for try await message in $0.messages {
                            #expect(message.trustDomains == ["acme.test"])
                            #expect(message.limits.isEmpty)
                            return
                        }
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
                message: Cygnet_Workload_V1_FetchPartnerLimitsRequest(), metadata: security),
            descriptor: method,
            serializer: ProtobufSerializer<Cygnet_Workload_V1_FetchPartnerLimitsRequest>(),
            deserializer: ProtobufDeserializer<Cygnet_Workload_V1_FetchPartnerLimitsResponse>(),
            options: .defaults
        ) { response in
            for try await _ in response.messages {}
        }
    }
}
