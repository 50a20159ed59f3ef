import ControlPlaneProto
import ServiceRuntime
import SwiftProtobuf
import Testing

@testable import ServerProgram

@Suite struct AuthorityOutputTests {
    private static let state = AuthorityBlock.State.with {
        $0.authorityID = "active-id"
        $0.expiresAt = 1001
    }

    @Test func printsBlocksAsScriptsKnowThem() {
        #expect(
            AuthorityBlock.text("Active", .x509, Self.state) == """
                Active X.509 authority:
                  Authority ID: active-id
                  Expires at: 1970-01-01 00:16:41 +0000 UTC
                  Upstream authority ID: No upstream authority

                """)
        var upstream = Self.state
        upstream.upstreamAuthoritySubjectKeyID = "some-id"
        #expect(
            AuthorityBlock.text("Old", .x509, upstream).hasSuffix(
                "  Upstream authority Subject Key ID: some-id\n"))
        #expect(
            AuthorityBlock.text("Prepared", .jwt, Self.state) == """
                Prepared JWT authority:
                  Authority ID: active-id
                  Expires at: 1970-01-01 00:16:41 +0000 UTC

                """)
        #expect(
            AuthorityBlock.text("Prepared", .wit, nil)
                == "Prepared WIT authority:\n  No prepared WIT authority found\n")
    }

    @Test func printsJSONWithAllFields() throws {
        let json = try CommandContext.json(
            Spire_Api_Server_Localauthority_V1_GetX509AuthorityStateResponse.with {
                $0.active = Self.state
            })
        #expect(
            json.contains(
                #""active":{"authority_id":"active-id","expires_at":"1001","upstream_authority_subject_key_id":""}"#
            ), "\(json)")
        let tainted = try CommandContext.json(
            Spire_Api_Server_Localauthority_V1_TaintWITAuthorityResponse.with {
                $0.taintedAuthority = Self.state
            })
        #expect(tainted.contains("\"tainted_authority\""))
    }

    @Test(arguments: ["x509", "jwt", "wit"])
    func everyKindHasItsCommands(kind: String) async {
        for verb in ["show", "prepare", "activate", "taint", "revoke"] {
            let context = CommandContext(environment: [:], output: { _ in }, errorOutput: { _ in })
            let code = await CommandContext.$current.withValue(context) {
                await ServerCommandLine.main(
                    arguments: ["localauthority", kind, verb, "-help"], run: { _ in })
            }
            #expect(code == 0, "\(kind) \(verb)")
        }
    }
}
