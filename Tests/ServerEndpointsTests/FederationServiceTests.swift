import ControlPlaneProto
import Foundation
import GRPCCore
import SPIFFE
import ServerCore
import ServerTestSupport
import SwiftProtobuf
import Testing
import Transparency

@testable import ServerEndpoints

private typealias Federation = Cygnet_Federation_V1_Federation
private typealias Limits = Cygnet_Federation_V1_PartnerLimits

@Suite(.timeLimit(.minutes(2))) struct FederationServiceTests {
    private static let service = "cygnet.federation.v1.Federation/"
    private static let methods = [
        "GetStatus", "ListPartnerLimits", "SetPartnerLimits", "DeletePartnerLimits",
        "GetBundleEndpoint",
    ]

    private static func limits(
        _ name: String, paths: [String]? = nil, uses: [String] = ["x509", "jwt"]
    ) -> Limits {
        .with {
            $0.trustDomain = name
            if let paths { $0.acceptedPaths = .with { $0.patterns = paths } }
            $0.uses = uses
        }
    }

    private static func request(_ limits: Limits) -> Cygnet_Federation_V1_SetPartnerLimitsRequest {
        .with { $0.limits = limits }
    }

    /// How a call fails; nil when it does not.
    private static func failure(_ body: () async throws -> Void) async throws -> RPCError? {
        do {
            try await body()
            return nil
        } catch let error as RPCError {
            return error
        }
    }

    /// The methods of operators' calls that were recorded.
    private static func calls(_ server: TestServer) -> [String] {
        var methods: [String] = []
        for event in server.plane.recorder.events {
            if case .adminCall(let call) = event { methods.append(call.method) }
        }
        return methods
    }

    // MARK: Status

    @Test func `the status tells that a request waits at the partner's endpoint`() async throws {
        try await TestServer.with { server in
            let bundle = try Partner.bundle("b.test", sequence: 5)
            server.endpoints.answer(try TrustDomain("b.test")) { request in
                if request.patience > .zero { try await Task.sleep(for: .seconds(3_600)) }
                return FetchedBundle(.bundle(bundle), entityTag: "\"5\"", appliedWait: .zero)
            }
            let federation = FederationRegistry(
                directory: server.plane.directory, store: server.plane.store)
            _ = try await federation.create(.init(try Partner.relationship("b.test")))
            _ = try await federation.create(.init(try Partner.relationship("c.test")))
            try await server.local { client in
                let client = Federation.Client(wrapping: client)
                var partners: [Cygnet_Federation_V1_PartnerStatus] = []
                repeat {
                    await Task.yield()
                    partners = try await client.getStatus(.init()).partners
                } while partners.first?.waiting != true || partners.last?.failures == 0
                #expect(partners.map(\.trustDomain) == ["b.test", "c.test"])
                #expect(partners[0].sequenceNumber == 5 && partners[0].nextAttempt == 0)
                #expect(partners[0].lastError.isEmpty)
                // Nobody answers there.
                #expect(!partners[1].waiting && !partners[1].hasBundle_p)
                #expect(partners[1].lastError.contains("nobody answers"))
                try await federation.delete(try TrustDomain("b.test"))
                #expect(
                    try await client.getStatus(.init()).partners.map(\.trustDomain) == ["c.test"])
            }
        }
    }

    @Test func `groups come in order, with their members, and partners with theirs`() async throws {
        let names = try ["c.test", "b.test", "acme.test"].map { try TrustDomain($0) }
        let groups = try TrustDomainGroups(["grid": [names[1]], "city": Set(names), "none": []])
        try await TestServer.with(groups: groups) { server in
            let federation = FederationRegistry(
                directory: server.plane.directory, store: server.plane.store)
            for name in ["b.test", "d.test"] {
                _ = try await federation.create(.init(try Partner.relationship(name)))
            }
            try await server.local { client in
                let status = try await Federation.Client(wrapping: client).getStatus(.init())
                #expect(status.groups.map(\.name) == ["city", "grid", "none"])
                #expect(
                    status.groups.map(\.trustDomains) == [
                        ["acme.test", "b.test", "c.test"], ["b.test"], [],
                    ])
                #expect(status.partners.map(\.groups) == [["city", "grid"], []])
            }
        }
    }

    // MARK: Limits

    @Test func `limits are set, listed, shown with the partner and taken away`() async throws {
        try await TestServer.with { server in
            let federation = FederationRegistry(
                directory: server.plane.directory, store: server.plane.store)
            _ = try await federation.create(.init(try Partner.relationship("b.test")))
            try await server.local { client in
                let client = Federation.Client(wrapping: client)
                let none = try await client.listPartnerLimits(.init()).limits
                #expect(none.isEmpty)
                // The trust domain may be written as an ID; whether they are the configuration's is not for the caller
                // to say; no use means both.
                var asked = Self.limits("spiffe://b.test", paths: ["/agents/*", "/grid/**"])
                asked.uses = []
                asked.configured = true
                let set = try await client.setPartnerLimits(Self.request(asked))
                #expect(set == Self.limits("b.test", paths: ["/agents/*", "/grid/**"]))
                // There need be no relationship.
                _ = try await client.setPartnerLimits(
                    Self.request(Self.limits("a.test", paths: [], uses: ["jwt"])))
                let listed = try await client.listPartnerLimits(.init()).limits
                #expect(listed == [Self.limits("a.test", paths: [], uses: ["jwt"]), set])
                #expect(listed[0].hasAcceptedPaths, "an empty list is not every path")
                let status = try await client.getStatus(.init())
                #expect(status.partners.map(\.limits) == [set])
                // Setting replaces.
                let bare = try await client.setPartnerLimits(
                    Self.request(Self.limits("b.test", uses: ["x509"])))
                #expect(!bare.hasAcceptedPaths && bare.uses == ["x509"])
                _ = try await client.deletePartnerLimits(
                    .with { $0.trustDomain = "spiffe://b.test" })
                let after = try await client.getStatus(.init())
                #expect(after.partners.map(\.hasLimits) == [false])
                let gone = try await Self.failure {
                    _ = try await client.deletePartnerLimits(.with { $0.trustDomain = "b.test" })
                }
                #expect(gone?.code == .notFound)
                for bad in ["", "Upper.test", "b.test/x", "https://b.test"] {
                    let error = try await Self.failure {
                        _ = try await client.deletePartnerLimits(.with { $0.trustDomain = bad })
                    }
                    #expect(error?.code == .invalidArgument, "\(bad)")
                }
                #expect(try await client.listPartnerLimits(.init()).limits.count == 1)
            }
            let calls = Self.calls(server)
            #expect(calls.contains(Self.service + "SetPartnerLimits"))
            #expect(calls.contains(Self.service + "DeletePartnerLimits"))
        }
    }

    @Test func `the configuration's limits cannot be changed by a call`() async throws {
        let configured = try PartnerLimits(
            trustDomain: try TrustDomain("b.test"), acceptedPaths: ["/a"])
        try await TestServer.with(limits: [configured]) { server in
            try await server.local { client in
                let client = Federation.Client(wrapping: client)
                let error = try await Self.failure {
                    _ = try await client.setPartnerLimits(Self.request(Self.limits("b.test")))
                }
                #expect(error?.code == .failedPrecondition)
                #expect(error?.message.contains("configuration") == true)
                let delete = try await Self.failure {
                    _ = try await client.deletePartnerLimits(.with { $0.trustDomain = "b.test" })
                }
                #expect(delete?.code == .notFound)
                var wanted = Self.limits("b.test", paths: ["/a"])
                wanted.configured = true
                #expect(try await client.listPartnerLimits(.init()).limits == [wanted])
            }
        }
    }

    @Test func `limits that are none are refused, and change nothing`() async throws {
        let many = (0...PartnerLimits.maximumPatterns).map { "/agents/\($0)" }
        let bad: [(Limits, String)] = [
            (Limits(), "trust domain"),
            (Self.limits("Upper.test"), "trust domain"),
            (Self.limits("b.test/agents"), "trust domain"),
            (Self.limits(String(repeating: "a", count: 256)), "trust domain"),
            (Self.limits("acme.test"), "own"),
            (Self.limits("b.test", uses: ["wit"]), "wit"),
            (Self.limits("b.test", uses: ["x509", ""]), "use"),
            (Self.limits("b.test", paths: many), "101"),
            (Self.limits("b.test", paths: [""]), "pattern"),
            (Self.limits("b.test", paths: ["agents"]), "pattern"),
            (Self.limits("b.test", paths: ["/"]), "pattern"),
            (Self.limits("b.test", paths: ["/**/agents"]), "pattern"),
            (Self.limits("b.test", paths: ["/agents/"]), "pattern"),
            (Self.limits("b.test", paths: ["/../agents"]), "pattern"),
            (Self.limits("b.test", paths: ["/ag*"]), "pattern"),
            (Self.limits("b.test", paths: ["/a\u{0}\u{1B}[2J"]), "pattern"),
            (Self.limits("b.test", paths: ["/ok", "/é"]), "pattern"),
            (
                Self.limits("b.test", paths: [String(repeating: "/*", count: 1_025)]),
                "2050 bytes"
            ),
        ]
        try await TestServer.with { server in
            try await server.local { client in
                let client = Federation.Client(wrapping: client)
                let good = try await client.setPartnerLimits(
                    Self.request(Self.limits("b.test", paths: ["/agents/*"])))
                for (limits, word) in bad {
                    let error = try await Self.failure {
                        _ = try await client.setPartnerLimits(Self.request(limits))
                    }
                    #expect(error?.code == .invalidArgument, "\(limits)")
                    #expect(error?.message.contains(word) == true, "\(error?.message ?? "")")
                    #expect(error.map { $0.message.utf8.count < 1_024 } == true)
                    #expect(error?.message.contains("\u{1B}") == false)
                }
                #expect(try await client.listPartnerLimits(.init()).limits == [good])
            }
        }
    }

    @Test func `huge and broken messages fail their call and nothing else`() async throws {
        let admin = try SPIFFEID("spiffe://acme.test/admin")
        try await TestServer.with(adminIDs: [admin]) { server in
            let paths = [String](repeating: "/*", count: 200_000)
            let many: [UInt8] = try Self.request(Self.limits("b.test", paths: paths))
                .serializedBytes()
            let long: [UInt8] = try Self.request(
                Self.limits("b.test", paths: [String(repeating: "/*", count: 400_000)])
            ).serializedBytes()
            // Beyond what is read at all: an unknown field of 5 MiB.
            let size = 5 * 1024 * 1024
            let tooLong = [0x7A, 0x80, 0x80, 0xC0, 0x02] + [UInt8](repeating: 0, count: size)
            let identity = try await TestIdentity.issued(by: server.plane, "/admin")
            try await server.tls(identity) { client in
                for bytes in [many, long] {
                    let error = try await RawMessage.call(
                        client, Self.service + "SetPartnerLimits", bytes)
                    #expect(error?.code == .invalidArgument)
                    #expect(error.map { $0.message.utf8.count < 1_024 } == true)
                }
                #expect(
                    try await RawMessage.call(
                        client, Self.service + "SetPartnerLimits", tooLong) != nil)
                for bytes in [[0xFF], [0x0A, 0x7F, 0x01], [0x0A, 0x02, 0x0A, 0xFF]] as [[UInt8]] {
                    #expect(
                        try await RawMessage.call(
                            client, Self.service + "SetPartnerLimits", bytes) != nil)
                }
                #expect(
                    try await Federation.Client(wrapping: client).listPartnerLimits(.init()).limits
                        .isEmpty)
            }
        }
    }

    // MARK: Our own endpoint

    @Test(
        arguments: [
            OwnBundleEndpoint(profileName: "https_spiffe", url: nil),
            OwnBundleEndpoint(profileName: "https_web", url: "https://acme.test:8443/b"),
        ])
    func `the bundle endpoint is told as the configuration has it`(endpoint: OwnBundleEndpoint)
        async throws
    {
        try await TestServer.with(bundleEndpoint: endpoint) { server in
            try await server.local { client in
                let answer = try await Federation.Client(wrapping: client)
                    .getBundleEndpoint(.init())
                #expect(answer.profile == endpoint.profileName)
                #expect(answer.url == endpoint.url ?? "")
            }
        }
    }

    @Test func `a bundle that is served nowhere has no endpoint`() async throws {
        try await TestServer.with { server in
            try await server.local { client in
                let error = try await Self.failure {
                    _ = try await Federation.Client(wrapping: client).getBundleEndpoint(.init())
                }
                #expect(error?.code == .notFound)
            }
        }
    }

    // MARK: Callers

    @Test func `only operators learn of partners or limit them`() async throws {
        let foreign = try SPIFFEID("spiffe://other.test/admin")
        let other = try await ForeignDomain(
            clock: TestClock(Int64(Date().timeIntervalSince1970)))
        try await TestServer.with(adminIDs: [foreign], bundles: [other.bundle]) { server in
            let request: [UInt8] = try Self.request(
                Self.limits("b.test", paths: ["/agents/*"])
            ).serializedBytes()
            let refused: [(String, TestIdentity?)] = [
                ("nobody", nil), ("an agent", try await server.attest("t1")),
                ("a workload", try await TestIdentity.issued(by: server.plane, "/web")),
                ("the server itself", try await .issued(by: server.plane, "/spire/server")),
            ]
            for (name, identity) in refused {
                try await server.tls(identity) { client in
                    for method in Self.methods {
                        let error = try await RawMessage.call(
                            client, Self.service + method, request)
                        #expect(error?.code == .permissionDenied, "\(name), \(method)")
                    }
                }
            }
            #expect(server.plane.directory.limits.isEmpty)
            var entry = try Entry.test("boss", "/boss", parent: "/spire/agent/x/1")
            entry.admin = true
            _ = try await server.plane.store.createEntries([entry])
            let admitted: [(String, TestIdentity)] = [
                ("an admin by entry", try await .issued(by: server.plane, "/boss")),
                ("a foreign admin", try await other.identity("/admin")),
            ]
            for (name, identity) in admitted {
                try await server.tls(identity) { client in
                    let client = Federation.Client(wrapping: client)
                    _ = try await client.setPartnerLimits(try .init(serializedBytes: request))
                    #expect(
                        try await client.listPartnerLimits(.init()).limits.count == 1, "\(name)")
                    _ = try await client.getStatus(.init())
                    _ = try await client.deletePartnerLimits(.with { $0.trustDomain = "b.test" })
                }
            }
            #expect(server.plane.directory.limits.isEmpty)
        }
    }
}
