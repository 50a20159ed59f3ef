import ArgumentParser
import ControlPlaneProto
import GRPCCore
import SPIFFE
import ServerCore
import ServiceRuntime
import SwiftProtobuf

/// The flags that say what a partner is trusted with.
struct PartnerLimitsFlags: ParsableArguments {
    @Option(
        name: .go("acceptedPath"), parsing: .unconditionalSingleValue,
        help: "A pattern of accepted paths, such as /agents/*; may be repeated. All without it.")
    var acceptedPaths: [String] = []

    @Option(
        name: .go("use"), parsing: .unconditionalSingleValue,
        help: "What the bundle may verify: x509 or jwt; may be repeated. Both without it.")
    var uses: [String] = []

    /// Whether a flag was given.
    var isGiven: Bool { !self.acceptedPaths.isEmpty || !self.uses.isEmpty }

    /// What the flags ask for.
    ///
    /// - Throws: ``CommandError`` for a pattern or a use that is none.
    func limits(of trustDomain: String) throws(CommandError) -> Cygnet_Federation_V1_PartnerLimits {
        let limits: PartnerLimits
        do {
            limits = try PartnerLimits(
                trustDomain: try TrustDomain(nameOrID: trustDomain),
                acceptedPaths: self.acceptedPaths.isEmpty ? nil : self.acceptedPaths,
                uses: try PartnerLimits.Uses(names: self.uses))
        } catch {
            throw CommandError("cannot use these limits: \(TerminalText.safe("\(error)"))")
        }
        return .with {
            $0.trustDomain = limits.trustDomain.name
            if let paths = limits.acceptedPaths {
                $0.acceptedPaths = .with { $0.patterns = paths }
            }
            $0.uses = limits.uses.names
        }
    }
}

struct FederationLimitsCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "limits", abstract: "What partners are trusted with.",
        subcommands: [
            PartnerLimitsDeleteCommand.self, PartnerLimitsListCommand.self,
            PartnerLimitsSetCommand.self,
        ],
        helpNames: .goHelp)
}

struct PartnerLimitsSetCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "set", abstract: "Set what a partner is trusted with.", helpNames: .goHelp)

    @OptionGroup var socket: ServerSocketFlags
    @OptionGroup var output: OutputFlags
    @OptionGroup var flags: PartnerLimitsFlags

    @Option(name: .go("trustDomain"), parsing: .unconditional, help: "The partner's trust domain.")
    var trustDomain = ""

    func run() async throws {
        let name = try PartnerName.required(self.trustDomain)
        guard self.flags.isGiven else {
            throw CommandError(
                "there is nothing to limit; give -acceptedPath or -use",
                hints: ["to take limits away: cygnet-server federation limits delete"])
        }
        let wanted = try self.flags.limits(of: name)
        let limits = try await ServerConnection.with(self.socket) { server in
            try await server.federation.setPartnerLimits(
                .with { $0.limits = wanted }, options: ServerConnection.options)
        }
        let context = CommandContext.current
        if self.output.format == .json { return try context.printJSON(limits) }
        context.output(PartnerLimitsBlock.text(limits))
    }
}

struct PartnerLimitsListCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "list", abstract: "List what partners are trusted with.", helpNames: .goHelp)

    @OptionGroup var socket: ServerSocketFlags
    @OptionGroup var output: OutputFlags

    func run() async throws {
        let response = try await ServerConnection.with(self.socket) { server in
            try await server.federation.listPartnerLimits(
                .init(), options: ServerConnection.options)
        }
        let context = CommandContext.current
        if self.output.format == .json { return try context.printJSON(response) }
        context.print(
            "Found "
                + TerminalText.counted(
                    response.limits.count, "partner with limits", "partners with limits"))
        for limits in response.limits { context.output("\n" + PartnerLimitsBlock.text(limits)) }
    }
}

struct PartnerLimitsDeleteCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "delete", abstract: "Take the limits of a partner away.", helpNames: .goHelp)

    @OptionGroup var socket: ServerSocketFlags
    @OptionGroup var output: OutputFlags

    @Option(name: .go("trustDomain"), parsing: .unconditional, help: "The partner's trust domain.")
    var trustDomain = ""

    func run() async throws {
        let name = try PartnerName.required(self.trustDomain)
        let response = try await ServerConnection.with(self.socket) { server in
            try await server.federation.deletePartnerLimits(
                .with { $0.trustDomain = name }, options: ServerConnection.options)
        }
        let context = CommandContext.current
        if self.output.format == .json { return try context.printJSON(response) }
        context.print("limits deleted.")
    }
}
