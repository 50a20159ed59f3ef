import ArgumentParser
import ControlPlaneProto
import GRPCCore
import ServiceRuntime
import SwiftProtobuf

struct LocalWITCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "wit", abstract: "Authorities for WIT-SVIDs (incubating).",
        subcommands: [
            LocalWITActivateCommand.self, LocalWITPrepareCommand.self, LocalWITRevokeCommand.self,
            LocalWITShowCommand.self, LocalWITTaintCommand.self,
        ],
        helpNames: .goHelp)
}

struct LocalWITShowCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "show", abstract: "Show the WIT authorities.", helpNames: .goHelp)

    @OptionGroup var socket: ServerSocketFlags
    @OptionGroup var output: OutputFlags

    func run() async throws {
        let response = try await ServerConnection.with(self.socket) { server in
            try await server.localAuthority.getWITAuthorityState(
                Spire_Api_Server_Localauthority_V1_GetWITAuthorityStateRequest(),
                options: ServerConnection.options)
        }
        let context = CommandContext.current
        if self.output.format == .json { return try context.printJSON(response) }
        context.output(
            [
                AuthorityBlock.text("Active", .wit, response.hasActive ? response.active : nil),
                AuthorityBlock.text(
                    "Prepared", .wit, response.hasPrepared ? response.prepared : nil),
                AuthorityBlock.text("Old", .wit, response.hasOld ? response.old : nil),
            ].joined(separator: "\n"))
    }
}

struct LocalWITPrepareCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "prepare",
        abstract: "Make a new WIT authority and put it into the bundle; it does not sign yet.",
        helpNames: .goHelp)

    @OptionGroup var socket: ServerSocketFlags
    @OptionGroup var output: OutputFlags

    func run() async throws {
        let response = try await ServerConnection.with(self.socket) { server in
            try await server.localAuthority.prepareWITAuthority(
                Spire_Api_Server_Localauthority_V1_PrepareWITAuthorityRequest(),
                options: ServerConnection.options)
        }
        try CommandContext.current.print(
            response, "Prepared", .wit, response.preparedAuthority, self.output)
    }
}

struct LocalWITActivateCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "activate",
        abstract: "Let the prepared WIT authority sign.",
        helpNames: .goHelp)

    @OptionGroup var socket: ServerSocketFlags
    @OptionGroup var output: OutputFlags
    @OptionGroup var target: AuthorityIDFlag

    func run() async throws {
        let id = try self.target.id(.wit)
        let response = try await ServerConnection.with(self.socket) { server in
            try await server.localAuthority.activateWITAuthority(
                .with { $0.authorityID = id }, options: ServerConnection.options)
        }
        try CommandContext.current.print(
            response, "Activated", .wit, response.activatedAuthority, self.output)
    }
}

struct LocalWITTaintCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "taint",
        abstract: "Mark an old WIT authority, so that what it signed is replaced.",
        helpNames: .goHelp)

    @OptionGroup var socket: ServerSocketFlags
    @OptionGroup var output: OutputFlags
    @OptionGroup var target: AuthorityIDFlag

    func run() async throws {
        let id = try self.target.id(.wit)
        let response = try await ServerConnection.with(self.socket) { server in
            try await server.localAuthority.taintWITAuthority(
                .with { $0.authorityID = id }, options: ServerConnection.options)
        }
        try CommandContext.current.print(
            response, "Tainted", .wit, response.taintedAuthority, self.output)
    }
}

struct LocalWITRevokeCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "revoke",
        abstract: "Take a tainted WIT authority out of the bundle.",
        helpNames: .goHelp)

    @OptionGroup var socket: ServerSocketFlags
    @OptionGroup var output: OutputFlags
    @OptionGroup var target: AuthorityIDFlag

    func run() async throws {
        let id = try self.target.id(.wit)
        let response = try await ServerConnection.with(self.socket) { server in
            try await server.localAuthority.revokeWITAuthority(
                .with { $0.authorityID = id }, options: ServerConnection.options)
        }
        try CommandContext.current.print(
            response, "Revoked", .wit, response.revokedAuthority, self.output)
    }
}
