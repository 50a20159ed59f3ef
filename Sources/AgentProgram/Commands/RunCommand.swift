import ArgumentParser
import ServiceRuntime

struct RunCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "run", abstract: "Run the agent.", helpNames: .goHelp)

    @OptionGroup var flags: AgentRunFlags

    func run() async throws {
        let configuration = try self.flags.configuration()
        guard let runAgent = AgentCommandLine.runAgent else {
            throw CommandError("this program cannot run an agent")
        }
        try await runAgent(configuration)
    }
}

struct ValidateCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "validate", abstract: "Check the configuration file.", helpNames: .goHelp)

    @OptionGroup var flags: AgentRunFlags

    func run() throws {
        let configuration = try self.flags.configuration()
        let context = CommandContext.current
        for note in configuration.advice { context.print(note) }
        context.print("SPIRE agent configuration file is valid.")
    }
}
