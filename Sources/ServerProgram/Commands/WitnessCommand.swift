import ArgumentParser
import ServiceRuntime

struct WitnessCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "witness",
        abstract: "Cosign the checkpoints of other servers' ledgers.",
        helpNames: .goHelp)

    @Option(name: .go("config"), parsing: .unconditional, help: "Configuration file, HCL or JSON.")
    var config = "witness.conf"

    @Flag(name: .go("expandEnv"), help: "Replace $NAME and ${NAME} in the configuration file.")
    var expandEnv = false

    @Flag(
        name: .go("printKey"),
        help: "Print the witness's verifier key, made when there is none, and end.")
    var printKey = false

    func run() async throws {
        let context = CommandContext.current
        let document = try ConfigurationDocument(
            readingFrom: self.config,
            expandingEnvironment: self.expandEnv ? context.environment : nil)
        let configuration = try WitnessConfiguration(document)
        if self.printKey {
            return context.print("\(try Witness.key(configuration))")
        }
        try await Witness.runDaemon(configuration)
    }
}
