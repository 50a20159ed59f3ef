import ArgumentParser
import ServiceRuntime

/// The command line of the agent program.
package enum AgentCommandLine {
    /// The flags without value of all commands.
    static let switches = GoSwitches([
        "expandEnv", "logSourceLocation", "shallow", "verbose", "silent", "insecureBootstrap",
        "allowUnauthenticatedVerifiers", "disableWorkloadAPI", "disableSDSAPI",
    ])

    /// What `run` calls; set while a command runs.
    @TaskLocal static var runAgent: (@Sendable (AgentConfiguration) async throws -> Void)?

    /// Parses the arguments, runs the command that they name and gives the exit code.
    ///
    /// - Parameters:
    ///   - arguments: Without the program's name.
    ///   - program: The name it was started under, for messages.
    ///   - run: Runs the daemon until it is told to stop.
    /// - Returns: 0 for success, 1 for an error, 127 for an unknown command.
    package static func main(
        arguments: [String], program: String = "cygnet-agent",
        run: @escaping @Sendable (AgentConfiguration) async throws -> Void
    ) async -> Int32 {
        let runner = CommandRunner(
            program: program, version: ProgramVersion.current, switches: Self.switches)
        return await AgentCommandLine.$runAgent.withValue(run) {
            await runner.run(RootCommand.self, arguments: arguments)
        }
    }

    struct RootCommand: ParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "cygnet-agent",
            abstract: "Attests workloads on one node and gives them SPIFFE identities.",
            subcommands: [
                RunCommand.self, ValidateCommand.self, HealthcheckCommand.self, APICommand.self,
            ],
            helpNames: .goHelp)
    }
}
