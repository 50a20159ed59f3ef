import ArgumentParser
import ServiceRuntime

struct RunCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "run", abstract: "Run the server.", helpNames: .goHelp)

    @OptionGroup var flags: ServerRunFlags

    func run() async throws {
        let configuration = try self.flags.configuration()
        guard let actions = ServerCommandLine.actions else {
            throw CommandError("this program cannot run a server")
        }
        try await actions.run(configuration)
    }
}

struct ValidateCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "validate", abstract: "Check the configuration file.", helpNames: .goHelp)

    @OptionGroup var flags: ServerRunFlags

    func run() async throws {
        let configuration = try self.flags.configuration()
        let notes = try await ServerCommandLine.actions?.validate(configuration) ?? []
        let context = CommandContext.current
        for note in configuration.advice + notes { context.print(note) }
        context.print("SPIRE server configuration file is valid.")
    }
}
