import ArgumentParser
import ControlPlaneProto
import GRPCCore
import ServiceRuntime
import SwiftProtobuf

struct TokenCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "token", abstract: "Join tokens.", subcommands: [TokenGenerateCommand.self],
        helpNames: .goHelp)
}

struct TokenGenerateCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "generate", abstract: "Make a join token for one node.", helpNames: .goHelp)

    @OptionGroup var socket: ServerSocketFlags
    @OptionGroup var output: OutputFlags

    @Option(
        name: .go("spiffeID"), parsing: .unconditional,
        help: "An additional SPIFFE ID for the node that uses the token.")
    var spiffeID = ""

    @Option(name: .go("ttl"), parsing: .unconditional, help: "Seconds until the token expires.")
    var ttl: Int32 = 600

    func run() async throws {
        let request = try Spire_Api_Server_Agent_V1_CreateJoinTokenRequest.with {
            $0.ttl = self.ttl
            if !self.spiffeID.isEmpty { $0.agentID = try .parse(self.spiffeID, flag: "spiffeID") }
        }
        let token = try await ServerConnection.with(self.socket) { server in
            try await server.agents.createJoinToken(request, options: ServerConnection.options)
        }
        let context = CommandContext.current
        if self.output.format == .json { return try context.printJSON(token) }
        context.print("Token: \(TerminalText.safe(token.value))")
        if self.spiffeID.isEmpty { context.print("Warning: Missing SPIFFE ID.") }
    }
}
