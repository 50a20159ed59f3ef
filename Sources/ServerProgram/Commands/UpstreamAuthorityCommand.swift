import ArgumentParser
import ControlPlaneProto
import GRPCCore
import ServiceRuntime
import SwiftProtobuf

struct UpstreamAuthorityCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "upstreamauthority",
        abstract: "Authorities that the upstream authority signs with.",
        subcommands: [UpstreamRevokeCommand.self, UpstreamTaintCommand.self], helpNames: .goHelp)
}

/// The flag `-subjectKeyID`.
struct SubjectKeyIDFlag: ParsableArguments {
    @Option(
        name: .go("subjectKeyID"), parsing: .unconditional,
        help: "Subject key ID of the upstream X.509 authority.")
    var subjectKeyID = ""

    /// The ID.
    func id() throws(CommandError) -> String {
        guard self.subjectKeyID.isEmpty else { return self.subjectKeyID }
        throw CommandError("the Subject Key ID of the X.509 upstream authority is required")
    }
}

struct UpstreamTaintCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "taint",
        abstract: "Mark an upstream authority, so that what it signed is replaced.",
        helpNames: .goHelp)

    @OptionGroup var socket: ServerSocketFlags
    @OptionGroup var output: OutputFlags
    @OptionGroup var target: SubjectKeyIDFlag

    func run() async throws {
        let id = try self.target.id()
        let response = try await ServerConnection.with(self.socket) { server in
            try await server.localAuthority.taintX509UpstreamAuthority(
                .with { $0.subjectKeyID = id }, options: ServerConnection.options)
        }
        let context = CommandContext.current
        if self.output.format == .json { return try context.printJSON(response) }
        context.print("Upstream X.509 authority tainted:")
        context.print(
            "  Subject Key ID: \(TerminalText.safe(response.upstreamAuthoritySubjectKeyID))")
    }
}

struct UpstreamRevokeCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "revoke", abstract: "Take a tainted upstream authority out of the bundle.",
        helpNames: .goHelp)

    @OptionGroup var socket: ServerSocketFlags
    @OptionGroup var output: OutputFlags
    @OptionGroup var target: SubjectKeyIDFlag

    func run() async throws {
        let id = try self.target.id()
        let response = try await ServerConnection.with(self.socket) { server in
            try await server.localAuthority.revokeX509UpstreamAuthority(
                .with { $0.subjectKeyID = id }, options: ServerConnection.options)
        }
        let context = CommandContext.current
        if self.output.format == .json { return try context.printJSON(response) }
        context.print("Upstream X.509 authority revoked:")
        context.print(
            "  Subject Key ID: \(TerminalText.safe(response.upstreamAuthoritySubjectKeyID))")
    }
}
