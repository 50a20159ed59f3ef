import SPIFFE
import ServerCore
import Testing

@Suite struct RevocationTargetTests {
    struct Case: Sendable, CustomTestStringConvertible {
        let kind: RevocationTarget.Kind
        let value: String
        let isTaken: Bool
        var testDescription: String { "\(self.kind.rawValue) \(self.value.prefix(40))" }

        init(_ kind: RevocationTarget.Kind, _ value: String, _ isTaken: Bool) {
            self.kind = kind
            self.value = value
            self.isTaken = isTaken
        }
    }

    private static let cases: [Case] = [
        Case(.spiffeID, "spiffe://acme.test/db", true),
        Case(.spiffeID, "spiffe://acme.test/spire/agent/join_token/a", true),
        Case(.spiffeID, "spiffe://acme.test", false),
        Case(.spiffeID, "spiffe://other.test/db", false),
        Case(.spiffeID, "spiffe://acme.test/db/", false),
        Case(.spiffeID, "spiffe://ACME.test/db", false),
        Case(.spiffeID, "/db", false),
        Case(.spiffeID, "", false),
        Case(.spiffeID, "spiffe://acme.test/spire/server", false),
        Case(.spiffeID, "spiffe://acme.test/spire", false),
        Case(.pathPrefix, "/agents", true),
        Case(.pathPrefix, "/agents/pumps", true),
        Case(.pathPrefix, "/spire/agent", true),
        Case(.pathPrefix, "/agents/", false),
        Case(.pathPrefix, "agents", false),
        Case(.pathPrefix, "/", false),
        Case(.pathPrefix, "", false),
        Case(.pathPrefix, "/a//b", false),
        Case(.pathPrefix, "/a/../b", false),
        Case(.pathPrefix, "/a b", false),
        Case(.pathPrefix, "/spire", false),
        Case(.pathPrefix, "/spire/server", false),
        Case(.pathPrefix, "/" + String(repeating: "a", count: 2_100), false),
        Case(.entryID, "e-1", true),
        Case(.entryID, "", false),
        Case(.entryID, "a b", false),
        Case(.entryID, "a\u{0}", false),
        Case(.entryID, String(repeating: "a", count: 255), true),
        Case(.entryID, String(repeating: "a", count: 256), false),
        Case(.serial, "1", true),
        Case(.serial, "deadbeef", true),
        Case(.serial, String(repeating: "f", count: 40), true),
        Case(.serial, String(repeating: "f", count: 41), false),
        Case(.serial, "0", false),
        Case(.serial, "0a", false),
        Case(.serial, "DEADBEEF", false),
        Case(.serial, "de:ad", false),
        Case(.serial, "-1", false),
        Case(.serial, "", false),
        Case(.jti, "AbC_-1", true),
        Case(.jti, "", false),
        Case(.jti, "a\n", false),
        Case(.agentID, "spiffe://acme.test/spire/agent/join_token/a", true),
        Case(.agentID, "spiffe://acme.test/spire/agent", false),
        Case(.agentID, "spiffe://acme.test/db", false),
        Case(.agentID, "spiffe://other.test/spire/agent/x", false),
        Case(.workload, "e-1@spiffe://acme.test/spire/agent/join_token/a", true),
        Case(.workload, "@spiffe://acme.test/spire/agent/a", false),
        Case(.workload, "e-1", false),
        Case(.workload, "e 1@spiffe://acme.test/spire/agent/a", false),
        Case(.workload, "e-1@spiffe://acme.test/db", false),
        Case(.workload, "e-1@spiffe://other.test/spire/agent/a", false),
        Case(.workload, "e-1@spiffe://acme.test/spire/agent/a@b", false),
        Case(.selector, "unix:uid:1000", true),
        Case(.selector, "docker:image_id:sha256:ab", true),
        Case(.selector, "unix", false),
        Case(.selector, ":uid", false),
        Case(.selector, "unix:", false),
        Case(.authorityID, "0a0b", true),
        Case(.authorityID, "", false),
    ]

    @Test(arguments: cases) func `targets are taken as they are meant, or refused`(one: Case) throws
    {
        let domain = try TrustDomain("acme.test")
        guard one.isTaken else {
            let error = #expect(throws: ServerError.self) {
                try RevocationTarget(type: one.kind, value: one.value, trustDomain: domain)
            }
            #expect(error?.code == .invalidArgument)
            return
        }
        let target = try RevocationTarget(type: one.kind, value: one.value, trustDomain: domain)
        #expect(target.kind == one.kind && target.value == one.value)
    }

    @Test func `every kind has rows that are taken and rows that are refused`() {
        for kind in RevocationTarget.Kind.allCases {
            let rows = Self.cases.filter { $0.kind == kind }
            #expect(rows.contains { $0.isTaken } && rows.contains { !$0.isTaken }, "\(kind)")
        }
    }
}
