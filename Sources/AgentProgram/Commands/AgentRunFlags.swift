import ArgumentParser
import ServiceRuntime

/// The flags of `run` and `validate`.
struct AgentRunFlags: ParsableArguments {
    @Option(name: .go("config"), parsing: .unconditional, help: "Configuration file, HCL or JSON.")
    var config = "conf/agent/agent.conf"

    @Option(name: .go("serverAddress"), parsing: .unconditional, help: "Address of the server.")
    var serverAddress: String?

    @Option(name: .go("serverPort"), parsing: .unconditional, help: "Port of the server.")
    var serverPort: Int?

    @Option(
        name: .go("dataDir"), parsing: .unconditional, help: "Directory for files the agent keeps.")
    var dataDir: String?

    @Option(
        name: .go("socketPath"), parsing: .unconditional, help: "Path of the Workload API socket.")
    var socketPath: String?

    @Option(name: .go("trustDomain"), parsing: .unconditional, help: "The agent's trust domain.")
    var trustDomain: String?

    @Option(name: .go("joinToken"), parsing: .unconditional, help: "Join token for attestation.")
    var joinToken: String?

    @Option(
        name: .go("joinTokenFile"), parsing: .unconditional, help: "File that holds a join token.")
    var joinTokenFile: String?

    @Option(name: .go("trustBundle"), parsing: .unconditional, help: "File with the first bundle.")
    var trustBundle: String?

    @Option(name: .go("trustBundleUrl"), parsing: .unconditional, help: "URL of the first bundle.")
    var trustBundleURL: String?

    @Option(name: .go("trustBundleFormat"), parsing: .unconditional, help: "pem or spiffe.")
    var trustBundleFormat: String?

    @Flag(name: .go("insecureBootstrap"), help: "Believe the server without a bundle, at first.")
    var insecureBootstrap = false

    @Option(name: .go("rebootstrapMode"), parsing: .unconditional, help: "Only never is supported.")
    var rebootstrapMode = "never"

    @Option(name: .go("rebootstrapDelay"), parsing: .unconditional, help: "Has no effect.")
    var rebootstrapDelay: DurationArgument?

    @Flag(name: .go("allowUnauthenticatedVerifiers"), help: "Give bundles to unregistered callers.")
    var allowUnauthenticatedVerifiers = false

    @Flag(name: .go("disableWorkloadAPI"), help: "Not supported yet.")
    var disableWorkloadAPI = false

    @Flag(name: .go("disableSDSAPI"), help: "Has no effect: there is no SDS API yet.")
    var disableSDSAPI = false

    @Option(name: .go("logFile"), parsing: .unconditional, help: "File to write logs to.")
    var logFile: String?

    @Option(name: .go("logFormat"), parsing: .unconditional, help: "text or json.")
    var logFormat: String?

    @Option(
        name: .go("logLevel"), parsing: .unconditional, help: "debug, info, warn, error and so on.")
    var logLevel: String?

    @Flag(name: .go("logSourceLocation"), help: "Name source files in log lines.")
    var logSourceLocation = false

    @Flag(name: .go("expandEnv"), help: "Replace $NAME and ${NAME} in the configuration file.")
    var expandEnv = false

    /// The configuration that flags and file give.
    func configuration() throws -> AgentConfiguration {
        if self.rebootstrapMode != "never" {
            throw CommandError(
                "known to SPIRE but not supported yet: -rebootstrapMode other than never")
        }
        if self.disableWorkloadAPI {
            throw CommandError("known to SPIRE but not supported yet: -disableWorkloadAPI")
        }
        var flags = AgentFlags()
        flags.configurationPath = self.config
        flags.expandEnvironment = self.expandEnv
        flags.serverAddress = self.serverAddress
        flags.serverPort = self.serverPort
        flags.dataDirectory = self.dataDir
        flags.socketPath = self.socketPath
        flags.trustDomain = self.trustDomain
        flags.trustBundlePath = self.trustBundle
        flags.trustBundleURL = self.trustBundleURL
        flags.trustBundleFormat = self.trustBundleFormat
        flags.insecureBootstrap = self.insecureBootstrap
        flags.joinToken = self.joinToken
        flags.joinTokenFile = self.joinTokenFile
        flags.allowUnauthenticatedVerifiers = self.allowUnauthenticatedVerifiers
        flags.logFile = self.logFile
        flags.logFormat = self.logFormat
        flags.logLevel = self.logLevel
        flags.logSourceLocation = self.logSourceLocation
        return try AgentConfiguration(flags: flags, environment: CommandContext.current.environment)
    }
}
