import ControlPlaneProto
import GRPCCore
import SPIFFE
import ServerCore
import ServerTestSupport
import SwiftProtobuf
import Testing
import Transparency

private typealias Authorities = Spire_Api_Server_Localauthority_V1_LocalAuthority

@Suite(.timeLimit(.minutes(2))) struct LocalAuthorityServiceTests {
    private static let service = "spire.api.server.localauthority.v1.LocalAuthority"

    @Test func `the operator replaces the X.509 authority`() async throws {
        try await TestServer.with { server in
            try await server.local { client in
                let api = Authorities.Client(wrapping: client)
                let before = try await api.getX509AuthorityState(.init())
                #expect(before.hasActive && !before.hasPrepared && !before.hasOld)
                let prepared = try await api.prepareX509Authority(.init()).preparedAuthority
                #expect(prepared.upstreamAuthoritySubjectKeyID.isEmpty)
                let activated = try await api.activateX509Authority(
                    .with { $0.authorityID = prepared.authorityID })
                #expect(activated.activatedAuthority == prepared)
                let id = before.active.authorityID
                let tainted = try await api.taintX509Authority(.with { $0.authorityID = id })
                #expect(tainted.taintedAuthority == before.active)
                let bundles = Spire_Api_Server_Bundle_V1_Bundle.Client(wrapping: client)
                #expect(
                    try await bundles.getBundle(.init()).x509Authorities.map(\.tainted)
                        == [true, false])
                let revoked = try await api.revokeX509Authority(.with { $0.authorityID = id })
                #expect(revoked.revokedAuthority == before.active)
                #expect(try await bundles.getBundle(.init()).x509Authorities.count == 1)
                let after = try await api.getX509AuthorityState(.init())
                #expect(after.active == prepared && !after.hasPrepared && !after.hasOld)
            }
        }
    }

    @Test func `a connection does not outlive the authority of its SVID`() async throws {
        try await TestServer.with { server in
            let agent = try await server.attest("token")
            try await server.tls(agent) { connected in
                let entries = Spire_Api_Server_Entry_V1_Entry.Client(wrapping: connected)
                _ = try await entries.getAuthorizedEntries(.init())
                try await server.local { client in
                    let api = Authorities.Client(wrapping: client)
                    let before = try await api.getX509AuthorityState(.init()).active.authorityID
                    let next = try await api.prepareX509Authority(.init()).preparedAuthority
                    _ = try await api.activateX509Authority(
                        .with { $0.authorityID = next.authorityID })
                    _ = try await api.taintX509Authority(.with { $0.authorityID = before })
                    // Tainted is not gone: who has such an SVID must be able to have it renewed.
                    _ = try await entries.getAuthorizedEntries(.init())
                    _ = try await api.revokeX509Authority(.with { $0.authorityID = before })
                }
                let error = await #expect(throws: RPCError.self) {
                    _ = try await entries.getAuthorizedEntries(.init())
                }
                #expect(error?.code == .unavailable)
                #expect(error?.message.contains("authority of the caller's SVID") == true)
            }
        }
    }

    @Test func `the operator replaces JWT and WIT authorities`() async throws {
        let enabled = AuthorityManager.Settings(issuesWITSVIDs: true)
        try await TestServer.with(authority: enabled) { server in
            try await server.local { client in
                let api = Authorities.Client(wrapping: client)
                let jwt = try await api.getJWTAuthorityState(.init()).active.authorityID
                let nextJWT = try await api.prepareJWTAuthority(.init()).preparedAuthority
                _ = try await api.activateJWTAuthority(
                    .with { $0.authorityID = nextJWT.authorityID })
                _ = try await api.taintJWTAuthority(.with { $0.authorityID = jwt })
                _ = try await api.revokeJWTAuthority(.with { $0.authorityID = jwt })
                #expect(try await api.getJWTAuthorityState(.init()).active == nextJWT)
                let wit = try await api.getWITAuthorityState(.init()).active.authorityID
                let nextWIT = try await api.prepareWITAuthority(.init()).preparedAuthority
                _ = try await api.activateWITAuthority(
                    .with { $0.authorityID = nextWIT.authorityID })
                _ = try await api.taintWITAuthority(.with { $0.authorityID = wit })
                _ = try await api.revokeWITAuthority(.with { $0.authorityID = wit })
                #expect(try await api.getWITAuthorityState(.init()).active == nextWIT)
                let bundle = try await Spire_Api_Server_Bundle_V1_Bundle.Client(wrapping: client)
                    .getBundle(.init())
                #expect(bundle.jwtAuthorities.map(\.keyID) == [nextJWT.authorityID])
                #expect(bundle.witAuthorities.map(\.keyID) == [nextWIT.authorityID])
            }
        }
    }

    @Test func `what cannot be is refused with a status and a reason`() async throws {
        try await TestServer.with { server in
            try await server.local { client in
                let api = Authorities.Client(wrapping: client)
                let active = try await api.getX509AuthorityState(.init()).active.authorityID
                for id in ["", "nonsense", active] {
                    let error = await #expect(throws: RPCError.self) {
                        _ = try await api.taintX509Authority(.with { $0.authorityID = id })
                    }
                    #expect(error?.code == .invalidArgument)
                }
                let next = try await api.prepareX509Authority(.init()).preparedAuthority
                _ = try await api.activateX509Authority(.with { $0.authorityID = next.authorityID })
                let error = await #expect(throws: RPCError.self) {
                    _ = try await api.revokeX509Authority(.with { $0.authorityID = active })
                }
                #expect(error?.code == .failedPrecondition)
                #expect(error?.message.contains("taint it first") == true)
                for method in ["TaintX509UpstreamAuthority", "RevokeX509UpstreamAuthority"] {
                    let error = try await RawMessage.call(client, "\(Self.service)/\(method)")
                    #expect(error?.code == .failedPrecondition)
                    #expect(error?.message.contains("no upstream authority") == true)
                }
                let wit = try await RawMessage.call(client, "\(Self.service)/PrepareWITAuthority")
                #expect(wit?.code == .unimplemented)
            }
        }
    }

    @Test func `nobody but operators may ask`() async throws {
        let admin = try SPIFFEID("spiffe://acme.test/admin")
        try await TestServer.with(adminIDs: [admin]) { server in
            let agent = try await server.attest("one")
            let workload = try await TestIdentity.issued(by: server.plane, "/workload")
            let methods = ["X509", "JWT", "WIT"].flatMap { kind in
                ["Get\(kind)AuthorityState"]
                    + ["Prepare", "Activate", "Taint", "Revoke"].map { "\($0)\(kind)Authority" }
            }
            let bundle = server.plane.directory.ownBundle
            for caller in [nil, agent, workload] {
                try await server.tls(caller) { client in
                    for method in methods {
                        let error = try await RawMessage.call(client, "\(Self.service)/\(method)")
                        #expect(error?.code == .permissionDenied, "\(method)")
                    }
                }
            }
            #expect(server.plane.directory.ownBundle == bundle)
            let operators = try await TestIdentity.issued(by: server.plane, "/admin")
            try await server.tls(operators) { client in
                let api = Authorities.Client(wrapping: client)
                let response = try await api.prepareX509Authority(.init())
                #expect(response.hasPreparedAuthority)
            }
            let leaf = try #require(
                server.plane.recorder.authorities.last { $0.action == .prepared })
            #expect(leaf.caller == admin.string)
        }
    }
}
