import ArgumentParser
import ServiceRuntime

/// The flags of `run` and `validate`.
struct ServerRunFlags: ParsableArguments {
    @Option(name: .go("config"), parsing: .unconditional, help: "Configuration file, HCL or JSON.")
    var config = "conf/server/server.conf"

    @Option(name: .go("bindAddress"), parsing: .unconditional, help: "Address of the TCP API.")
    var bindAddress: String?

    @Option(name: .go("serverPort"), parsing: .unconditional, help: "Port of the TCP API.")
    var serverPort: Int?

    @Option(
        name: .go("dataDir"), parsing: .unconditional, help: "Directory for files the server keeps."
    )
    var dataDir: String?

    @Option(name: .go("socketPath"), parsing: .unconditional, help: "Path of the local API socket.")
    var socketPath: String?

    @Option(name: .go("trustDomain"), parsing: .unconditional, help: "The trust domain to serve.")
    var trustDomain: String?

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
    func configuration() throws(ConfigurationError) -> ServerConfiguration {
        var flags = ServerFlags()
        flags.configurationPath = self.config
        flags.expandEnvironment = self.expandEnv
        flags.bindAddress = self.bindAddress
        flags.bindPort = self.serverPort
        flags.dataDirectory = self.dataDir
        flags.socketPath = self.socketPath
        flags.trustDomain = self.trustDomain
        flags.logFile = self.logFile
        flags.logFormat = self.logFormat
        flags.logLevel = self.logLevel
        flags.logSourceLocation = self.logSourceLocation
        return try ServerConfiguration(
            flags: flags, environment: CommandContext.current.environment)
    }
}
