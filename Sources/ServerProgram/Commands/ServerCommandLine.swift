import ArgumentParser
import ServiceRuntime

/// The command line of the server program.
package enum ServerCommandLine {
    /// What the commands that need a whole server call; set while one runs.
    @TaskLocal static var actions: Actions?

    /// The name of SPIRE's separate program for discovery, and of the command that is the same.
    static let discoveryProviderName = "oidc-discovery-provider"

    /// The flags without value of all commands.
    static let switches = GoSwitches(
        [
            "expandEnv", "logSourceLocation", "shallow", "verbose", "node", "admin", "downstream",
            "storeSVID", "noRevokeOnExit", "dryRun", "andChildren", "suspend", "replace", "revoke",
            "printKey",
        ], threeWay: ["disableX509SVIDPrefetch", "jwtSVIDIncludeJTI", "revokeOnExit"])

    /// See ``main(arguments:program:run:validate:)``.
    struct Actions: Sendable {
        let run: @Sendable (ServerConfiguration) async throws -> Void
        let validate: @Sendable (ServerConfiguration) async throws -> [String]
    }

    /// Parses the arguments, runs the command that they name and gives the exit code.
    ///
    /// - Parameters:
    ///   - arguments: Without the program's name.
    ///   - program: The name it was started under, for messages.
    ///   - run: Runs the daemon until it is told to stop.
    ///   - validate: Asks every plugin about its settings; what it returns is printed line by line.
    /// - Returns: 0 for success, 1 for an error, 127 for an unknown command.
    package static func main(
        arguments: [String], program: String = "cygnet-server",
        run: @escaping @Sendable (ServerConfiguration) async throws -> Void,
        validate: @escaping @Sendable (ServerConfiguration) async throws -> [String] = { _ in [] }
    ) async -> Int32 {
        let arguments =
            program == Self.discoveryProviderName && !Self.asksForVersion(arguments)
            ? [Self.discoveryProviderName] + arguments : arguments
        let runner = CommandRunner(
            program: program, version: ProgramVersion.current, switches: Self.switches)
        return await ServerCommandLine.$actions.withValue(Actions(run: run, validate: validate)) {
            await runner.run(RootCommand.self, arguments: arguments)
        }
    }

    private static func asksForVersion(_ arguments: [String]) -> Bool {
        arguments.first == "-version" || arguments.first == "--version"
    }

    struct RootCommand: ParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "cygnet-server",
            abstract: "The control plane of one SPIFFE trust domain.",
            subcommands: [
                RunCommand.self, ValidateCommand.self, HealthcheckCommand.self, TokenCommand.self,
                EntryCommand.self, AgentCommand.self, BundleCommand.self, FederationCommand.self,
                X509Command.self, JWTCommand.self, WITCommand.self, LocalAuthorityCommand.self,
                LedgerCommand.self,
                UpstreamAuthorityCommand.self, RevocationCommand.self, KillCommand.self,
                DiscoveryProviderCommand.self, WitnessCommand.self,
            ],
            helpNames: .goHelp)
    }
}
