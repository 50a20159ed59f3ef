import ArgumentParser
import ServiceRuntime

struct APICommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "api", abstract: "Ask the Workload API as this process.",
        subcommands: [FetchCommand.self, ValidateTokenCommand.self, WatchCommand.self],
        helpNames: .goHelp)
}

struct FetchCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "fetch", abstract: "Fetch identities; X509-SVIDs unless told otherwise.",
        subcommands: [FetchX509Command.self, FetchJWTCommand.self],
        defaultSubcommand: FetchX509Command.self, helpNames: .goHelp)
}

struct ValidateTokenCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "validate", abstract: "Validate identities.",
        subcommands: [ValidateJWTCommand.self], helpNames: .goHelp)
}

/// The flag `-timeout`.
struct TimeoutFlag: ParsableArguments {
    @Option(name: .go("timeout"), parsing: .unconditional, help: "How long to wait for an answer.")
    var timeout = DurationArgument(.seconds(1))
}
