import ArgumentParser
import ServiceRuntime

/// SPIRE's separate program `oidc-discovery-provider`; the program acts as it when started under that name.
struct DiscoveryProviderCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: ServerCommandLine.discoveryProviderName,
        abstract: "Serve OpenID Connect discovery with keys of a server or an agent elsewhere.",
        helpNames: .goHelp)

    @Option(name: .go("config"), parsing: .unconditional, help: "Configuration file, HCL or JSON.")
    var config = "oidc-discovery-provider.conf"

    @Flag(name: .go("expandEnv"), help: "Replace $NAME and ${NAME} in the configuration file.")
    var expandEnv = false

    func run() async throws {
        let document = try ConfigurationDocument(
            readingFrom: self.config,
            expandingEnvironment: self.expandEnv ? CommandContext.current.environment : nil)
        try await DiscoveryProvider.runDaemon(try DiscoveryProviderConfiguration(document))
    }
}
