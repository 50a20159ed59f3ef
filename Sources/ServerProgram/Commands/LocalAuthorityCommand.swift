import ArgumentParser
import ControlPlaneProto
import GRPCCore
import ServiceRuntime
import SwiftProtobuf

struct LocalAuthorityCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "localauthority", abstract: "This server's signing authorities.",
        subcommands: [
            LocalAuthoritiesCommand<LocalX509Authorities>.self,
            LocalAuthoritiesCommand<LocalJWTAuthorities>.self,
            LocalAuthoritiesCommand<LocalWITAuthorities>.self,
        ],
        helpNames: .goHelp)
}

/// The flag `-authorityID` where an authority must be named.
struct AuthorityIDFlag: ParsableArguments {
    @Option(name: .go("authorityID"), parsing: .unconditional, help: "ID of the authority.")
    var authorityID = ""

    /// The ID.
    func id(_ kind: AuthorityBlock.Kind) throws(CommandError) -> String {
        guard self.authorityID.isEmpty else { return self.authorityID }
        throw CommandError(
            "an authority ID is required",
            hints: ["find it: cygnet-server localauthority \(kind) show"])
    }
}

extension CommandContext {
    /// Prints what became of one authority.
    func print(
        _ answer: LocalAuthorityAnswer<AuthorityBlock.State>, _ word: String,
        _ kind: AuthorityBlock.Kind, _ output: OutputFlags
    ) throws {
        if output.format == .json { return try self.printJSON(answer.message) }
        self.output(AuthorityBlock.text(word, kind, answer.state))
    }
}
