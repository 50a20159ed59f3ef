import ArgumentParser
import ControlPlaneProto
import SPIFFE
import ServiceRuntime
import SwiftProtobuf
import Testing

@testable import ServerProgram

@Suite struct RevocationCommandTests {
    private static func request(
        _ arguments: String...
    ) throws -> Cygnet_Revocation_V1_CreateRevocationRequest {
        try RevocationCreateCommand.parse(arguments).request(now: 1_000)
    }

    @Test func `each flag names its target`() throws {
        #expect(try Self.request("-spiffeID", "spiffe://a/b").target.spiffeID == "spiffe://a/b")
        #expect(try Self.request("-pathPrefix", "/b").target.pathPrefix == "/b")
        #expect(try Self.request("-entryID", "e").target.entryID == "e")
        #expect(try Self.request("-serial", "00:AB:cd").target.serial == "abcd")
        #expect(try Self.request("-serial", "xyz").target.serial == "xyz")
        #expect(try Self.request("-jti", "J").target.jti == "J")
        #expect(try Self.request("-agentID", "spiffe://a/c").target.agentID == "spiffe://a/c")
        #expect(try Self.request("-selector", "k:v:w").target.selector.value == "v:w")
        #expect(try Self.request("-authorityID", "0a").target.authorityID == "0a")
    }

    @Test func `switches and times are taken over`() throws {
        let request = try Self.request(
            "-entryID", "e", "-andChildren", "-suspend", "-reason", "why", "-expiry", "2000",
            "-dryRun")
        #expect(request.andChildren && request.suspension && !request.replace && request.dryRun)
        #expect(request.reason == "why" && request.expiresAt == 2_000)
        #expect(try Self.request("-entryID", "e", "-expiry", "1h30m").expiresAt == 1_000 + 5_400)
        #expect(try Self.request("-entryID", "e", "-replace").replace)
        #expect(try Self.request("-entryID", "e").expiresAt == 0)
    }

    @Test func `what contradicts itself is refused`() {
        let bad: [[String]] = [
            [], ["-entryID", "e", "-jti", "j"], ["-entryID", "e", "-suspend", "-replace"],
            ["-selector", "nocolon"], ["-entryID", "e", "-expiry", "soon"],
            ["-entryID", "e", "-expiry", "-5"], ["-entryID", "e", "-expiry", "0s"],
        ]
        for arguments in bad {
            #expect(throws: CommandError.self, "\(arguments)") {
                try RevocationCreateCommand.parse(arguments).request(now: 1_000)
            }
        }
    }

    @Test func `the kill switch takes the children, one target and a time to wait`() throws {
        let command = try KillCommand.parse([
            "-pathPrefix", "/swarm", "-reason", "r", "-timeout", "250ms",
        ])
        let request = try command.request()
        #expect(request.target.pathPrefix == "/swarm" && request.andChildren && !request.suspension)
        #expect(try command.waitMilliseconds() == 250)
        #expect(throws: CommandError.self) { try KillCommand.parse([]).request() }
        #expect(throws: CommandError.self) {
            try KillCommand.parse(["-timeout", "2m"]).waitMilliseconds()
        }
        #expect(throws: CommandError.self) {
            try KillCommand.parse(["-timeout", "0s"]).waitMilliseconds()
        }
    }

    @Test func `the text says how long it took, and who is missing`() {
        let text = KillCommand.text(
            .with {
                $0.agents = 3
                $0.confirmed = 2
                $0.lastConfirmationUs = 12_500
                $0.waitingFor = ["spiffe://a/spire/agent/x"]
            })
        #expect(text.contains("Confirmed by 2 of 3 connected agents, the last one after 12.5ms\n"))
        #expect(text.contains("Not confirmed by  : spiffe://a/spire/agent/x\n"))
        #expect(KillCommand.text(.init()).contains("No agent is connected\n"))
    }

    @Test func `blocks and JSON have all fields`() throws {
        var revocation = Cygnet_Revocation_V1_Revocation.with {
            $0.id = "r1"
            $0.target.entryID = "e"
            $0.createdAt = 1
            $0.reason = "a\u{1B}[2J"
        }
        let text = RevocationBlock.text(revocation)
        #expect(text.contains("Revocation ID     : r1\nEntry ID          : e\n"))
        #expect(
            text.contains("Mode              : revocation\n")
                && text.contains("Expires at        : never\n"))
        #expect(!text.contains("\u{1B}"))
        revocation.reason = ""
        #expect(
            try CommandContext.json(revocation)
                == #"{"and_children":false,"caller":"","created_at":"1","expires_at":"0","id":"r1","reason":"","replace":false,"suspension":false,"target":{"entry_id":"e"}}"#
        )
    }
}
