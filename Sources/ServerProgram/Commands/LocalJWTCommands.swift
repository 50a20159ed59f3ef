import ArgumentParser
import ControlPlaneProto
import GRPCCore
import ServiceRuntime
import SwiftProtobuf

struct LocalJWTCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "jwt", abstract: "Authorities for JWT-SVIDs.",
        subcommands: [
            LocalJWTActivateCommand.self, LocalJWTPrepareCommand.self, LocalJWTRevokeCommand.self,
            LocalJWTShowCommand.self, LocalJWTTaintCommand.self,
        ],
        helpNames: .goHelp)
}

struct LocalJWTShowCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "show", abstract: "Show the JWT authorities.", helpNames: .goHelp)

    @OptionGroup var socket: ServerSocketFlags
    @OptionGroup var output: OutputFlags

    func run() async throws {
        let response = try await ServerConnection.with(self.socket) { server in
            try await server.localAuthority.getJWTAuthorityState(
                Spire_Api_Server_Localauthority_V1_GetJWTAuthorityStateRequest(),
                options: ServerConnection.options)
        }
        let context = CommandContext.current
        if self.output.format == .json { return try context.printJSON(response) }
        context.output(
            [
                AuthorityBlock.text("Active", .jwt, response.hasActive ? response.active : nil),
                AuthorityBlock.text(
                    "Prepared", .jwt, response.hasPrepared ? response.prepared : nil),
                AuthorityBlock.text("Old", .jwt, response.hasOld ? response.old : nil),
            ].joined(separator: "\n"))
    }
}

struct LocalJWTPrepareCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "prepare",
        abstract: "Make a new JWT authority and put it into the bundle; it does not sign yet.",
        helpNames: .goHelp)

    @OptionGroup var socket: ServerSocketFlags
    @OptionGroup var output: OutputFlags

    func run() async throws {
        let response = try await ServerConnection.with(self.socket) { server in
            try await server.localAuthority.prepareJWTAuthority(
                Spire_Api_Server_Localauthority_V1_PrepareJWTAuthorityRequest(),
                options: ServerConnection.options)
        }
        try CommandContext.current.print(
            response, "Prepared", .jwt, response.preparedAuthority, self.output)
    }
}

struct LocalJWTActivateCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "activate",
        abstract: "Let the prepared JWT authority sign.",
        helpNames: .goHelp)

    @OptionGroup var socket: ServerSocketFlags
    @OptionGroup var output: OutputFlags
    @OptionGroup var target: AuthorityIDFlag

    func run() async throws {
        let id = try self.target.id(.jwt)
        let response = try await ServerConnection.with(self.socket) { server in
            try await server.localAuthority.activateJWTAuthority(
                .with { $0.authorityID = id }, options: ServerConnection.options)
        }
        try CommandContext.current.print(
            response, "Activated", .jwt, response.activatedAuthority, self.output)
    }
}

struct LocalJWTTaintCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "taint",
        abstract: "Mark an old JWT authority, so that what it signed is replaced.",
        helpNames: .goHelp)

    @OptionGroup var socket: ServerSocketFlags
    @OptionGroup var output: OutputFlags
    @OptionGroup var target: AuthorityIDFlag

    func run() async throws {
        let id = try self.target.id(.jwt)
        let response = try await ServerConnection.with(self.socket) { server in
            try await server.localAuthority.taintJWTAuthority(
                .with { $0.authorityID = id }, options: ServerConnection.options)
        }
        try CommandContext.current.print(
            response, "Tainted", .jwt, response.taintedAuthority, self.output)
    }
}

struct LocalJWTRevokeCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "revoke",
        abstract: "Take a tainted JWT authority out of the bundle.",
        helpNames: .goHelp)

    @OptionGroup var socket: ServerSocketFlags
    @OptionGroup var output: OutputFlags
    @OptionGroup var target: AuthorityIDFlag

    func run() async throws {
        let id = try self.target.id(.jwt)
        let response = try await ServerConnection.with(self.socket) { server in
            try await server.localAuthority.revokeJWTAuthority(
                .with { $0.authorityID = id }, options: ServerConnection.options)
        }
        try CommandContext.current.print(
            response, "Revoked", .jwt, response.revokedAuthority, self.output)
    }
}
