import ArgumentParser
import ControlPlaneProto
import GRPCCore
import ServiceRuntime
import SwiftProtobuf

struct LocalX509Command: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "x509", abstract: "Authorities for X509-SVIDs.",
        subcommands: [
            LocalX509ActivateCommand.self, LocalX509PrepareCommand.self,
            LocalX509RevokeCommand.self,
            LocalX509ShowCommand.self, LocalX509TaintCommand.self,
        ],
        helpNames: .goHelp)
}

struct LocalX509ShowCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "show", abstract: "Show the X.509 authorities.", helpNames: .goHelp)

    @OptionGroup var socket: ServerSocketFlags
    @OptionGroup var output: OutputFlags

    func run() async throws {
        let response = try await ServerConnection.with(self.socket) { server in
            try await server.localAuthority.getX509AuthorityState(
                Spire_Api_Server_Localauthority_V1_GetX509AuthorityStateRequest(),
                options: ServerConnection.options)
        }
        let context = CommandContext.current
        if self.output.format == .json { return try context.printJSON(response) }
        context.output(
            [
                AuthorityBlock.text("Active", .x509, response.hasActive ? response.active : nil),
                AuthorityBlock.text(
                    "Prepared", .x509, response.hasPrepared ? response.prepared : nil),
                AuthorityBlock.text("Old", .x509, response.hasOld ? response.old : nil),
            ].joined(separator: "\n"))
    }
}

struct LocalX509PrepareCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "prepare",
        abstract: "Make a new X.509 authority and put it into the bundle; it does not sign yet.",
        helpNames: .goHelp)

    @OptionGroup var socket: ServerSocketFlags
    @OptionGroup var output: OutputFlags

    func run() async throws {
        let response = try await ServerConnection.with(self.socket) { server in
            try await server.localAuthority.prepareX509Authority(
                Spire_Api_Server_Localauthority_V1_PrepareX509AuthorityRequest(),
                options: ServerConnection.options)
        }
        try CommandContext.current.print(
            response, "Prepared", .x509, response.preparedAuthority, self.output)
    }
}

struct LocalX509ActivateCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "activate",
        abstract: "Let the prepared X.509 authority sign.",
        helpNames: .goHelp)

    @OptionGroup var socket: ServerSocketFlags
    @OptionGroup var output: OutputFlags
    @OptionGroup var target: AuthorityIDFlag

    func run() async throws {
        let id = try self.target.id(.x509)
        let response = try await ServerConnection.with(self.socket) { server in
            try await server.localAuthority.activateX509Authority(
                .with { $0.authorityID = id }, options: ServerConnection.options)
        }
        try CommandContext.current.print(
            response, "Activated", .x509, response.activatedAuthority, self.output)
    }
}

struct LocalX509TaintCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "taint",
        abstract: "Mark an old X.509 authority, so that what it signed is replaced.",
        helpNames: .goHelp)

    @OptionGroup var socket: ServerSocketFlags
    @OptionGroup var output: OutputFlags
    @OptionGroup var target: AuthorityIDFlag

    func run() async throws {
        let id = try self.target.id(.x509)
        let response = try await ServerConnection.with(self.socket) { server in
            try await server.localAuthority.taintX509Authority(
                .with { $0.authorityID = id }, options: ServerConnection.options)
        }
        try CommandContext.current.print(
            response, "Tainted", .x509, response.taintedAuthority, self.output)
    }
}

struct LocalX509RevokeCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "revoke",
        abstract: "Take a tainted X.509 authority out of the bundle.",
        helpNames: .goHelp)

    @OptionGroup var socket: ServerSocketFlags
    @OptionGroup var output: OutputFlags
    @OptionGroup var target: AuthorityIDFlag

    func run() async throws {
        let id = try self.target.id(.x509)
        let response = try await ServerConnection.with(self.socket) { server in
            try await server.localAuthority.revokeX509Authority(
                .with { $0.authorityID = id }, options: ServerConnection.options)
        }
        try CommandContext.current.print(
            response, "Revoked", .x509, response.revokedAuthority, self.output)
    }
}
