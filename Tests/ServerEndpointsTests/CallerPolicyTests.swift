import SPIFFE
import ServerCore
import ServerEndpoints
import ServerTestSupport
import Testing

/// The table of who may call what, written down a second time, and held against ``CallerPolicy``.
@Suite struct CallerPolicyTests {
    struct Row: Sendable, CustomTestStringConvertible {
        let service: String
        let method: String
        let allowed: Set<CallerClass>
        var fullName: String { "\(self.service)/\(self.method)" }
        var testDescription: String { self.fullName }
    }

    private static func rows(
        _ service: String, _ allowed: Set<CallerClass>, _ methods: String
    ) -> [Row] {
        methods.split(separator: " ").map {
            Row(service: service, method: String($0), allowed: allowed)
        }
    }

    private static let agent = "spire.api.server.agent.v1.Agent"
    private static let bundle = "spire.api.server.bundle.v1.Bundle"
    private static let entry = "spire.api.server.entry.v1.Entry"
    private static let svid = "spire.api.server.svid.v1.SVID"
    private static let all: Set<CallerClass> = Set(CallerClass.allCases)

    private static let authorities: [Row] = rows(
        "spire.api.server.localauthority.v1.LocalAuthority", [.local, .admin],
        """
        GetJWTAuthorityState PrepareJWTAuthority ActivateJWTAuthority TaintJWTAuthority RevokeJWTAuthority \
        GetX509AuthorityState PrepareX509Authority ActivateX509Authority TaintX509Authority \
        TaintX509UpstreamAuthority RevokeX509Authority RevokeX509UpstreamAuthority GetWITAuthorityState \
        PrepareWITAuthority ActivateWITAuthority TaintWITAuthority RevokeWITAuthority
        """)

    static let table: [Row] =
        authorities
        + rows(
            agent, [.local, .admin],
            "CountAgents ListAgents GetAgent DeleteAgent BanAgent CreateJoinToken")
        + rows(agent, all, "AttestAgent") + rows(agent, [.agent], "RenewAgent PostStatus")
        + rows(bundle, all, "GetBundle")
        + rows(
            bundle, [.local, .admin],
            "CountBundles AppendBundle ListFederatedBundles BatchCreateFederatedBundle "
                + "BatchUpdateFederatedBundle BatchSetFederatedBundle BatchDeleteFederatedBundle")
        + rows(bundle, [.local, .admin, .agent], "GetFederatedBundle")
        + rows(bundle, [.downstream], "PublishJWTAuthority PublishWITAuthority")
        + rows(
            entry, [.local, .admin],
            "CountEntries ListEntries GetEntry BatchCreateEntry BatchUpdateEntry BatchDeleteEntry")
        + rows(entry, [.agent], "GetAuthorizedEntries SyncAuthorizedEntries")
        + rows(svid, [.local, .admin], "MintX509SVID MintJWTSVID MintWITSVID")
        + rows(svid, [.agent], "BatchNewX509SVID NewJWTSVID BatchNewWITSVID")
        + rows(svid, [.downstream], "NewDownstreamX509CA")
        + rows(
            "spire.api.server.trustdomain.v1.TrustDomain", [.local, .admin],
            "ListFederationRelationships GetFederationRelationship "
                + "BatchCreateFederationRelationship BatchUpdateFederationRelationship "
                + "BatchDeleteFederationRelationship RefreshBundle")
        + rows(
            "cygnet.federation.v1.Federation", [.local, .admin],
            "GetStatus ListPartnerLimits SetPartnerLimits DeletePartnerLimits GetBundleEndpoint")
        + rows(
            "cygnet.revocation.v1.Revocations", [.local, .admin],
            "CreateRevocation LiftRevocation GetRevocation ListRevocations AwaitRevocation")
        + rows("cygnet.ledger.v1.Ledger", [.local, .admin], "GetKey")
        + rows("cygnet.sync.v1.Sync", [.agent], "Connect")
        + rows("grpc.health.v1.Health", [.local], "Check List Watch")

    /// A control plane with a caller of each kind.
    private struct World {
        let policy: CallerPolicy
        var callers: [(name: String, caller: Caller, classes: Set<CallerClass>)] = []

        init() async throws {
            let plane = try await TestPlane()
            let end = plane.clock.unixTime + 100
            func svid(_ text: String, _ serial: String = "01") throws -> Caller {
                .svid(try SPIFFEID(text), serial: serial, expiresAt: end)
            }
            let foreign = try SPIFFEID("spiffe://other.test/admin")
            let configured = try plane.id("/admin/configured")
            self.policy = CallerPolicy(
                methods: MethodPolicy.methods, adminIDs: [foreign, configured],
                directory: plane.directory, nodes: plane.nodes)
            var admin = try Entry.test("admin", "/admin/entry", parent: "/spire/agent/x/1")
            admin.admin = true
            var downstream = try Entry.test("down", "/down", parent: "/spire/agent/x/1")
            downstream.downstream = true
            let plain = try Entry.test("plain", "/plain", parent: "/spire/agent/x/1")
            _ = try await plane.store.createEntries([admin, downstream, plain])
            for (name, serial) in [("good", "01"), ("banned", ""), ("admin", "01")] {
                _ = try await plane.store.attestNode(
                    AttestedNode(
                        id: try plane.id("/spire/agent/x/\(name)"), attestationType: "x",
                        serial: serial, expiresAt: end))
            }
            self.callers = [
                ("the operator", .local(uid: 0, pid: 1), [.local]),
                ("nobody", .anonymous, []),
                ("an admin by entry", try svid("spiffe://acme.test/admin/entry"), [.admin]),
                ("a configured admin", try svid("spiffe://acme.test/admin/configured"), [.admin]),
                ("a foreign admin", try svid("spiffe://other.test/admin"), [.admin]),
                ("a foreign namesake", try svid("spiffe://other.test/admin/entry"), []),
                ("an agent", try svid("spiffe://acme.test/spire/agent/x/good"), [.agent]),
                (
                    "an agent's old SVID", try svid("spiffe://acme.test/spire/agent/x/good", "02"),
                    []
                ),
                (
                    "an agent's expired SVID",
                    .svid(try plane.id("/spire/agent/x/good"), serial: "01", expiresAt: end - 100),
                    []
                ),
                ("a banned agent", try svid("spiffe://acme.test/spire/agent/x/banned", ""), []),
                ("an unknown agent", try svid("spiffe://acme.test/spire/agent/x/none"), []),
                ("a downstream server", try svid("spiffe://acme.test/down"), [.downstream]),
                ("a foreign downstream", try svid("spiffe://other.test/down"), []),
                ("a workload", try svid("spiffe://acme.test/plain"), []),
                ("the server", try svid("spiffe://acme.test/spire/server"), []),
            ]
        }
    }

    @Test(arguments: table) func `each method is open to its callers only`(row: Row) async throws {
        let world = try await World()
        for (name, caller, classes) in world.callers {
            let isAllowed = row.allowed == Self.all || !classes.isDisjoint(with: row.allowed)
            do {
                let authorized = try await world.policy.authorize(caller, method: row.fullName)
                #expect(isAllowed, "\(name) got through")
                if row.allowed != Self.all { #expect(classes.contains(authorized.authorizedAs)) }
                #expect((authorized.agentID != nil) == (authorized.authorizedAs == .agent))
            } catch let error as ServerError {
                #expect(!isAllowed, "\(name) was refused")
                #expect(error.code == .permissionDenied)
            }
        }
    }

    @Test func `the table has every method of the policy and no other`() {
        #expect(Set(Self.table.map(\.fullName)) == Set(MethodPolicy.methods.keys))
        #expect(Self.table.count == MethodPolicy.methods.count)
    }

    @Test(arguments: ["", "/", "spire.api.server.entry.v1.Entry/listentries", "x/Connect"])
    func `a method that is not in the policy is open to nobody`(method: String) async throws {
        let world = try await World()
        for (name, caller, _) in world.callers {
            let error = await #expect(throws: ServerError.self, "\(name)") {
                try await world.policy.authorize(caller, method: method)
            }
            #expect(error?.code == .permissionDenied)
        }
    }
}
