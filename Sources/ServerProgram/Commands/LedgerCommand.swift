import ArgumentParser
import ControlPlaneProto
import GRPCCore
import ServiceRuntime
import SwiftProtobuf

struct LedgerCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "ledger", abstract: "The log of what this server did.",
        subcommands: [LedgerKeyCommand.self], helpNames: .goHelp)
}

struct LedgerKeyCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "key",
        abstract: "Print the verifier key, for \"cygnet ledger verify --key\".",
        helpNames: .goHelp)

    @OptionGroup var socket: ServerSocketFlags
    @OptionGroup var output: OutputFlags

    func run() async throws {
        let response = try await ServerConnection.with(self.socket) { server in
            try await server.ledger.getKey(.init(), options: ServerConnection.options)
        }
        let context = CommandContext.current
        if self.output.format == .json { return try context.printJSON(response) }
        context.output(TerminalText.safe(response.verifierKey) + "\n")
    }
}

extension Cygnet_Ledger_V1_GetKeyResponse: ShapedMessage {
    static let shape = MessageShape([
        "verifier_key": .text, "size": .bigNumber, "published_size": .bigNumber,
    ])
}
